#include "dataplane/crypto/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <bit>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::crypto {

namespace {

constexpr size_t kNonceSize = 12;
using Nonce = std::array<uint8_t, kNonceSize>;

// Looking an algorithm up by name costs microseconds, so it is done once for the whole process.
EVP_CIPHER* chacha20_poly1305() {
    static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    SLUICE_CHECK(cipher != nullptr);
    return cipher;
}

Nonce nonce_of(uint64_t counter) {
    Nonce nonce{};
    store_le64(nonce.data() + 4, counter);
    return nonce;
}

// Everything but the last call of an operation. OpenSSL counts in int; no packet comes near it.
void start(EVP_CIPHER_CTX* context, bool encrypt, const Nonce& nonce, const OSSL_PARAM* params,
           Bytes additional) {
    SLUICE_CHECK(context != nullptr);
    SLUICE_CHECK(
        EVP_CipherInit_ex2(context, nullptr, nullptr, nonce.data(), encrypt ? 1 : 0, params) == 1);
    int written = 0;
    if (!additional.empty()) {
        SLUICE_CHECK(EVP_CipherUpdate(context, nullptr, &written, additional.data(),
                                      static_cast<int>(additional.size())) == 1);
    }
}

void encrypt_or_decrypt(EVP_CIPHER_CTX* context, Bytes in, uint8_t* out) {
    int written = 0;
    if (in.empty()) return;
    SLUICE_CHECK(EVP_CipherUpdate(context, out, &written, in.data(), static_cast<int>(in.size())) ==
                 1);
    SLUICE_CHECK(static_cast<size_t>(written) == in.size());
}

}  // namespace

AeadKey::AeadKey(AeadKey&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}

AeadKey& AeadKey::operator=(AeadKey&& other) noexcept {
    if (this != &other) {
        clear();
        context_ = std::exchange(other.context_, nullptr);
    }
    return *this;
}

void AeadKey::set(const Secret<32>& key) {
    if (context_ == nullptr) context_ = EVP_CIPHER_CTX_new();
    SLUICE_CHECK(context_ != nullptr);
    SLUICE_CHECK(
        EVP_CipherInit_ex2(context_, chacha20_poly1305(), key.data(), nullptr, 1, nullptr) == 1);
}

// The library wipes what it frees; giving the context back is therefore the surest way to leave no
// trace of the key, of the last one-time Poly1305 key or of a part of the key stream.
void AeadKey::clear() {
    EVP_CIPHER_CTX_free(std::exchange(context_, nullptr));
}

void AeadKey::seal(uint64_t counter, Bytes additional, Bytes plain, MutableBytes out) {
    SLUICE_CHECK(out.size() == plain.size() + kTagSize);
    start(context_, true, nonce_of(counter), nullptr, additional);
    encrypt_or_decrypt(context_, plain, out.data());
    int written = 0;
    SLUICE_CHECK(EVP_CipherFinal_ex(context_, out.data() + plain.size(), &written) == 1);
    const OSSL_PARAM tag[] = {{OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING,
                               out.data() + plain.size(), kTagSize, OSSL_PARAM_UNMODIFIED},
                              OSSL_PARAM_END};
    SLUICE_CHECK(EVP_CIPHER_CTX_get_params(context_, const_cast<OSSL_PARAM*>(tag)) == 1);
}

bool AeadKey::open(uint64_t counter, Bytes additional, Bytes sealed, MutableBytes out) {
    if (sealed.size() < kTagSize) return false;
    const size_t size = sealed.size() - kTagSize;
    SLUICE_CHECK(out.size() == size);
    // The tag goes in with the nonce: one call less per packet than setting it afterwards. The
    // library copies it, so decrypting in place over it is no danger.
    const OSSL_PARAM tag[] = {
        {OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING,
         const_cast<uint8_t*>(sealed.data() + size), kTagSize, OSSL_PARAM_UNMODIFIED},
        OSSL_PARAM_END};
    start(context_, false, nonce_of(counter), tag, additional);
    encrypt_or_decrypt(context_, sealed.first(size), out.data());
    int written = 0;
    uint8_t nothing = 0;
    return EVP_CipherFinal_ex(context_, &nothing, &written) == 1;
}

void AeadKey::seal_batch(std::span<AeadPacket> packets) {
    for (const AeadPacket& packet : packets)
        seal(packet.counter, {}, packet.in, packet.out);
}

size_t AeadKey::open_batch(std::span<AeadPacket> packets) {
    size_t count = 0;
    for (AeadPacket& packet : packets) {
        packet.opened = open(packet.counter, {}, packet.in, packet.out);
        count += packet.opened ? 1 : 0;
    }
    return count;
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
