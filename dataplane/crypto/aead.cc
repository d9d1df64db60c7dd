#include "dataplane/crypto/aead.h"

#include <bit>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aead_backend.h"
#include "dataplane/crypto/aead_chosen.h"

namespace sluice::crypto {

namespace {

// set() has seen to it that something was chosen.
const AeadFunctions& functions() {
    return *chosen_aead.load(std::memory_order_acquire);
}

}  // namespace

AeadKey::AeadKey(AeadKey&& other) noexcept : key_(other.key_), is_set_(other.is_set_) {
    other.key_.clear();
    other.is_set_ = false;
}

AeadKey& AeadKey::operator=(AeadKey&& other) noexcept {
    if (this != &other) {
        clear();
        key_ = other.key_;
        is_set_ = other.is_set_;
        other.key_.clear();
        other.is_set_ = false;
    }
    return *this;
}

void AeadKey::set(const Secret<32>& key) {
    if (chosen_aead.load(std::memory_order_acquire) == nullptr) choose_aead(AeadChoice::kAuto);
    functions().prepare_thread();
    key_ = key;
    is_set_ = true;
}

// In OpenSSL's context it may be whatever is chosen now: it may have been used before that.
void AeadKey::clear() {
    if (!is_set_) return;
    key_.clear();
    is_set_ = false;
    forget_keys_in_openssl();
}

void AeadKey::seal(uint64_t counter, Bytes additional, Bytes plain, MutableBytes out) {
    SLUICE_CHECK(is_set_);
    SLUICE_CHECK(out.size() == plain.size() + kTagSize);
    functions().seal(key_, counter, additional, plain, out);
}

bool AeadKey::open(uint64_t counter, Bytes additional, Bytes sealed, MutableBytes out) {
    SLUICE_CHECK(is_set_);
    if (sealed.size() < kTagSize) return false;
    SLUICE_CHECK(out.size() == sealed.size() - kTagSize);
    return functions().unseal(key_, counter, additional, sealed, out);
}

void AeadKey::seal_batch(std::span<AeadPacket> packets) {
    SLUICE_CHECK(is_set_);
    for (const AeadPacket& packet : packets)
        SLUICE_CHECK(packet.out.size() == packet.in.size() + kTagSize);
    functions().seal_batch(key_, packets);
}

size_t AeadKey::open_batch(std::span<AeadPacket> packets) {
    SLUICE_CHECK(is_set_);
    size_t authentic = 0;
    // One that is shorter than a tag is not for the library; it parts the batch.
    while (!packets.empty()) {
        size_t count = 0;
        while (count < packets.size() && packets[count].in.size() >= kTagSize) {
            SLUICE_CHECK(packets[count].out.size() == packets[count].in.size() - kTagSize);
            ++count;
        }
        if (count > 0) authentic += functions().unseal_batch(key_, packets.first(count));
        if (count < packets.size()) packets[count++].opened = false;
        packets = packets.subspan(count);
    }
    return authentic;
}

Secret<32> hchacha20(const Secret<32>& key, std::span<const uint8_t, 16> nonce) {
    std::array<uint32_t, 16> x = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (size_t i = 0; i < 8; ++i)
        x[4 + i] = load_le32(key.data() + 4 * i);
    for (size_t i = 0; i < 4; ++i)
        x[12 + i] = load_le32(nonce.data() + 4 * i);
    const auto quarter_round = [&x](size_t a, size_t b, size_t c, size_t d) {
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 16);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 12);
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 8);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 7);
    };
    for (int double_round = 0; double_round < 10; ++double_round) {
        for (size_t i = 0; i < 4; ++i)
            quarter_round(i, 4 + i, 8 + i, 12 + i);
        for (size_t i = 0; i < 4; ++i)
            quarter_round(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    Secret<32> derived;
    for (size_t i = 0; i < 4; ++i) {
        store_le32(derived.data() + 4 * i, x[i]);
        store_le32(derived.data() + 16 + 4 * i, x[12 + i]);
    }
    wipe(x.data(), sizeof x);
    return derived;
}

// The first 16 bytes of the nonce make the key, the last 8 are the nonce under it; read as a
// little-endian counter they come out again as they were.
void xseal(const Secret<32>& key, std::span<const uint8_t, kXNonceSize> nonce, Bytes additional,
           Bytes plain, MutableBytes out) {
    AeadKey derived(hchacha20(key, nonce.first<16>()));
    derived.seal(load_le64(nonce.data() + 16), additional, plain, out);
}

bool xopen(const Secret<32>& key, std::span<const uint8_t, kXNonceSize> nonce, Bytes additional,
           Bytes sealed, MutableBytes out) {
    AeadKey derived(hchacha20(key, nonce.first<16>()));
    return derived.open(load_le64(nonce.data() + 16), additional, sealed, out);
}

}  // namespace sluice::crypto
