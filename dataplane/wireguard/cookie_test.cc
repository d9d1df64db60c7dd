// Under load: cookies as giver and as taker, and who is let in.
#include "dataplane/wireguard/cookie.h"

#include <catch2/catch.hpp>

#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

namespace {

constexpr Duration kRetryTime = kRekeyTimeout + kJitterMax + milliseconds(8);

// Sends strangers' initiations, which have a valid first MAC, until the device is under load.
// Returns how many were answered with a cookie.
size_t flood(TwoDevices& net, End& target, size_t count) {
    End stranger(777, "203.0.113.1:1", net.now);
    stranger.peers = {TwoDevices::peer_of(target, "10.0.0.0/8", "fd00::/8")};
    stranger.peers[0].endpoint = target.endpoint;
    stranger.configure(net.now);
    stranger.device.send(0, ip_packet("10.0.0.1", "10.0.0.2", 40), net.now, stranger.out);
    const SentDatagram initiation = stranger.out.sent.front();
    const Path path{stranger.endpoint, target.endpoint.address, 1};
    const size_t before = target.out.sent.size();
    size_t cookies = 0;
    for (size_t i = 0; i < count; ++i) {
        const DropReason reason = net.give_from(target, initiation, path);
        REQUIRE(
            (reason == DropReason::kHandshakeUnknownPeer || reason == DropReason::kCookieReplied));
        cookies += reason == DropReason::kCookieReplied ? 1 : 0;
    }
    REQUIRE(target.out.sent.size() == before + cookies);
    for (size_t i = before; i < target.out.sent.size(); ++i) {
        REQUIRE(target.out.sent[i].type() == 3);
        REQUIRE(target.out.sent[i].bytes.size() == 64);
        REQUIRE(target.out.sent[i].path == path);
    }
    target.out.sent.resize(before);
    return cookies;
}

}  // namespace

TEST_CASE("not under load the second MAC is not asked for") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    SentDatagram initiation = net.take(net.a);
    for (size_t i = 132; i < 148; ++i)
        CHECK(initiation.bytes[i] == 0);
    initiation.bytes[140] = 9;
    CHECK(net.give(net.b, initiation) == DropReason::kNone);
}

TEST_CASE("under load an initiator proves its address with a cookie, and gets in") {
    TwoDevices net;
    CHECK(flood(net, net.b, kLoadMessagesMax + 10) == 10);
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram first = net.take(net.a);
    CHECK(net.give(net.b, first) == DropReason::kCookieReplied);
    const SentDatagram cookie = net.take(net.b);
    REQUIRE(cookie.type() == 3);
    // It moves nothing but itself, wherever it comes from: who is under load may be anywhere.
    const Path elsewhere{Endpoint::parse("198.51.100.1:7").value(), {}, 0};
    CHECK(net.give_from(net.a, cookie, elsewhere) == DropReason::kNone);
    CHECK(net.state(net.a).endpoint == net.b.endpoint);
    // It is not sent again at once, but with the retry; and a second reply is not wanted.
    CHECK(net.a.out.sent.empty());
    CHECK(net.give(net.a, cookie) == DropReason::kCookieUnexpected);
    CHECK_FALSE(net.state(net.b).endpoint.is_set());

    net.pass(kRetryTime);
    const SentDatagram second = net.take(net.a);
    CHECK(load_le64(second.bytes.data() + 132) != 0);
    flood(net, net.b, kLoadMessagesMax + 10);
    // Without the address that it was made for, the cookie is worth nothing.
    const Path other_port{Endpoint::parse("192.0.2.1:1002").value(), {}, 0};
    CHECK(net.give_from(net.b, second, other_port) == DropReason::kCookieReplied);
    const Path other_address{Endpoint::parse("192.0.2.9:1001").value(), {}, 0};
    CHECK(net.give_from(net.b, second, other_address) == DropReason::kCookieReplied);
    net.b.out.sent.clear();
    REQUIRE(net.give(net.b, second) == DropReason::kNone);
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("under load a responder proves its address, too") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    flood(net, net.a, kLoadMessagesMax + 1);
    net.give(net.b, net.take(net.a));
    CHECK(net.give(net.a, net.take(net.b)) == DropReason::kCookieReplied);
    const SentDatagram cookie = net.take(net.a);
    CHECK(net.give(net.b, cookie) == DropReason::kNone);
    net.pass(kRetryTime);
    net.give(net.b, net.take(net.a));
    const SentDatagram response = net.take(net.b);
    CHECK(load_le64(response.bytes.data() + 76) != 0);
    flood(net, net.a, kLoadMessagesMax + 1);
    CHECK(net.give(net.a, response) == DropReason::kNone);
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("a flood does not touch sessions") {
    TwoDevices net;
    net.connect();
    flood(net, net.b, 1000);
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
    // The initiation that made the session counted as one of those that are let in.
    CHECK(net.b.drops.value(DropReason::kCookieReplied) == 1000 - (kLoadMessagesMax - 1));
}

TEST_CASE("a flood without a valid first MAC alarms nobody and is not answered") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram initiation = net.take(net.a);
    SentDatagram forged = initiation;
    forged.bytes[120] ^= 1;
    for (int i = 0; i < 1000; ++i)
        REQUIRE(net.give(net.b, forged) == DropReason::kMac1Invalid);
    CHECK(net.b.out.sent.empty());
    CHECK(net.give(net.b, initiation) == DropReason::kNone);
}

