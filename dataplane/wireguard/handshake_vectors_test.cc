// A whole conversation with fixed keys, against bytes that another implementation computed: the
// protocol as the paper has it, in Python, over hashlib's BLAKE2s and the plain X25519 and
// ChaCha20-Poly1305 of tests/netns/harness/primitives.py. No vectors of WireGuard's own prologue
// and MACs are published.
#include <catch2/catch.hpp>
#include <string_view>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/wireguard/cookie.h"
#include "dataplane/wireguard/handshake.h"

namespace sluice::wireguard {

namespace {

constexpr std::string_view kInitiation =
    "0100000004030201b581212de1db954ddb11ad97d2f3f7255644971db23e0914"
    "94f140bced3c5f1ccd0d052b9b6ac9b2b3ddfc6fa6805c9f70c567f4d895e6a2"
    "6e8496ac1519f92eddf7876dfb96de44b119bc7be1f2e90bc0b0c4f988257480"
    "1c8e1708b33b20afdb26c02e91b26a5eec7badcac45256a2dbc8578302deec42"
    "8af8c0dc00000000000000000000000000000000";
constexpr std::string_view kResponse =
    "02000000d4c3b2a1040302016f9be2a1576c6251ff0eb3d870049e02e39aebdd"
    "2bf9b38531442248782afa42c3abc725eb7a970eff550e74de50426608ba87dc"
    "ecfc65bc91ffbd13dc23b74a00000000000000000000000000000000";
constexpr std::string_view kInitiatorToResponder =
    "c970a26ae2ed7fbbe387842ec6822abb3ef47e8569ef90af9ca486fba2602dde";
constexpr std::string_view kResponderToInitiator =
    "40ddaa44c73b5198bfa1118b3f5a532b6fa276230ffe843b444e366f65d5a487";
// Counter 5, "0123456789abcdef".
constexpr std::string_view kData =
    "04000000d4c3b2a105000000000000000f7da76d6649cb27976a5779ea34e973"
    "d2c04781d80a6cf46a2c0030f4b288ad";
// To the initiation, under the secret and nonce below, for 192.0.2.7:51820.
constexpr std::string_view kCookieReply =
    "0300000004030201404142434445464748494a4b4c4d4e4f5051525354555657"
    "53bbeaa37ec59b02660487e22babf4a361177f809f58d35e8f6901888de388f8";
constexpr std::string_view kSecondMac = "5238b31048d7f85083aea60e3705ed09";

constexpr uint32_t kInitiatorIndex = 0x01020304;
constexpr uint32_t kResponderIndex = 0xa1b2c3d4;
constexpr Timestamp kTimestamp = {0x40, 0, 0, 0, 0x67, 0x74, 0x85, 0x80, 0x07, 0, 0, 0};

std::vector<uint8_t> unhex(std::string_view text) {
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes.push_back(
            static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    return bytes;
}

// The fixed keys: 32 bytes in steps of 7.
Secret<32> pattern(uint8_t first) {
    Secret<32> bytes;
    for (size_t i = 0; i < 32; ++i)
        bytes.data()[i] = static_cast<uint8_t>(first + i * 7);
    return bytes;
}

// Chance that was decided before.
class GivenRandom final : public Random {
  public:
    GivenRandom& then(Bytes bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    void fill(MutableBytes out) override {
        REQUIRE(bytes_.size() - at_ >= out.size());
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), out.size(), out.begin());
        at_ += out.size();
    }

  private:
    std::vector<uint8_t> bytes_;
    size_t at_ = 0;
};

struct Party {
    explicit Party(uint8_t key_pattern, uint8_t ephemeral_pattern) : key(pattern(key_pattern)) {
        random.then(pattern(ephemeral_pattern).span());
    }
    RemoteIdentity knows(const Party& other) const {
        RemoteIdentity identity;
        identity.public_key = other.key.public_key();
        identity.preshared_key = pattern(0x35);
        identity.static_static = key.agree(identity.public_key);
        return identity;
    }

