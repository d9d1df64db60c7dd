// The protocol between two devices, message by message.
#include <catch2/catch.hpp>
#include <set>

#include "dataplane/wire/ip_packet.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

TEST_CASE("a packet without a session makes a handshake, and arrives after it") {
    TwoDevices net;
    const auto packet = net.packet_from(net.a);
    REQUIRE(net.send(net.a, packet) == DropReason::kNone);
    CHECK(net.state(net.a).staged_packets == 1);

    const SentDatagram initiation = net.take(net.a);
    CHECK(initiation.type() == 1);
    CHECK(initiation.bytes.size() == 148);
    CHECK(initiation.tos == 0x88);
    CHECK(initiation.path.remote == net.b.endpoint);
    CHECK(net.a.out.sent.empty());
    REQUIRE(net.give(net.b, initiation) == DropReason::kNone);

    const SentDatagram response = net.take(net.b);
    CHECK(response.type() == 2);
    CHECK(response.bytes.size() == 92);
    CHECK(response.tos == 0x88);
    CHECK(response.path.remote == net.a.endpoint);
    // Sticky source: the answer leaves from the address that was asked.
    CHECK(response.path.local == net.b.endpoint.address);
    CHECK_FALSE(net.state(net.b).can_send);
    REQUIRE(net.give(net.a, response) == DropReason::kNone);
    CHECK(net.state(net.a).can_send);
    CHECK(net.state(net.a).session_initiator);

    const SentDatagram data = net.take(net.a);
    CHECK(data.type() == 4);
    CHECK(data.bytes.size() == 16 + 112 + 16);
    CHECK(net.a.out.sent.empty());
    REQUIRE(net.give(net.b, data) == DropReason::kNone);
    REQUIRE(net.b.out.received.size() == 1);
    CHECK(net.b.out.received[0].bytes == packet);
    CHECK(net.b.out.received[0].peer == net.peer_id(net.b));
    CHECK(net.state(net.b).can_send);
    CHECK_FALSE(net.state(net.b).session_initiator);

    // And back.
    REQUIRE(net.send(net.b, net.packet_from(net.b)) == DropReason::kNone);
    REQUIRE(net.give(net.a, net.take(net.b)) == DropReason::kNone);
    REQUIRE(net.a.out.received.size() == 1);
    CHECK(net.a.out.received[0].bytes == net.packet_from(net.b));
    CHECK_FALSE(net.a.out.protocol_violated);
    CHECK_FALSE(net.b.out.protocol_violated);
    CHECK(net.a.device.handshakes_completed() == 1);
    CHECK(net.b.device.handshakes_completed() == 1);
    CHECK(net.state(net.a).last_handshake == net.now.wall);
    CHECK(net.state(net.b).last_handshake == net.now.wall);
}

TEST_CASE("without anything staged the initiator confirms with a keepalive") {
    TwoDevices net;
    net.a.peers[0].persistent_keepalive_s = 25;
    net.configure();
    REQUIRE(net.give(net.b, net.take(net.a)) == DropReason::kNone);
    REQUIRE(net.give(net.a, net.take(net.b)) == DropReason::kNone);
    const SentDatagram keepalive = net.take(net.a);
    CHECK(keepalive.type() == 4);
    CHECK(keepalive.bytes.size() == 32);
    CHECK(keepalive.tos == 0);
    REQUIRE(net.give(net.b, keepalive) == DropReason::kNone);
    CHECK(net.b.out.received.empty());
    CHECK(net.state(net.b).can_send);
}

TEST_CASE("a responder sends nothing before the first authentic data") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    net.give(net.b, net.take(net.a));
    const SentDatagram response = net.take(net.b);
    // The responder's own packet waits, although it holds keys.
    REQUIRE(net.send(net.b, net.packet_from(net.b)) == DropReason::kNone);
    CHECK(net.b.out.sent.empty());
    CHECK(net.state(net.b).staged_packets == 1);
    net.give(net.a, response);
    SentDatagram data = net.take(net.a);
    // Not even a forged one lets it go.
    SentDatagram forged = data;
    forged.bytes.back() ^= 1;
    CHECK(net.give(net.b, forged) == DropReason::kDataInvalid);
    CHECK(net.b.out.sent.empty());
    REQUIRE(net.give(net.b, data) == DropReason::kNone);
    CHECK(net.b.out.sent.size() == 1);
    net.settle();
    CHECK(net.a.out.received.size() == 1);
}