TEST_CASE("under load a proven source is let in five times at once") {
    TwoDevices net;
    flood(net, net.b, kLoadMessagesMax + 1);
    net.send(net.a, net.packet_from(net.a));
    net.give(net.b, net.take(net.a));
    net.give(net.a, net.take(net.b));
    net.pass(kRetryTime);
    const SentDatagram proven = net.take(net.a);
    flood(net, net.b, kLoadMessagesMax + 1);
    CHECK(net.give(net.b, proven) == DropReason::kNone);
    for (int i = 0; i < 4; ++i)
        CHECK(net.give(net.b, proven) == DropReason::kHandshakeReplayed);
    CHECK(net.give(net.b, proven) == DropReason::kHandshakeRateLimited);
    net.b.out.sent.pop_front();
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("the load is over after a calm second") {
    TwoDevices net;
    flood(net, net.b, kLoadMessagesMax + 1);
    net.pass(kLoadHold);
    net.send(net.a, net.packet_from(net.a));
    CHECK(net.give(net.b, net.take(net.a)) == DropReason::kNone);
}

TEST_CASE("cookies: forged, for another message, and unasked") {
    SeededRandom random(1);
    const Instant now{seconds(100)};
    const Endpoint source = Endpoint::parse("192.0.2.1:1").value();
    const PublicKey key = crypto::X25519Key::generate(random).public_key();
    CookieChecker checker;
    checker.set_own_key(key);
    MacWriter writer;
    writer.set_peer_key(key);
    std::array<uint8_t, 148> message{};
    CHECK(writer.consume({}, now) == DropReason::kCookieUnexpected);
    writer.sign(message, now);
    REQUIRE(checker.mac1_is_valid(message));
    CHECK_FALSE(checker.mac2_is_valid(message, source, now));

    wire::CookieReply reply = checker.reply_to(message, 5, source, random, now);
    CHECK(reply.receiver == 5);
    wire::CookieReply forged = reply;
    forged.sealed_cookie[3] ^= 1;
    CHECK(writer.consume(forged, now) == DropReason::kCookieInvalid);
    std::array<uint8_t, 148> other{1};
    MacWriter(writer).sign(other, now);
    const wire::CookieReply for_other = checker.reply_to(other, 5, source, random, now);
    CHECK(writer.consume(for_other, now) == DropReason::kCookieInvalid);
    // A forgery does not spoil the genuine one.
    CHECK(writer.consume(reply, now) == DropReason::kNone);
    CHECK(writer.consume(reply, now) == DropReason::kCookieUnexpected);

    writer.sign(message, now);
    CHECK(checker.mac2_is_valid(message, source, now));
    message[5] ^= 1;
    CHECK_FALSE(checker.mac1_is_valid(message));
    CHECK_FALSE(checker.mac2_is_valid(message, source, now));
}

TEST_CASE("cookies age: honoured for 120 s by who gave them, used for 115 s by who got them") {
    SeededRandom random(1);
    const Instant now{seconds(100)};
    const Endpoint source = Endpoint::parse("[2001:db8::1]:1").value();
    const PublicKey key = crypto::X25519Key::generate(random).public_key();
    CookieChecker checker;
    checker.set_own_key(key);
    MacWriter writer;
    writer.set_peer_key(key);
    std::array<uint8_t, 92> message{};
    writer.sign(message, now);
    REQUIRE(writer.consume(checker.reply_to(message, 1, source, random, now), now) ==
            DropReason::kNone);
    const auto second_mac = [&](Instant when) {
        writer.sign(message, when);
        return load_le64(message.data() + 76) != 0;
    };
    CHECK(second_mac(now + seconds(115) - Duration(1)));
    CHECK(checker.mac2_is_valid(message, source, now + seconds(120) - Duration(1)));
    CHECK_FALSE(checker.mac2_is_valid(message, source, now + seconds(120)));
    CHECK_FALSE(second_mac(now + seconds(115)));
}

}  // namespace sluice::wireguard
