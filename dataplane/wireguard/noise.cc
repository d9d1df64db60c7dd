#include "dataplane/wireguard/noise.h"

#include "dataplane/crypto/aead.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

NoiseState NoiseState::begin(const PublicKey& responder) {
    static const crypto::Hash construction = crypto::blake2s({as_bytes(kConstruction)});
    static const crypto::Hash identified = crypto::blake2s({construction, as_bytes(kIdentifier)});
    NoiseState state;
    state.chaining_key_ = Secret<32>(construction);
    state.hash_ = identified;
    state.mix_hash(responder);
    return state;
}

void NoiseState::mix_hash(Bytes bytes) {
    hash_ = crypto::blake2s({hash_, bytes});
}

void NoiseState::mix_key(Bytes input) {
    chaining_key_ = crypto::kdf<1>(chaining_key_, input)[0];
}

Secret<32> NoiseState::mix_key_and_take(Bytes input) {
    const auto out = crypto::kdf<2>(chaining_key_, input);
    chaining_key_ = out[0];
    return out[1];
}

Secret<32> NoiseState::mix_preshared_key(const Secret<32>& key) {
    const auto out = crypto::kdf<3>(chaining_key_, key.span());
    chaining_key_ = out[0];
    mix_hash(out[1].span());
    return out[2];
}

void NoiseState::seal_and_mix(const Secret<32>& key, Bytes plain, MutableBytes out) {
    crypto::AeadKey(key).seal(0, hash_, plain, out);
    mix_hash(out);
}

bool NoiseState::open_and_mix(const Secret<32>& key, Bytes sealed, MutableBytes out) {
    if (!crypto::AeadKey(key).open(0, hash_, sealed, out)) return false;
    mix_hash(sealed);
    return true;
}

NoiseState::TransportKeys NoiseState::split() const {
    const auto out = crypto::kdf<2>(chaining_key_, {});
    return {.initiator_to_responder = out[0], .responder_to_initiator = out[1]};
}

}  // namespace sluice::wireguard