TEST_CASE("IPv4 and IPv6 inside, every size up to the MTU, padded but never beyond it") {
    TwoDevices net;
    net.connect();
    for (size_t size = 20; size <= 1420; ++size) {
        const auto packet = ip_packet("10.0.0.1", "10.0.0.2", size);
        REQUIRE(net.send(net.a, packet) == DropReason::kNone);
        SentDatagram data = net.take(net.a);
        const size_t padded = std::min<size_t>((size + 15) / 16 * 16, 1420);
        REQUIRE(data.bytes.size() == 32 + padded);
        REQUIRE(net.give(net.b, data) == DropReason::kNone);
        REQUIRE(net.b.out.received.back().bytes == packet);
        net.b.out.received.clear();
    }
    for (const size_t size : {40, 41, 1300, 1419, 1420}) {
        const auto packet = ip_packet("fd00::2", "fd00::1", size);
        REQUIRE(net.send(net.b, packet) == DropReason::kNone);
        REQUIRE(net.give(net.a, net.take(net.b)) == DropReason::kNone);
        REQUIRE(net.a.out.received.back().bytes == packet);
    }
    CHECK(net.send(net.a, ip_packet("10.0.0.1", "10.0.0.2", 1421)) == DropReason::kInnerTooLarge);
    CHECK(net.send(net.a, {}) == DropReason::kInnerMalformed);
    CHECK(net.send(net.a, std::vector<uint8_t>(100, 0x11)) == DropReason::kInnerMalformed);
    CHECK(net.a.drops.value(DropReason::kInnerTooLarge) == 1);
}

TEST_CASE("bytes are counted with their overhead, as wg(8) shows them") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a, 100));
    net.settle();
    CHECK(net.state(net.a).sent_bytes == 148 + 144);
    CHECK(net.state(net.a).received_bytes == 92);
    CHECK(net.state(net.b).sent_bytes == 92);
    CHECK(net.state(net.b).received_bytes == 148 + 144);
}

TEST_CASE("routing by destination, to the right peer and to nobody") {
    TwoDevices net;
    const auto route = [&](std::string_view source, std::string_view destination) {
        return net.a.device.route(ip_packet(source, destination, 60));
    };
    CHECK(route("10.0.0.1", "10.0.0.2").value() == net.peer_id(net.a));
    CHECK(route("fd00::1", "fd00::2").value() == net.peer_id(net.a));
    CHECK(route("10.0.0.1", "10.0.0.3").error() == DropReason::kInnerNoPeer);
    CHECK(net.a.device.route({}).error() == DropReason::kInnerMalformed);
    CHECK(net.a.device.peer_by_address(IpAddress::parse("fd00::2").value()) == net.peer_id(net.a));
    CHECK_FALSE(net.a.device.peer_by_address(IpAddress::parse("fd00::3").value()));
    CHECK_FALSE(net.a.device.peer_by_address({}));
    CHECK_FALSE(net.a.device.peer_by_key(PublicKey{}));
    CHECK(net.a.device.send(77, net.packet_from(net.a), net.now, net.a.out) ==
          DropReason::kInnerNoPeer);
}

TEST_CASE("an inner source outside the peer's allowed IPs is dropped") {
    TwoDevices net;
    net.connect();
    const auto forged = ip_packet("10.0.0.9", "10.0.0.2", 60);
    REQUIRE(net.a.device.send(net.peer_id(net.a), forged, net.now, net.a.out) == DropReason::kNone);
    CHECK(net.give(net.b, net.take(net.a)) == DropReason::kInnerSourceNotAllowed);
    CHECK(net.b.out.received.empty());
    CHECK_FALSE(net.b.out.protocol_violated);
}

