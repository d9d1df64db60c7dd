#include "dataplane/crypto/aes_gcm.h"

#include "dataplane/base/check.h"
#include "dataplane/base/secret.h"

#ifdef SLUICE_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace sluice::crypto {

namespace {

// Only its functions are used, which keep nothing, so one serves all threads.
IMB_MGR* functions = nullptr;

struct FreeCipher {
    void operator()(EVP_CIPHER_CTX* cipher) const { EVP_CIPHER_CTX_free(cipher); }
};

gcm_key_data& data_of(std::array<uint8_t, 1024>& key) {
    static_assert(sizeof(gcm_key_data) <= 1024 && alignof(gcm_key_data) <= 64);
    return *reinterpret_cast<gcm_key_data*>(key.data());
}

gcm_context_data& state_of(std::array<uint8_t, 96>& message) {
    static_assert(sizeof(gcm_context_data) <= 96 && alignof(gcm_context_data) <= 16);
    return *reinterpret_cast<gcm_context_data*>(message.data());
}

// What OpenSSL makes of it: ciphertext and tag.
std::vector<uint8_t> sealed_by_openssl(Bytes key, AesGcmKey::Nonce nonce, Bytes additional,
                                       Bytes plain) {
    std::unique_ptr<EVP_CIPHER_CTX, FreeCipher> cipher(EVP_CIPHER_CTX_new());
    std::vector<uint8_t> sealed(plain.size() + AesGcmKey::kTagSize);
    int size = 0;
    const EVP_CIPHER* const kind = key.size() == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
    const bool done =
        EVP_EncryptInit_ex(cipher.get(), kind, nullptr, key.data(), nonce.data()) == 1 &&
        EVP_EncryptUpdate(cipher.get(), nullptr, &size, additional.data(),
                          static_cast<int>(additional.size())) == 1 &&
        EVP_EncryptUpdate(cipher.get(), sealed.data(), &size, plain.data(),
                          static_cast<int>(plain.size())) == 1 &&
        EVP_EncryptFinal_ex(cipher.get(), sealed.data() + size, &size) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, AesGcmKey::kTagSize,
                            sealed.data() + plain.size()) == 1;
    SLUICE_CHECK(done);
    return sealed;
}

// Sealed in two pieces that meet at a place which is no border of anything.
bool is_right_at(AesGcmKey& key, Bytes raw, size_t size) {
    std::vector<uint8_t> plain(size);
    for (size_t i = 0; i < size; ++i)
        plain[i] = static_cast<uint8_t>(i * 131 + size);
    std::array<uint8_t, AesGcmKey::kNonceSize> nonce{};
    store_le64(nonce.data(), size);
    const Bytes additional = Bytes(raw).first(5 + size % 9);
    const std::vector<uint8_t> expected = sealed_by_openssl(raw, nonce, additional, plain);

    std::vector<uint8_t> sealed(size + AesGcmKey::kTagSize);
    const size_t first = size * 3 / 7;
    key.begin_seal(nonce, additional);
    key.seal_piece(Bytes(plain).first(first), sealed.data());
    key.seal_piece(Bytes(plain).subspan(first), sealed.data() + first);
    key.end_seal(sealed.data() + size);
    if (sealed != expected) return false;

    std::vector<uint8_t> opened(size + 1);
    if (!key.open(nonce, additional, sealed, opened.data())) return false;
    if (!std::equal(plain.begin(), plain.end(), opened.begin())) return false;
    sealed[size + size % AesGcmKey::kTagSize] ^= static_cast<uint8_t>(1 << size % 8);
    return !key.open(nonce, additional, sealed, opened.data());
}

// With two functions of the wide registers: below their need the others would do no better than
// OpenSSL. The library asks the processor only; the compiler's test asks the system, too.
std::string find_fault() {
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq");
    if (!wide) return "the processor has no vector AES with AVX-512";
    functions = alloc_mb_mgr(0);  // for as long as the process lives
    if (functions == nullptr) return "libipsec-mb gets no memory";
    init_mb_mgr_avx512(functions);
    if (const int error = imb_get_errno(functions); error != 0)
        return std::string("libipsec-mb does not start: ") + imb_get_strerror(error);
    if ((functions->features & IMB_FEATURE_SAFE_DATA) == 0)
        return "this libipsec-mb does not wipe keys";
    std::array<uint8_t, 32> raw;
    for (size_t i = 0; i < raw.size(); ++i)
        raw[i] = static_cast<uint8_t>(i * 37 + 11);
    for (const size_t key_size : {16, 32}) {
        AesGcmKey key(Bytes(raw).first(key_size));
        for (size_t size = 0; size <= 16384; size += size < 600 ? 1 : 1579) {
            if (!is_right_at(key, Bytes(raw).first(key_size), size))
                return "its self-test found a wrong answer at " + std::to_string(size) + " bytes";
        }
    }
    return {};
}

}  // namespace

