#include "dataplane/crypto/x25519.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::crypto {

namespace {

struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};

}  // namespace

X25519Key::X25519Key(const Secret<32>& private_key)
    : key_(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, private_key.data(),
                                           private_key.size())) {
    SLUICE_CHECK(key_ != nullptr);
    size_t size = public_key_.size();
    SLUICE_CHECK(EVP_PKEY_get_raw_public_key(key_, public_key_.data(), &size) == 1 && size == 32);
}

X25519Key X25519Key::generate(Random& random) {
    Secret<32> bytes;
    random.fill(bytes.span());
    return X25519Key(bytes);
}

X25519Key::X25519Key(X25519Key&& other) noexcept
    : key_(std::exchange(other.key_, nullptr)), public_key_(other.public_key_) {}

X25519Key& X25519Key::operator=(X25519Key&& other) noexcept {
    if (this != &other) {
        clear();
        key_ = std::exchange(other.key_, nullptr);
        public_key_ = other.public_key_;
    }
    return *this;
}

void X25519Key::clear() {
    EVP_PKEY_free(std::exchange(key_, nullptr));  // wipes it
    public_key_ = {};
}

std::optional<Secret<32>> X25519Key::agree(const X25519PublicKey& other) const {
    SLUICE_CHECK(key_ != nullptr);
    const std::unique_ptr<EVP_PKEY, Free> theirs(
        EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, other.data(), other.size()));
    const std::unique_ptr<EVP_PKEY_CTX, Free> context(
        EVP_PKEY_CTX_new_from_pkey(nullptr, key_, nullptr));
    SLUICE_CHECK(theirs != nullptr && context != nullptr);
    SLUICE_CHECK(EVP_PKEY_derive_init(context.get()) == 1);
    // Validating the peer's key would check nothing here: every 32 bytes are a public key.
    SLUICE_CHECK(EVP_PKEY_derive_set_peer_ex(context.get(), theirs.get(), 0) == 1);
    Secret<32> shared;
    size_t size = shared.size();
    // The library refuses an all-zero result, and leaves an error in this thread's queue, where the
    // next TLS call of the same worker would take it for its own.
    ERR_set_mark();
    const bool derived = EVP_PKEY_derive(context.get(), shared.data(), &size) == 1;
    ERR_pop_to_mark();
    if (!derived || shared.is_zero()) return {};
    return shared;
}

}  // namespace sluice::crypto