TEST_CASE("an inner length that lies is dropped") {
    TwoDevices net;
    net.connect();
    // The far end checks what it sends, so the lie is told to a device whose MTU lets it through:
    // the packet is right when it is given, and its length is raised behind the device's back.
    auto packet = net.packet_from(net.a, 100);
    REQUIRE(net.send(net.a, packet) == DropReason::kNone);
    REQUIRE(net.give(net.b, net.take(net.a)) == DropReason::kNone);
    store_be16(packet.data() + 2, 101);
    CHECK(net.send(net.a, packet) == DropReason::kInnerMalformed);
}

TEST_CASE("a replayed, reordered or forged data message") {
    TwoDevices net;
    net.connect();
    std::vector<SentDatagram> sent;
    for (int i = 0; i < 5; ++i) {
        net.send(net.a, net.packet_from(net.a));
        sent.push_back(net.take(net.a));
    }
    CHECK(net.give(net.b, sent[4]) == DropReason::kNone);
    CHECK(net.give(net.b, sent[2]) == DropReason::kNone);
    CHECK(net.give(net.b, sent[2]) == DropReason::kDataReplayed);
    CHECK(net.give(net.b, sent[4]) == DropReason::kDataReplayed);
    // A forgery does not use up the counter of the genuine one.
    SentDatagram forged = sent[3];
    forged.bytes[20] ^= 1;
    CHECK(net.give(net.b, forged) == DropReason::kDataInvalid);
    CHECK(net.give(net.b, sent[3]) == DropReason::kNone);
    // Nor does one with a counter far ahead move the window.
    forged = sent[0];
    store_le64(forged.bytes.data() + 8, uint64_t{1} << 50);
    CHECK(net.give(net.b, forged) == DropReason::kDataInvalid);
    CHECK(net.give(net.b, sent[0]) == DropReason::kNone);
    forged = sent[1];
    store_le64(forged.bytes.data() + 8, UINT64_MAX);
    CHECK(net.give(net.b, forged) == DropReason::kSessionExpired);
    CHECK(net.b.out.received.size() == 4);
    CHECK(net.b.drops.value(DropReason::kDataReplayed) == 2);
    CHECK(net.b.drops.value(DropReason::kDataInvalid) == 2);
}

TEST_CASE("cut, mistyped and unknown datagrams meet silence") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram initiation = net.take(net.a);
    net.give(net.b, initiation);
    const SentDatagram response = net.take(net.b);
    net.give(net.a, response);
    const SentDatagram data = net.take(net.a);
    net.give(net.b, data);
    net.b.out.received.clear();
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    for (const SentDatagram& original : {initiation, response, data}) {
        for (size_t size = 0; size < original.bytes.size(); ++size) {
            SentDatagram cut = original;
            cut.bytes.resize(size);
            for (uint32_t type = 0; type <= 5; ++type) {
                if (size >= 4) store_le32(cut.bytes.data(), type);
                REQUIRE(net.give(net.a, cut) != DropReason::kNone);
                REQUIRE(net.give(net.b, cut) != DropReason::kNone);
            }
        }
        // Whole, but named as another message.
        for (uint32_t type = 0; type <= 5; ++type) {
            if (type == original.type()) continue;
            SentDatagram confused = original;
            store_le32(confused.bytes.data(), type);
            REQUIRE(net.give(net.a, confused) != DropReason::kNone);
            REQUIRE(net.give(net.b, confused) != DropReason::kNone);
        }
    }
    SentDatagram stranger = data;
    store_le32(stranger.bytes.data() + 4, load_le32(data.bytes.data() + 4) ^ 0x1000);
    CHECK(net.give(net.b, stranger) == DropReason::kReceiverIndexUnknown);
    CHECK(net.a.out.sent.empty());
    CHECK(net.b.out.sent.empty());
    CHECK(net.b.out.received.empty());
    CHECK(net.a.out.received.empty());
}

