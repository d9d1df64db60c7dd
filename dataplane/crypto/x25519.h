// X25519 (RFC 7748): key pairs and key agreement.
// Thread: one object, one thread at a time. Failure: a public point of low order is refused by
// agree(); a library that does not work at all ends the process.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"

struct evp_pkey_st;

namespace sluice::crypto {

using X25519PublicKey = std::array<uint8_t, 32>;

// A private key, ready for use: the library's own form of it is kept, because making it from bytes
// costs as much as an agreement. Wiped when destroyed. Making one allocates.
class X25519Key {
  public:
    X25519Key() = default;  // none
    explicit X25519Key(const Secret<32>& private_key);
    static X25519Key generate(Random& random);
    ~X25519Key() { clear(); }
    X25519Key(X25519Key&& other) noexcept;
    X25519Key& operator=(X25519Key&& other) noexcept;

    bool is_set() const { return key_ != nullptr; }
    void clear();
    const X25519PublicKey& public_key() const { return public_key_; }

    // The shared secret; nothing if it is all zero, which only a point of low order gives and which
    // would be a secret that everyone knows (RFC 7748 section 6.1).
    [[nodiscard]] std::optional<Secret<32>> agree(const X25519PublicKey& other) const;

  private:
    evp_pkey_st* key_ = nullptr;
    X25519PublicKey public_key_{};
};

}  // namespace sluice::crypto
