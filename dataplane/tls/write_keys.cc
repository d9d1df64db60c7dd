#include "dataplane/tls/write_keys.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

namespace sluice::tls {

namespace {

constexpr std::string_view kLabel = "SERVER_TRAFFIC_SECRET_0 ";

struct KdfDeleter {
    void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
    void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

bool derive(OSSL_LIB_CTX* library, const char* algorithm, const OSSL_PARAM* parameters,
            MutableBytes into) {
    const std::unique_ptr<EVP_KDF, KdfDeleter> kdf(EVP_KDF_fetch(library, algorithm, nullptr));
    if (kdf == nullptr) return false;
    const std::unique_ptr<EVP_KDF_CTX, KdfDeleter> context(EVP_KDF_CTX_new(kdf.get()));
    return context != nullptr &&
           EVP_KDF_derive(context.get(), into.data(), into.size(), parameters) == 1;
}

OSSL_PARAM octets(const char* name, Bytes bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(bytes.data()),
                                             bytes.size());
}
OSSL_PARAM text(const char* name, const char* value) {
    return OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0);
}

// HKDF-Expand-Label of RFC 8446 section 7.1, without a context.
bool expand_label(OSSL_LIB_CTX* library, const EVP_MD* digest, Bytes secret, std::string_view label,
                  MutableBytes into) {
    std::string info{'\0', static_cast<char>(into.size()), static_cast<char>(6 + label.size())};
    info.append("tls13 ").append(label).push_back('\0');
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    const std::array parameters = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        text(OSSL_KDF_PARAM_DIGEST, EVP_MD_get0_name(digest)),
        octets(OSSL_KDF_PARAM_KEY, secret),
        octets(OSSL_KDF_PARAM_INFO, as_bytes(info)),
        OSSL_PARAM_construct_end(),
    };
    return derive(library, "HKDF", parameters.data(), into);
}

int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

void WriteKeys::note_secret(std::string_view line) {
    if (!line.starts_with(kLabel)) return;
    const size_t space = line.rfind(' ');
    const std::string_view hex = line.substr(space + 1);
    secret_size_ = 0;
    if (hex.size() % 2 != 0 || hex.size() / 2 > secret_.size()) return;
    for (size_t i = 0; i < hex.size(); i += 2) {
        const int high = digit(hex[i]);
        const int low = digit(hex[i + 1]);
        if (high < 0 || low < 0) return;
        secret_.data()[i / 2] = static_cast<uint8_t>(high << 4 | low);
    }
    secret_size_ = hex.size() / 2;
    sequence_ = 0;
    updates_ = 0;
}

std::optional<RecordKeys> WriteKeys::next(SSL* ssl, OSSL_LIB_CTX* library, uint64_t last_nonce) {
    const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl);
    if (cipher == nullptr) return std::nullopt;
    RecordKeys keys;
    switch (SSL_CIPHER_get_cipher_nid(cipher)) {
        case NID_aes_128_gcm:
            keys.cipher = RecordKeys::Cipher::kAes128Gcm;
            break;
        case NID_aes_256_gcm:
            keys.cipher = RecordKeys::Cipher::kAes256Gcm;
            break;
        default:
            return std::nullopt;
    }
    keys.sequence = sequence_;
    const EVP_MD* const digest = SSL_CIPHER_get_handshake_digest(cipher);
    if (digest == nullptr) return std::nullopt;
    if (SSL_version(ssl) == TLS1_3_VERSION) return next13(keys, digest, library);
    if (SSL_version(ssl) == TLS1_2_VERSION) return next12(keys, digest, ssl, library, last_nonce);
    return std::nullopt;
}

std::optional<RecordKeys> WriteKeys::next13(RecordKeys keys, const EVP_MD* digest,
                                            OSSL_LIB_CTX* library) {
    if (secret_size_ == 0 || updates_ > kUpdatesMax) return std::nullopt;
    const Bytes secret = secret_.span().first(secret_size_);
    for (; updates_ > 0; --updates_) {
        Secret<48> next;
        if (!expand_label(library, digest, secret, "traffic upd",
                          next.span().first(secret_size_))) {
            return std::nullopt;
        }
        secret_ = next;
    }
    if (!expand_label(library, digest, secret, "key", keys.key.span().first(keys.key_size())) ||
        !expand_label(library, digest, secret, "iv", keys.iv.span())) {
        return std::nullopt;
    }
    return keys;
}

std::optional<RecordKeys> WriteKeys::next12(RecordKeys keys, const EVP_MD* digest, SSL* ssl,
                                            OSSL_LIB_CTX* library, uint64_t last_nonce) {
    keys.version = TLS1_2_VERSION;
    constexpr size_t kRandom = SSL3_RANDOM_SIZE;
    constexpr std::string_view kSeed = "key expansion";
    constexpr size_t kSalt = 4;
    Secret<SSL_MAX_MASTER_KEY_LENGTH> master;
    const SSL_SESSION* const session = SSL_get_session(ssl);
    if (session == nullptr) return std::nullopt;
    const size_t master_size = SSL_SESSION_get_master_key(
        session, master.data(), Secret<SSL_MAX_MASTER_KEY_LENGTH>::size());
    std::array<uint8_t, kSeed.size() + 2 * kRandom> seed{};
    std::ranges::copy(kSeed, seed.begin());
    if (master_size == 0 ||
        SSL_get_server_random(ssl, seed.data() + kSeed.size(), kRandom) != kRandom ||
        SSL_get_client_random(ssl, seed.data() + kSeed.size() + kRandom, kRandom) != kRandom) {
        return std::nullopt;
    }
    // The client's key, ours, the client's salt, ours.
    Secret<2 * 32 + 2 * kSalt> block;
    const size_t key_size = keys.key_size();
    const MutableBytes wanted = block.span().first(2 * key_size + 2 * kSalt);
    const std::array parameters = {
        text(OSSL_KDF_PARAM_DIGEST, EVP_MD_get0_name(digest)),
        octets(OSSL_KDF_PARAM_SECRET, master.span().first(master_size)),
        octets(OSSL_KDF_PARAM_SEED, seed),
        OSSL_PARAM_construct_end(),
    };
    if (!derive(library, "TLS1-PRF", parameters.data(), wanted)) return std::nullopt;
    std::memcpy(keys.key.data(), wanted.data() + key_size, key_size);
    std::memcpy(keys.iv.data(), wanted.data() + 2 * key_size + kSalt, kSalt);
    store_be64(keys.iv.data() + kSalt, last_nonce + 1);
    return keys;
}

}  // namespace sluice::tls