TEST_CASE("every flipped bit of a handshake message is refused in silence") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram initiation = net.take(net.a);
    for (size_t bit = 32; bit < 132 * 8; bit += 7) {
        SentDatagram flipped = initiation;
        flipped.bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
        REQUIRE(net.give(net.b, flipped) == DropReason::kMac1Invalid);
    }
    REQUIRE(net.b.out.sent.empty());
    CHECK_FALSE(net.state(net.b).endpoint.is_set());
    REQUIRE(net.give(net.b, initiation) == DropReason::kNone);
    const SentDatagram response = net.take(net.b);
    for (size_t bit = 32; bit < 76 * 8; bit += 7) {
        SentDatagram flipped = response;
        flipped.bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
        REQUIRE(net.give(net.a, flipped) == DropReason::kMac1Invalid);
    }
    REQUIRE(net.a.out.sent.empty());
    CHECK(net.give(net.a, response) == DropReason::kNone);
    // Twice is once.
    CHECK(net.give(net.a, response) == DropReason::kHandshakeUnexpected);
}

TEST_CASE("a replayed initiation changes nothing") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram initiation = net.take(net.a);
    net.give(net.b, initiation);
    net.settle();
    net.pass(seconds(1));
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    const PeerState before = net.state(net.b);
    const Path elsewhere{Endpoint::parse("198.51.100.7:7").value(), {}, 0};
    CHECK(net.give_from(net.b, initiation, elsewhere) == DropReason::kHandshakeReplayed);
    CHECK(net.b.out.sent.empty());
    const PeerState after = net.state(net.b);
    CHECK(after.endpoint == before.endpoint);
    CHECK(after.received_bytes == before.received_bytes);
    CHECK(after.session_created == before.session_created);
}

TEST_CASE("initiations of one peer are accepted at most once in 20 ms") {
    TwoDevices net;
    // The same keys on a machine that answers for them much too often.
    std::vector<SentDatagram> initiations;
    for (int i = 0; i < 3; ++i) {
        End again(2, "192.0.2.1:1001", net.now);
        again.peers = net.a.peers;
        net.advance_to(net.now.mono + milliseconds(17));
        again.configure(net.now);
        again.device.send(0, net.packet_from(net.a), net.now, again.out);
        initiations.push_back(again.out.sent.front());
    }
    CHECK(net.give(net.b, initiations[0]) == DropReason::kNone);
    net.advance_to(net.now.mono + kInitiationInterval - Duration(1));
    CHECK(net.give(net.b, initiations[1]) == DropReason::kHandshakeFlood);
    net.advance_to(net.now.mono + Duration(1));
    CHECK(net.give(net.b, initiations[2]) == DropReason::kNone);
}

