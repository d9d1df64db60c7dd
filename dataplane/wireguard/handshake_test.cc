// The key agreement alone, both roles in memory, and everything that must make it fail.
#include "dataplane/wireguard/handshake.h"

#include <catch2/catch.hpp>

namespace sluice::wireguard {

namespace {

struct Party {
    explicit Party(Random& random) : key(crypto::X25519Key::generate(random)) {}

    RemoteIdentity knows(const Party& other) const {
        RemoteIdentity identity;
        identity.public_key = other.key.public_key();
        identity.static_static = key.agree(identity.public_key);
        return identity;
    }

    crypto::X25519Key key;
};

struct World {
    SeededRandom random{42};
    Party initiator{random};
    Party responder{random};
    RemoteIdentity responder_known = initiator.knows(responder);
    RemoteIdentity initiator_known = responder.knows(initiator);
    Timestamp timestamp = next_timestamp(WallTime(seconds(1'800'000'000)), {});

    InitiatorHandshake out;
    ResponderHandshake in;
    wire::HandshakeInitiation initiation;
    wire::HandshakeResponse response;

    void initiate() {
        REQUIRE(
            out.create_initiation(initiator.key, responder_known, timestamp, random, initiation));
    }
    std::optional<SessionKeys> respond() {
        if (in.consume_initiation(responder.key, initiation) != initiator.key.public_key()) {
            return {};
        }
        if (in.authenticate(initiator_known, initiation) != timestamp) return {};
        return in.create_response(initiator_known, random, response);
    }
    std::optional<SessionKeys> finish() {
        return out.consume_response(initiator.key, responder_known, response);
    }
};

template <size_t kSize>
void flip(std::array<uint8_t, kSize>& bytes, size_t bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
}

}  // namespace

TEST_CASE("both ends get the same keys, crosswise") {
    World world;
    world.initiate();
    const auto theirs = world.respond();
    REQUIRE(theirs);
    const auto ours = world.finish();
    REQUIRE(ours);
    CHECK(ours->send == theirs->receive);
    CHECK(ours->receive == theirs->send);
    CHECK_FALSE(ours->send == ours->receive);
    CHECK_FALSE(ours->send.is_zero());
}

TEST_CASE("every handshake has keys of its own") {
    World world;
    world.initiate();
    const auto first = world.respond();
    world.initiate();
    const auto second = world.respond();
    REQUIRE((first && second));
    CHECK_FALSE(first->send == second->send);
    CHECK_FALSE(first->receive == second->receive);
}

TEST_CASE("a preshared key must be the same on both sides") {
    World world;
    std::array<uint8_t, 32> bytes{};
    bytes[7] = 9;
    world.responder_known.preshared_key = Secret<32>(bytes);
    world.initiate();
    REQUIRE(world.respond());
    CHECK_FALSE(world.finish());

    world.initiator_known.preshared_key = Secret<32>(bytes);
    world.initiate();
    const auto theirs = world.respond();
    const auto ours = world.finish();
    REQUIRE((ours && theirs));
    CHECK(ours->send == theirs->receive);
}

TEST_CASE("an initiation for somebody else, or changed anywhere, is refused") {
    World world;
    world.initiate();
    const Party stranger(world.random);
    CHECK_FALSE(ResponderHandshake().consume_initiation(stranger.key, world.initiation));

    const wire::HandshakeInitiation good = world.initiation;
    for (size_t bit = 0; bit < 32 * 8; bit += 3) {
        world.initiation = good;
        flip(world.initiation.ephemeral, bit);
        // The highest bit of an X25519 key is ignored by the curve but hashed here.
        REQUIRE_FALSE(world.respond());
    }
    for (size_t bit = 0; bit < 48 * 8; bit += 5) {
        world.initiation = good;
        flip(world.initiation.sealed_static, bit);
        REQUIRE_FALSE(world.respond());
    }
    for (size_t bit = 0; bit < 28 * 8; bit += 5) {
        world.initiation = good;
        flip(world.initiation.sealed_timestamp, bit);
        REQUIRE_FALSE(world.respond());
    }
    world.initiation = good;
    CHECK(world.respond());
}

TEST_CASE("a response changed anywhere is refused, and the right one is still good afterwards") {
    World world;
    world.initiate();
    const auto theirs = world.respond();
    REQUIRE(theirs);
    const wire::HandshakeResponse good = world.response;
    for (size_t bit = 0; bit < 32 * 8; bit += 3) {
        world.response = good;
        flip(world.response.ephemeral, bit);
        REQUIRE_FALSE(world.finish());
    }
    for (size_t bit = 0; bit < 16 * 8; ++bit) {
        world.response = good;
        flip(world.response.sealed_nothing, bit);
        REQUIRE_FALSE(world.finish());
    }
    world.response = good;
    const auto ours = world.finish();
    REQUIRE(ours);
    CHECK(ours->send == theirs->receive);
}

TEST_CASE("a response to an earlier initiation is refused") {
    World world;
    world.initiate();
    REQUIRE(world.respond());
    world.initiate();
    CHECK_FALSE(world.finish());
    world.out.clear();
    CHECK_FALSE(world.out.outstanding());
    CHECK_FALSE(world.finish());
}

TEST_CASE("points of low order lead nowhere") {
    World world;
    const PublicKey zero{};
    // As the responder's static key: no initiation is made.
    RemoteIdentity bad;
    bad.public_key = zero;
    bad.static_static = world.initiator.key.agree(zero);
    CHECK_FALSE(bad.static_static);
    CHECK_FALSE(world.out.create_initiation(world.initiator.key, bad, world.timestamp, world.random,
                                            world.initiation));
    CHECK_FALSE(world.out.outstanding());
    // As the ephemeral key of an initiation or a response.
    world.initiate();
    const auto initiation = world.initiation;
    world.initiation.ephemeral = zero;
    CHECK_FALSE(world.respond());
    world.initiation = initiation;
    REQUIRE(world.respond());
    world.response.ephemeral = zero;
    CHECK_FALSE(world.finish());
}

TEST_CASE("knowing a peer's public key is not enough to speak for it") {
    World world;
    world.initiate();
    // An attacker knows both public keys but holds a private key of its own: it can seal the
    // victim's static key, but not the timestamp.
    const Party attacker(world.random);
    RemoteIdentity guess;
    guess.public_key = world.responder.key.public_key();
    guess.static_static = attacker.key.agree(guess.public_key);
    NoiseState noise = NoiseState::begin(guess.public_key);
    const auto ephemeral = crypto::X25519Key::generate(world.random);
    world.initiation.ephemeral = ephemeral.public_key();
    noise.mix_key(world.initiation.ephemeral);
    noise.mix_hash(world.initiation.ephemeral);
    noise.seal_and_mix(noise.mix_key_and_take(ephemeral.agree(guess.public_key)->span()),
                       world.initiator.key.public_key(), world.initiation.sealed_static);
    noise.seal_and_mix(noise.mix_key_and_take(guess.static_static->span()), world.timestamp,
                       world.initiation.sealed_timestamp);
    ResponderHandshake in;
    CHECK(in.consume_initiation(world.responder.key, world.initiation) ==
          world.initiator.key.public_key());
    CHECK_FALSE(in.authenticate(world.initiator_known, world.initiation));
}

}  // namespace sluice::wireguard
