// What a library has to offer to be a backend of aead.h; only for the files of this room. Sizes
// have been checked by the caller: `out` fits, and what is opened is at least a tag long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "dataplane/base/bytes.h"
#include "dataplane/base/secret.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/aead_backend.h"

namespace sluice::crypto {

inline constexpr size_t kNonceSize = 12;
using Nonce = std::array<uint8_t, kNonceSize>;

inline Nonce nonce_of(uint64_t counter) {
    Nonce nonce{};
    store_le64(nonce.data() + 4, counter);
    return nonce;
}

struct AeadFunctions {
    // Makes what the calling thread needs, unless it is there. The only one that may allocate.
    void (*prepare_thread)();
    void (*seal)(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes plain,
                 MutableBytes out);
    bool (*unseal)(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes sealed,
                   MutableBytes out);
    void (*seal_batch)(const Secret<32>& key, std::span<AeadPacket> packets);
    // Sets `opened` of each and returns how many were authentic.
    size_t (*unseal_batch)(const Secret<32>& key, std::span<AeadPacket> packets);
};

const AeadFunctions& openssl_aead();
// Leaves no trace of any key in the calling thread's OpenSSL context.
void forget_keys_in_openssl();

struct IpsecMb {
    const AeadFunctions* functions = nullptr;  // null: cannot be used here
    std::string why_not;
};
IpsecMb ipsec_mb_aead();

// choose_aead() with another library in libipsec-mb's place, for tests.
AeadStatus choose_aead_from(AeadChoice choice, const IpsecMb& candidate);

// Empty, or what the functions got wrong. `reference`: whose results they must equal.
std::string aead_fault(const AeadFunctions& functions, const AeadFunctions& reference);

}  // namespace sluice::crypto
