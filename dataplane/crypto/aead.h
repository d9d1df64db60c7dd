// ChaCha20-Poly1305 (RFC 8439): authenticated encryption under one key, one packet or many at a
// time.
//
// Two libraries can do it, and one of them does it for the whole process (aead_backend.h). A key
// here is 32 bytes and nothing else, whichever it is: what a library needs beside them belongs to
// the thread and is shared by all keys, so that ten thousand peers stay small.
//
// Nonce: 32 zero bits, then the counter, little-endian (as Noise and WireGuard have it). Never seal
// twice under one key with one counter; nothing here can notice.
// Thread: one object, one thread at a time. A key is best cleared on the thread that used it:
// OpenSSL's context remembers the last key of its thread until then.
// Memory: the first set() on a thread allocates what the library needs there (OpenSSL: 1 KB;
// libipsec-mb: 200 KB), a set() or clear() may with OpenSSL, seal() and open() never do.
// Failure: open() says no; a library that does not work at all ends the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/secret.h"

namespace sluice::crypto {

inline constexpr size_t kTagSize = 16;
inline constexpr size_t kXNonceSize = 24;

// One packet of a batch. `in` and `out` may begin at the same byte (in place) but may not overlap
// in any other way. Sealing: out.size() == in.size() + kTagSize. Opening: out.size() == in.size() -
// kTagSize, and `opened` tells whether it was authentic; if not, `out` holds garbage to be ignored.
struct AeadPacket {
    uint64_t counter = 0;
    Bytes in;
    MutableBytes out;
    bool opened = false;
};

class AeadKey {
  public:
    AeadKey() = default;  // holds no key; seal() and open() may not be called
    explicit AeadKey(const Secret<32>& key) { set(key); }
    ~AeadKey() { clear(); }
    AeadKey(AeadKey&& other) noexcept;
    AeadKey& operator=(AeadKey&& other) noexcept;

    void set(const Secret<32>& key);
    // Wipes the key and everything derived from it.
    void clear();
    bool is_set() const { return is_set_; }

    // Sizes and overlap as for AeadPacket. `additional` is authenticated, not encrypted.
    void seal(uint64_t counter, Bytes additional, Bytes plain, MutableBytes out);
    // False: not authentic (or shorter than a tag). Takes the same time wherever the tag differs.
    [[nodiscard]] bool open(uint64_t counter, Bytes additional, Bytes sealed, MutableBytes out);

    // Many packets without additional data, as transport data are. Returns how many were authentic.
    void seal_batch(std::span<AeadPacket> packets);
    size_t open_batch(std::span<AeadPacket> packets);

  private:
    Secret<32> key_;
    bool is_set_ = false;
};

// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): a nonce long enough to be drawn at random.
// For rare, small messages: each call prepares a key of its own.
void xseal(const Secret<32>& key, std::span<const uint8_t, kXNonceSize> nonce, Bytes additional,
           Bytes plain, MutableBytes out);
[[nodiscard]] bool xopen(const Secret<32>& key, std::span<const uint8_t, kXNonceSize> nonce,
                         Bytes additional, Bytes sealed, MutableBytes out);

// The key derivation inside XChaCha20 (section 2.2 of the draft).
Secret<32> hchacha20(const Secret<32>& key, std::span<const uint8_t, 16> nonce);

}  // namespace sluice::crypto
