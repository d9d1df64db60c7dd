// The running state of a Noise handshake: a chaining key that every secret is mixed into, and a
// hash of everything both ends have seen, under which every sealed field is authenticated.
// Copying is allowed and meant: an operation that may fail works on a copy, so that a forged
// message leaves no trace.
//
// Thread: one.
// Source: Noise revision 34, section 5.2; the paper, section 5.4.
#pragma once

#include "dataplane/base/bytes.h"
#include "dataplane/base/secret.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

class NoiseState {
  public:
    NoiseState() = default;  // none
    // As every handshake towards `responder` begins.
    static NoiseState begin(const PublicKey& responder);

    void mix_hash(Bytes bytes);
    void mix_key(Bytes input);                                          // Kdf1
    [[nodiscard]] Secret<32> mix_key_and_take(Bytes input);             // Kdf2: the second output
    [[nodiscard]] Secret<32> mix_preshared_key(const Secret<32>& key);  // Kdf3, and its tag hashed
    // Under a key that is used for nothing else, with the hash as additional data. The sealed bytes
    // are mixed into the hash.
    void seal_and_mix(const Secret<32>& key, Bytes plain, MutableBytes out);
    [[nodiscard]] bool open_and_mix(const Secret<32>& key, Bytes sealed, MutableBytes out);

    struct TransportKeys {
        Secret<32> initiator_to_responder;
        Secret<32> responder_to_initiator;
    };
    [[nodiscard]] TransportKeys split() const;

  private:
    Secret<32> chaining_key_;
    crypto::Hash hash_{};
};

}  // namespace sluice::wireguard
