#include "dataplane/wireguard/handshake.h"

#include <utility>

namespace sluice::wireguard {

bool InitiatorHandshake::create_initiation(const crypto::X25519Key& own, const RemoteIdentity& peer,
                                           const Timestamp& timestamp, Random& random,
                                           wire::HandshakeInitiation& message) {
    if (!peer.static_static) return false;
    NoiseState noise = NoiseState::begin(peer.public_key);
    crypto::X25519Key ephemeral = crypto::X25519Key::generate(random);
    message.ephemeral = ephemeral.public_key();
    noise.mix_key(message.ephemeral);
    noise.mix_hash(message.ephemeral);

    const auto ephemeral_static = ephemeral.agree(peer.public_key);
    if (!ephemeral_static) return false;
    noise.seal_and_mix(noise.mix_key_and_take(ephemeral_static->span()), own.public_key(),
                       message.sealed_static);
    noise.seal_and_mix(noise.mix_key_and_take(peer.static_static->span()), timestamp,
                       message.sealed_timestamp);
    noise_ = noise;
    ephemeral_ = std::move(ephemeral);
    return true;
}

std::optional<SessionKeys> InitiatorHandshake::consume_response(
    const crypto::X25519Key& own, const RemoteIdentity& peer,
    const wire::HandshakeResponse& message) const {
    if (!outstanding()) return {};
    NoiseState noise = noise_;
    noise.mix_key(message.ephemeral);
    noise.mix_hash(message.ephemeral);

    const auto ephemeral_ephemeral = ephemeral_.agree(message.ephemeral);
    if (!ephemeral_ephemeral) return {};
    noise.mix_key(ephemeral_ephemeral->span());
    const auto static_ephemeral = own.agree(message.ephemeral);
    if (!static_ephemeral) return {};
    noise.mix_key(static_ephemeral->span());

    const Secret<32> key = noise.mix_preshared_key(peer.preshared_key);
    if (!noise.open_and_mix(key, message.sealed_nothing, {})) return {};
    const auto keys = noise.split();
    return SessionKeys{.send = keys.initiator_to_responder, .receive = keys.responder_to_initiator};
}

void InitiatorHandshake::clear() {
    noise_ = {};
    ephemeral_.clear();
}

std::optional<PublicKey> ResponderHandshake::consume_initiation(
    const crypto::X25519Key& own, const wire::HandshakeInitiation& message) {
    noise_ = NoiseState::begin(own.public_key());
    remote_ephemeral_ = message.ephemeral;
    noise_.mix_key(message.ephemeral);
    noise_.mix_hash(message.ephemeral);

    const auto static_ephemeral = own.agree(message.ephemeral);
    if (!static_ephemeral) return {};
    PublicKey remote{};
    const Secret<32> key = noise_.mix_key_and_take(static_ephemeral->span());
    if (!noise_.open_and_mix(key, message.sealed_static, remote)) return {};
    return remote;
}

std::optional<Timestamp> ResponderHandshake::authenticate(
    const RemoteIdentity& peer, const wire::HandshakeInitiation& message) {
    if (!peer.static_static) return {};
    Timestamp timestamp{};
    const Secret<32> key = noise_.mix_key_and_take(peer.static_static->span());
    if (!noise_.open_and_mix(key, message.sealed_timestamp, timestamp)) return {};
    return timestamp;
}

std::optional<SessionKeys> ResponderHandshake::create_response(const RemoteIdentity& peer,
                                                               Random& random,
                                                               wire::HandshakeResponse& message) {
    const crypto::X25519Key ephemeral = crypto::X25519Key::generate(random);
    message.ephemeral = ephemeral.public_key();
    noise_.mix_key(message.ephemeral);
    noise_.mix_hash(message.ephemeral);

    const auto ephemeral_ephemeral = ephemeral.agree(remote_ephemeral_);
    if (!ephemeral_ephemeral) return {};
    noise_.mix_key(ephemeral_ephemeral->span());
    const auto ephemeral_static = ephemeral.agree(peer.public_key);
    if (!ephemeral_static) return {};
    noise_.mix_key(ephemeral_static->span());

    const Secret<32> key = noise_.mix_preshared_key(peer.preshared_key);
    noise_.seal_and_mix(key, {}, message.sealed_nothing);
    const auto keys = noise_.split();
    return SessionKeys{.send = keys.responder_to_initiator, .receive = keys.initiator_to_responder};
}

}  // namespace sluice::wireguard