const std::string& AesGcmKey::why_not() {
    static const std::string fault = find_fault();
    return fault;
}

AesGcmKey::AesGcmKey(Bytes key) : is_long_(key.size() == 32) {
    SLUICE_CHECK(functions != nullptr && (key.size() == 16 || is_long_));
    if (is_long_) {
        IMB_AES256_GCM_PRE(functions, key.data(), &data_of(key_));
    } else {
        IMB_AES128_GCM_PRE(functions, key.data(), &data_of(key_));
    }
}

AesGcmKey::~AesGcmKey() {
    wipe(key_.data(), key_.size());
    wipe(message_.data(), message_.size());
}

void AesGcmKey::begin_seal(Nonce nonce, Bytes additional) {
    if (is_long_) {
        IMB_AES256_GCM_INIT(functions, &data_of(key_), &state_of(message_), nonce.data(),
                            additional.data(), additional.size());
    } else {
        IMB_AES128_GCM_INIT(functions, &data_of(key_), &state_of(message_), nonce.data(),
                            additional.data(), additional.size());
    }
}

void AesGcmKey::seal_piece(Bytes plain, uint8_t* out) {
    if (is_long_) {
        IMB_AES256_GCM_ENC_UPDATE(functions, &data_of(key_), &state_of(message_), out, plain.data(),
                                  plain.size());
    } else {
        IMB_AES128_GCM_ENC_UPDATE(functions, &data_of(key_), &state_of(message_), out, plain.data(),
                                  plain.size());
    }
}

void AesGcmKey::end_seal(uint8_t* tag) {
    if (is_long_) {
        IMB_AES256_GCM_ENC_FINALIZE(functions, &data_of(key_), &state_of(message_), tag, kTagSize);
    } else {
        IMB_AES128_GCM_ENC_FINALIZE(functions, &data_of(key_), &state_of(message_), tag, kTagSize);
    }
}

// The library only computes tags; comparing them is ours, in the same time wherever they differ.
bool AesGcmKey::open(Nonce nonce, Bytes additional, Bytes sealed, uint8_t* out) {
    if (sealed.size() < kTagSize) return false;
    const size_t size = sealed.size() - kTagSize;
    // Opened in place, the received tag stays where it is: `out` ends before it.
    std::array<uint8_t, kTagSize> tag;
    if (is_long_) {
        IMB_AES256_GCM_DEC(functions, &data_of(key_), &state_of(message_), out, sealed.data(), size,
                           nonce.data(), additional.data(), additional.size(), tag.data(),
                           kTagSize);
    } else {
        IMB_AES128_GCM_DEC(functions, &data_of(key_), &state_of(message_), out, sealed.data(), size,
                           nonce.data(), additional.data(), additional.size(), tag.data(),
                           kTagSize);
    }
    const uint8_t* const received = sealed.data() + size;
    uint64_t difference = load_le64(tag.data()) ^ load_le64(received);
    difference |= load_le64(tag.data() + 8) ^ load_le64(received + 8);
    // What was computed for a forgery is the tag that the forger wants to know.
    if (difference != 0) wipe(tag.data(), tag.size());
    return difference == 0;
}

}  // namespace sluice::crypto

#else

namespace sluice::crypto {

const std::string& AesGcmKey::why_not() {
    static const std::string fault = "libipsec-mb is for x86-64";
    return fault;
}

AesGcmKey::AesGcmKey(Bytes) {
    SLUICE_CHECK(false);
}
AesGcmKey::~AesGcmKey() = default;
void AesGcmKey::begin_seal(Nonce, Bytes) {}
void AesGcmKey::seal_piece(Bytes, uint8_t*) {}
void AesGcmKey::end_seal(uint8_t*) {}
bool AesGcmKey::open(Nonce, Bytes, Bytes, uint8_t*) {
    return false;
}

}  // namespace sluice::crypto

#endif
