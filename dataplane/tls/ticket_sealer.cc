#include "dataplane/tls/ticket_sealer.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::tls {
namespace {

constexpr size_t kIvSize = 16;

bool set_mac_key(EVP_MAC_CTX* mac, const contract::TicketKey& key) {
    char digest[] = "SHA256";
    // OpenSSL takes the key without const and only reads it.
    auto* const bytes = const_cast<uint8_t*>(key.mac_key.data());
    const std::array parameters = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, bytes, key.mac_key.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

}  // namespace

TicketSealer::TicketSealer(OSSL_LIB_CTX* library)
    : library_(library), cipher_(EVP_CIPHER_fetch(library, "AES-256-CBC", nullptr)) {
    SLUICE_CHECK(cipher_ != nullptr);
}

void TicketSealer::set_keys(std::shared_ptr<const contract::TicketKeys> keys, Instant now) {
    keys_ = std::move(keys);
    since_ = now;
}

bool TicketSealer::keys_are_fresh(Instant now) const {
    return has_keys() && now - since_ < kTicketLifetime;
}

int TicketSealer::seal(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const {
    if (!has_keys()) return -1;
    const contract::TicketKey& key = keys_->keys.front();
    std::memcpy(name, key.name.data(), key.name.size());
    const bool ready =
        RAND_bytes_ex(library_, iv, kIvSize, 0) == 1 &&
        EVP_EncryptInit_ex2(cipher, cipher_.get(), key.cipher_key.data(), iv, nullptr) == 1 &&
        set_mac_key(mac, key);
    return ready ? 1 : -1;
}

int TicketSealer::open(const uint8_t* name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
                       EVP_MAC_CTX* mac) const {
    if (!has_keys()) return 0;
    const auto found = std::ranges::find_if(keys_->keys, [&](const contract::TicketKey& key) {
        return std::equal(key.name.begin(), key.name.end(), name);
    });
    if (found == keys_->keys.end()) return 0;
    const bool ready =
        EVP_DecryptInit_ex2(cipher, cipher_.get(), found->cipher_key.data(), iv, nullptr) == 1 &&
        set_mac_key(mac, *found);
    if (!ready) return -1;
    return found == keys_->keys.begin() ? 1 : 2;
}

}  // namespace sluice::tls
