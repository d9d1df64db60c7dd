// BLAKE2s (RFC 7693): hash, keyed MAC, HMAC, and the key derivation that Noise builds from it.
//
// Our own implementation, the only primitive here that is: every datagram that looks like a
// handshake is hashed before anything about it is believed, so this must need no context, no
// memory and no way to fail. It is as fast as the library's (blake2s_bench) and tested against it.
// Additions, rotations and exclusive-ors only, so its time depends on nothing but the length.
// Thread: any; an object belongs to one. Memory: none allocated; state is wiped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "dataplane/base/bytes.h"
#include "dataplane/base/secret.h"

namespace sluice::crypto {

using Hash = std::array<uint8_t, 32>;
using Mac = std::array<uint8_t, 16>;

class Blake2s {
  public:
    static constexpr size_t kBlockSize = 64;

    // `digest_size` in [1, 32]; `key` up to 32 bytes, empty: none.
    explicit Blake2s(size_t digest_size = 32, Bytes key = {});
    ~Blake2s();
    Blake2s(const Blake2s&) = delete;
    Blake2s& operator=(const Blake2s&) = delete;

    void update(Bytes bytes);
    // `out` has digest_size bytes. Once.
    void finish(MutableBytes out);

  private:
    void compress(const uint8_t* block, bool last);

    std::array<uint32_t, 8> state_;
    uint64_t count_ = 0;
    size_t buffered_ = 0;
    size_t digest_size_;
    std::array<uint8_t, kBlockSize> buffer_;
};

// The hash of the pieces, one after the other.
Hash blake2s(std::initializer_list<Bytes> pieces);

// Keyed BLAKE2s with 16 bytes of output: WireGuard's Mac().
Mac blake2s_mac(Bytes key, std::initializer_list<Bytes> pieces);
// In time that does not depend on where they differ.
bool equal_macs(Bytes a, Bytes b);

// HMAC (RFC 2104) over BLAKE2s; keys up to one block.
Secret<32> hmac_blake2s(Bytes key, std::initializer_list<Bytes> pieces);

// WireGuard's Kdf_n, Noise's HKDF: kCount secrets out of a chaining key and an input.
template <size_t kCount>
std::array<Secret<32>, kCount> kdf(const Secret<32>& chaining_key, Bytes input) {
    static_assert(kCount >= 1 && kCount <= 3);
    const Secret<32> extracted = hmac_blake2s(chaining_key.span(), {input});
    std::array<Secret<32>, kCount> out;
    for (size_t i = 0; i < kCount; ++i) {
        const uint8_t number[] = {static_cast<uint8_t>(i + 1)};
        out[i] =
            hmac_blake2s(extracted.span(), {i == 0 ? Bytes{} : Bytes(out[i - 1].span()), number});
    }
    return out;
}

}  // namespace sluice::crypto
