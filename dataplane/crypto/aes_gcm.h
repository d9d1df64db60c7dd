// AES-GCM with 96-bit nonces, as TLS records are sealed: by libipsec-mb, or not at all.
//
// Why beside OpenSSL, which speaks TLS: Debian 12's OpenSSL 3.0 is older than its own code for
// processors with vector AES. On such a one libipsec-mb seals 16 KiB in 0.7 us where OpenSSL takes
// 3.3, and 128 bytes in 50 ns where it takes 300. Where libipsec-mb cannot be used, OpenSSL goes on
// as it would anyhow (tls/stream.h), so there is no second backend here.
//
// A message may be sealed from several pieces, so that nothing is copied together before.
// Never seal twice under one key with one nonce; nothing here can notice.
// Thread: one object, one thread at a time. Memory: 1 KB a key, inside the object; nothing is
// allocated. Failure: open() says no. Source: NIST SP 800-38D.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "dataplane/base/bytes.h"

namespace sluice::crypto {

class AesGcmKey {
  public:
    static constexpr size_t kTagSize = 16;
    static constexpr size_t kNonceSize = 12;
    using Nonce = std::span<const uint8_t, kNonceSize>;

    // Empty, or why there are no keys on this machine. Found out once: the processor, and a
    // self-test against OpenSSL. Thread: any.
    static const std::string& why_not();

    // Precondition: why_not() is empty. 16 or 32 bytes.
    explicit AesGcmKey(Bytes key);
    ~AesGcmKey();  // wipes everything that was derived
    AesGcmKey(const AesGcmKey&) = delete;
    AesGcmKey& operator=(const AesGcmKey&) = delete;

    // One message: begin, any number of pieces in order, the tag. `out` holds plain.size() bytes
    // and may begin at the same byte as `plain`, but not overlap in any other way.
    void begin_seal(Nonce nonce, Bytes additional);
    void seal_piece(Bytes plain, uint8_t* out);
    void end_seal(uint8_t* tag);

    // False: not authentic, or shorter than a tag; `out` holds garbage then. `out` holds
    // sealed.size() - kTagSize bytes and may begin where `sealed` does.
    [[nodiscard]] bool open(Nonce nonce, Bytes additional, Bytes sealed, uint8_t* out);

  private:
    // Expanded key and powers of the hash key, and the state of a message (intel-ipsec-mb.h). Their
    // sizes are checked where they are used.
    alignas(64) std::array<uint8_t, 1024> key_;
    alignas(16) std::array<uint8_t, 96> message_;
    bool is_long_ = false;  // 256 bits
};

}  // namespace sluice::crypto
