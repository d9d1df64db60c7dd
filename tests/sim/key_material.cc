#include "tests/sim/key_material.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <memory>

#include "dataplane/base/check.h"

namespace sluice::sim {

namespace {

struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(EVP_MAC_CTX* mac) const { EVP_MAC_CTX_free(mac); }
};

EVP_MAC* blake2s_mac() {
    static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr);
    SLUICE_CHECK(mac != nullptr);
    return mac;
}

}  // namespace

KeyPair draw_key_pair(Dice& dice) {
    KeyPair pair;
    dice.fill(pair.secret.span());
    const std::unique_ptr<EVP_PKEY, Free> key(EVP_PKEY_new_raw_private_key(
        EVP_PKEY_X25519, nullptr, pair.secret.data(), pair.secret.size()));
    size_t size = pair.public_key.size();
    SLUICE_CHECK(key != nullptr);
    SLUICE_CHECK(EVP_PKEY_get_raw_public_key(key.get(), pair.public_key.data(), &size) == 1);
    return pair;
}

FirstMac::FirstMac(const PublicKey& receiver) {
    std::array<uint8_t, 40> labelled{'m', 'a', 'c', '1', '-', '-', '-', '-'};
    std::copy(receiver.begin(), receiver.end(), labelled.begin() + 8);
    size_t size = key_.size();
    SLUICE_CHECK(EVP_Q_digest(nullptr, "BLAKE2S-256", nullptr, labelled.data(), labelled.size(),
                              key_.data(), &size) == 1);
}

std::array<uint8_t, 16> FirstMac::of(Bytes message_before_mac) const {
    std::array<uint8_t, 16> out;
    size_t out_size = out.size();
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &out_size),
                                     OSSL_PARAM_construct_end()};
    const std::unique_ptr<EVP_MAC_CTX, Free> mac(EVP_MAC_CTX_new(blake2s_mac()));
    SLUICE_CHECK(EVP_MAC_init(mac.get(), key_.data(), key_.size(), parameters) == 1);
    SLUICE_CHECK(EVP_MAC_update(mac.get(), message_before_mac.data(), message_before_mac.size()) ==
                 1);
    SLUICE_CHECK(EVP_MAC_final(mac.get(), out.data(), &out_size, out.size()) == 1);
    return out;
}

size_t first_mac_offset(Bytes message) {
    if (message.size() == 148 && load_le32(message.data()) == 1) return 116;
    if (message.size() == 92 && load_le32(message.data()) == 2) return 60;
    return 0;
}

bool FirstMac::valid(Bytes message) const {
    const size_t offset = first_mac_offset(message);
    if (offset == 0) return false;
    const auto expected = of(message.first(offset));
    return std::equal(expected.begin(), expected.end(), message.begin() + offset);
}

void FirstMac::write(MutableBytes message) const {
    const size_t offset = first_mac_offset(message);
    SLUICE_CHECK(offset != 0);
    const auto mac = of(message.first(offset));
    std::copy(mac.begin(), mac.end(), message.begin() + offset);
}

}  // namespace sluice::sim
