// The handshake, Noise IKpsk2, both sides: three messages' worth of key agreement in two, and the
// first data message confirms. Only keys: no indices, no timers, no MACs against floods.
//
// The sides are apart on purpose. The initiator's state lives from its message to the answer; the
// responder's only inside one call. So an initiation that arrives while ours is on its way does not
// destroy ours, and two ends that begin at the same moment both succeed at once.
// Thread: one. A call that fails changes nothing.
// Source: the paper, sections 5.4.2 and 5.4.3.
#pragma once

#include <optional>

#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wire/wireguard_message.h"
#include "dataplane/wireguard/noise.h"
#include "dataplane/wireguard/timestamp.h"

namespace sluice::wireguard {

// What a handshake needs to know about the other end.
struct RemoteIdentity {
    PublicKey public_key{};
    Secret<32> preshared_key;  // zero: none
    // Both ends' static keys agreed on, computed once per peer. Nothing: the peer's key is a point
    // of low order, and no handshake with it can succeed.
    std::optional<Secret<32>> static_static;
};

struct SessionKeys {
    Secret<32> send;
    Secret<32> receive;
};

class InitiatorHandshake {
  public:
    // Replaces what was outstanding. False: the peer's key is no good.
    [[nodiscard]] bool create_initiation(const crypto::X25519Key& own, const RemoteIdentity& peer,
                                         const Timestamp& timestamp, Random& random,
                                         wire::HandshakeInitiation& message);
    // Nothing: not an answer to what is outstanding.
    [[nodiscard]] std::optional<SessionKeys> consume_response(
        const crypto::X25519Key& own, const RemoteIdentity& peer,
        const wire::HandshakeResponse& message) const;
    bool outstanding() const { return ephemeral_.is_set(); }
    void clear();

  private:
    NoiseState noise_;
    crypto::X25519Key ephemeral_;
};

class ResponderHandshake {
  public:
    // Step 1: who is it? Nothing: not meant for us, or forged.
    [[nodiscard]] std::optional<PublicKey> consume_initiation(
        const crypto::X25519Key& own, const wire::HandshakeInitiation& message);
    // Step 2: is it really them, and when did they say it? `peer` is the one that step 1 named.
    [[nodiscard]] std::optional<Timestamp> authenticate(const RemoteIdentity& peer,
                                                        const wire::HandshakeInitiation& message);
    // Step 3: the answer. Nothing: the initiator's ephemeral key is no good.
    [[nodiscard]] std::optional<SessionKeys> create_response(const RemoteIdentity& peer,
                                                             Random& random,
                                                             wire::HandshakeResponse& message);

  private:
    NoiseState noise_;
    PublicKey remote_ephemeral_{};
};

}  // namespace sluice::wireguard