    crypto::X25519Key key;
    GivenRandom random;
};

constexpr Now kNow{Instant(seconds(1000)), WallTime{}};

template <typename Message>
std::vector<uint8_t> signed_bytes(const Message& message, MacWriter& macs) {
    std::array<uint8_t, Message::kSize> bytes;
    wire::write(message, bytes);
    macs.sign(bytes, kNow.mono);
    return {bytes.begin(), bytes.end()};
}

bool same(const Secret<32>& key, std::string_view hex) {
    const auto bytes = unhex(hex);
    return std::equal(bytes.begin(), bytes.end(), key.span().begin(), key.span().end());
}

}  // namespace

TEST_CASE("known answer: both messages of a handshake, the keys, and data under them") {
    Party initiator(0x11, 0x93);
    Party responder(0x52, 0xd4);
    const RemoteIdentity to_responder = initiator.knows(responder);
    const RemoteIdentity to_initiator = responder.knows(initiator);

    InitiatorHandshake out;
    wire::HandshakeInitiation initiation;
    initiation.sender = kInitiatorIndex;
    REQUIRE(out.create_initiation(initiator.key, to_responder, kTimestamp, initiator.random,
                                  initiation));
    MacWriter initiator_macs;
    initiator_macs.set_peer_key(responder.key.public_key());
    CHECK(signed_bytes(initiation, initiator_macs) == unhex(kInitiation));

    ResponderHandshake in;
    const auto received = wire::read_initiation(unhex(kInitiation));
    REQUIRE(in.consume_initiation(responder.key, received) == initiator.key.public_key());
    REQUIRE(in.authenticate(to_initiator, received) == kTimestamp);
    wire::HandshakeResponse response;
    response.sender = kResponderIndex;
    response.receiver = kInitiatorIndex;
    const auto responder_keys = in.create_response(to_initiator, responder.random, response);
    REQUIRE(responder_keys);
    MacWriter responder_macs;
    responder_macs.set_peer_key(initiator.key.public_key());
    CHECK(signed_bytes(response, responder_macs) == unhex(kResponse));

    const auto initiator_keys =
        out.consume_response(initiator.key, to_responder, wire::read_response(unhex(kResponse)));
    REQUIRE(initiator_keys);
    CHECK(same(initiator_keys->send, kInitiatorToResponder));
    CHECK(same(initiator_keys->receive, kResponderToInitiator));
    CHECK(same(responder_keys->send, kResponderToInitiator));
    CHECK(same(responder_keys->receive, kInitiatorToResponder));

    std::vector<uint8_t> data(wire::DataHeader::kSize + 16 + crypto::kTagSize);
    wire::write({.receiver = kResponderIndex, .counter = 5},
                MutableBytes(data).first<wire::DataHeader::kSize>());
    crypto::AeadKey(initiator_keys->send)
        .seal(5, {}, as_bytes("0123456789abcdef"),
              MutableBytes(data).subspan(wire::DataHeader::kSize));
    CHECK(data == unhex(kData));
}

TEST_CASE("known answer: a cookie reply, and the second MAC made with its cookie") {
    const Party initiator(0x11, 0x93);
    const Party responder(0x52, 0xd4);
    std::array<uint8_t, 24> nonce;
    for (uint8_t i = 0; i < 24; ++i)
        nonce[i] = static_cast<uint8_t>(0x40 + i);
    GivenRandom random;
    random.then(pattern(0x76).span()).then(nonce);

    CookieChecker checker;
    checker.set_own_key(responder.key.public_key());
    const auto message = unhex(kInitiation);
    REQUIRE(checker.mac1_is_valid(message));
    const Endpoint source = Endpoint::parse("192.0.2.7:51820").value();
    const auto reply = checker.reply_to(message, kInitiatorIndex, source, random, kNow.mono);
    std::array<uint8_t, wire::CookieReply::kSize> bytes;
    wire::write(reply, bytes);
    CHECK(std::vector<uint8_t>(bytes.begin(), bytes.end()) == unhex(kCookieReply));

    MacWriter macs;
    macs.set_peer_key(responder.key.public_key());
    CHECK(signed_bytes(wire::read_initiation(message), macs) == message);
    REQUIRE(macs.consume(wire::read_cookie_reply(unhex(kCookieReply)), kNow.mono) ==
            DropReason::kNone);
    const auto proven = signed_bytes(wire::read_initiation(message), macs);
    CHECK(std::vector<uint8_t>(proven.end() - 16, proven.end()) == unhex(kSecondMac));
    CHECK(checker.mac2_is_valid(proven, source, kNow.mono));
    // For this address and this port only.
    for (const auto* other : {"192.0.2.7:51821", "192.0.2.8:51820"})
        CHECK_FALSE(checker.mac2_is_valid(proven, Endpoint::parse(other).value(), kNow.mono));
}

}  // namespace sluice::wireguard