TEST_CASE("a stranger's handshake is refused in silence") {
    TwoDevices net;
    End stranger(99, "203.0.113.1:1", net.now);
    stranger.peers = {TwoDevices::peer_of(net.b, "10.0.0.2/32", "fd00::2/128")};
    stranger.peers[0].endpoint = net.b.endpoint;
    stranger.configure(net.now);
    stranger.device.send(0, net.packet_from(net.a), net.now, stranger.out);
    CHECK(net.give(net.b, stranger.out.sent.front()) == DropReason::kHandshakeUnknownPeer);
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("different preshared keys never agree") {
    TwoDevices net;
    std::array<uint8_t, 32> bytes{};
    bytes[0] = 1;
    net.a.peers[0].preshared_key = Secret<32>(bytes);
    net.configure();
    net.send(net.a, net.packet_from(net.a));
    CHECK(net.give(net.b, net.take(net.a)) == DropReason::kNone);
    CHECK(net.give(net.a, net.take(net.b)) == DropReason::kHandshakeInvalid);
    CHECK(net.a.out.sent.empty());
    CHECK_FALSE(net.state(net.a).can_send);
    CHECK_FALSE(net.state(net.b).can_send);
}

TEST_CASE("a public key of low order is no peer: nothing is sent and nothing waits") {
    TwoDevices net;
    PeerSettings bad;
    bad.public_key = PublicKey{1};
    bad.endpoint = net.b.endpoint;
    bad.allowed_ips = {IpPrefix::parse("10.7.0.0/16").value()};
    net.a.peers.push_back(bad);
    net.a.configure(net.now);
    const PeerId id = net.a.device.peer_by_key(bad.public_key).value();
    net.a.device.send(id, net.packet_from(net.a), net.now, net.a.out);
    CHECK(net.a.out.sent.empty());
    CHECK(net.a.device.peer_state(id).staged_packets == 0);
    CHECK_FALSE(net.a.device.peer_state(id).holds_key_material);
}

TEST_CASE("two initiations that cross both succeed at once") {
    TwoDevices net;
    net.b.peers[0].endpoint = net.a.endpoint;
    net.configure();
    net.send(net.a, net.packet_from(net.a));
    net.send(net.b, net.packet_from(net.b));
    const SentDatagram from_a = net.take(net.a);
    const SentDatagram from_b = net.take(net.b);
    CHECK(net.give(net.b, from_a) == DropReason::kNone);
    CHECK(net.give(net.a, from_b) == DropReason::kNone);
    net.settle();
    CHECK(net.a.out.received.size() == 1);
    CHECK(net.b.out.received.size() == 1);
    CHECK(net.state(net.a).can_send);
    CHECK(net.state(net.b).can_send);
    for (int i = 0; i < 3; ++i) {
        net.send(net.a, net.packet_from(net.a));
        net.send(net.b, net.packet_from(net.b));
        net.settle();
    }
    CHECK(net.a.out.received.size() == 4);
    CHECK(net.b.out.received.size() == 4);
}

TEST_CASE("what was under way when a new session came still arrives") {
    TwoDevices net;
    net.connect();
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram late = net.take(net.a);
    net.pass(kRekeyAfterTime);
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    net.connect();
    REQUIRE(net.state(net.a).session_created == net.now.mono);
    CHECK(net.give(net.b, late) == DropReason::kNone);
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("the endpoint follows any authentic message, and nothing else") {
    TwoDevices net;
    net.connect();
    CHECK(net.state(net.b).endpoint == net.a.endpoint);

    // Data from a new IPv6 address.
    const Path v6{Endpoint::parse("[2001:db8::7]:777").value(),
                  IpAddress::parse("2001:db8::2").value(), 3};
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram data = net.take(net.a);
    SentDatagram forged = data;
    forged.bytes.back() ^= 1;
    net.give_from(net.b, forged, v6);
    CHECK(net.state(net.b).endpoint == net.a.endpoint);
    CHECK(net.give_from(net.b, data, v6) == DropReason::kNone);
    CHECK(net.state(net.b).endpoint == v6.remote);
    net.send(net.b, net.packet_from(net.b));
    const SentDatagram answer = net.take(net.b);
    CHECK(answer.path == v6);
    net.give(net.a, answer);

    // The same message again, from elsewhere: a replay moves nothing.
    const Path elsewhere{Endpoint::parse("198.51.100.1:1").value(), {}, 0};
    CHECK(net.give_from(net.b, data, elsewhere) == DropReason::kDataReplayed);
    CHECK(net.state(net.b).endpoint == v6.remote);

    // A keepalive moves it, too; and a data message whose packet is not allowed is authentic all
    // the same.
    net.a.device.send(net.peer_id(net.a), ip_packet("10.9.9.9", "10.0.0.2", 60), net.now,
                      net.a.out);
    CHECK(net.give_from(net.b, net.take(net.a), elsewhere) == DropReason::kInnerSourceNotAllowed);
    CHECK(net.state(net.b).endpoint == elsewhere.remote);
}

TEST_CASE("more than 128 packets wait for no handshake, and the newest survive in order") {
    TwoDevices net;
    for (size_t i = 0; i < 200; ++i)
        REQUIRE(net.send(net.a, net.packet_from(net.a, 100 + i)) == DropReason::kNone);
    CHECK(net.state(net.a).staged_packets == 128);
    CHECK(net.a.drops.value(DropReason::kStagedOverflow) == 72);
    CHECK(net.a.out.sent.size() == 1);
    net.settle();
    REQUIRE(net.b.out.received.size() == 128);
    for (size_t i = 0; i < 128; ++i)
        CHECK(net.b.out.received[i].bytes.size() == 100 + 72 + i);
}

TEST_CASE("a peer without an endpoint cannot be reached, and nothing waits for it") {
    TwoDevices net;
    CHECK(net.send(net.b, net.packet_from(net.b)) == DropReason::kInnerNoEndpoint);
    CHECK(net.state(net.b).staged_packets == 0);
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("congestion marks cross the tunnel, DSCP does not leave it") {
    TwoDevices net;
    net.connect();
    // Inner ECT(0) with DSCP EF: outside only ECT(0).
    REQUIRE(net.send(net.a, ip_packet("10.0.0.1", "10.0.0.2", 60, 0xba)) == DropReason::kNone);
    SentDatagram data = net.take(net.a);
    CHECK(data.tos == 0x02);
    // Marked on the way.
    REQUIRE(net.give(net.b, data, 0x03) == DropReason::kNone);
    REQUIRE(net.b.out.received.size() == 1);
    CHECK(net.b.out.received[0].congestion_experienced);
    CHECK(net.b.out.received[0].bytes == ip_packet("10.0.0.1", "10.0.0.2", 60, 0xbb));

    // An inner packet that is not capable must be dropped when it was marked.
    REQUIRE(net.send(net.a, ip_packet("fd00::1", "fd00::2", 60, 0xb8)) == DropReason::kNone);
    data = net.take(net.a);
    CHECK(data.tos == 0);
    CHECK(net.give(net.b, data, 0x03) == DropReason::kInnerCongestion);
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("no room: a drop with its reason, and the session is as good as before") {
    TwoDevices net;
    net.connect();
    net.a.out.refuse_datagrams = true;
    CHECK(net.send(net.a, net.packet_from(net.a)) == DropReason::kNoSendBuffer);
    net.a.out.refuse_datagrams = false;
    CHECK(net.send(net.a, net.packet_from(net.a)) == DropReason::kNone);
    const SentDatagram data = net.take(net.a);
    net.b.out.refuse_inner = true;
    CHECK(net.give(net.b, data) == DropReason::kNoSendBuffer);
    net.b.out.refuse_inner = false;
    // It was never opened, so it may come again.
    CHECK(net.give(net.b, data) == DropReason::kNone);
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("no room for handshake messages: the timers try again") {
    TwoDevices net;
    net.a.out.refuse_datagrams = true;
    CHECK(net.send(net.a, net.packet_from(net.a)) == DropReason::kNone);
    CHECK(net.a.drops.value(DropReason::kNoSendBuffer) == 1);
    net.a.out.refuse_datagrams = false;
    net.pass(kRekeyTimeout + kJitterMax + milliseconds(4));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("receiver indices carry the worker and are never the same") {
    SeededRandom random(5);
    Now now{Instant(seconds(10)), WallTime(seconds(1'800'000'000))};
    End end(7, "192.0.2.1:1", now, {.worker = 5, .workers = 8});
    std::set<uint32_t> indices;
    for (uint32_t i = 0; i < 500; ++i) {
        PeerSettings peer;
        random.fill(peer.public_key);
        peer.endpoint = Endpoint::parse("192.0.2.9:9");
        peer.persistent_keepalive_s = 10;
        end.peers.push_back(peer);
    }
    end.configure(now);
    REQUIRE(end.out.sent.size() == 500);
    for (const SentDatagram& initiation : end.out.sent) {
        const uint32_t index = load_le32(initiation.bytes.data() + 4);
        CHECK(index >> 29 == 5);
        CHECK(indices.insert(index).second);
    }
}

}  // namespace sluice::wireguard
