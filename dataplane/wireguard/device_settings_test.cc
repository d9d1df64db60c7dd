// Changing the settings of a running device: what stays, what goes.
#include <catch2/catch.hpp>

#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/test_memory.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

namespace {

PeerSettings extra_peer(uint64_t seed, std::string_view prefix) {
    SeededRandom random(seed);
    PeerSettings peer;
    peer.public_key = crypto::X25519Key::generate(random).public_key();
    peer.allowed_ips = {IpPrefix::parse(prefix).value()};
    return peer;
}

bool passes(TwoDevices& net) {
    net.a.out.received.clear();
    net.b.out.received.clear();
    net.send(net.a, net.packet_from(net.a));
    net.send(net.b, net.packet_from(net.b));
    net.settle();
    return net.a.out.received.size() == 1 && net.b.out.received.size() == 1;
}

}  // namespace

TEST_CASE("the same settings again change nothing") {
    TwoDevices net;
    net.connect();
    const PeerState before = net.state(net.a);
    const Instant deadline = net.a.device.next_deadline();
    net.configure();
    const PeerState after = net.state(net.a);
    CHECK(after.session_created == before.session_created);
    CHECK(after.session_send_counter == before.session_send_counter);
    CHECK(net.a.device.next_deadline() == deadline);
    CHECK(net.a.out.sent.empty());
    CHECK(passes(net));
    CHECK(net.a.device.handshakes_completed() == 1);
}

TEST_CASE("peers come and go around one that stays, whose session goes on under another number") {
    TwoDevices net;
    net.connect();
    REQUIRE(net.peer_id(net.a) == 0);
    net.a.peers.insert(net.a.peers.begin(), extra_peer(50, "10.50.0.0/16"));
    net.a.peers.push_back(extra_peer(51, "10.51.0.0/16"));
    net.a.configure(net.now);
    CHECK(net.a.device.peers().size() == 3);
    CHECK(net.peer_id(net.a) == 1);
    CHECK(passes(net));
    CHECK(net.a.device.peer_by_address(IpAddress::parse("10.50.1.1").value()) == 0U);
    net.a.peers.erase(net.a.peers.begin());
    net.a.configure(net.now);
    CHECK(net.a.device.peers().size() == 2);
    CHECK_FALSE(net.a.device.peer_by_address(IpAddress::parse("10.50.1.1").value()));
    CHECK(net.a.device.peer_state(2).public_key == PublicKey{});
    CHECK(passes(net));
    CHECK(net.a.device.handshakes_completed() == 1);
}

TEST_CASE("a removed peer's session, keys and waiting packets are gone") {
    TwoDevices net;
    net.connect();
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram late = net.take(net.a);
    const auto peers = net.b.peers;
    net.b.peers.clear();
    net.b.configure(net.now);
    CHECK(net.b.device.peers().empty());
    CHECK(net.give(net.b, late) == DropReason::kReceiverIndexUnknown);
    CHECK(net.b.device.next_deadline() == kNever);
    // And back: it begins from nothing, even the endpoint.
    net.b.peers = peers;
    net.b.configure(net.now);
    CHECK_FALSE(net.state(net.b).endpoint.is_set());
    CHECK_FALSE(net.state(net.b).holds_key_material);

    net.a.configure(net.now);
    net.pass(kRejectAfterTime);
    net.a.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    net.a.peers.clear();
    net.a.configure(net.now);
    CHECK(net.a.drops.value(DropReason::kStagedExpired) == 1);
}

TEST_CASE("a learned endpoint survives settings that do not change theirs") {
    TwoDevices net;
    net.connect();
    const Path elsewhere{Endpoint::parse("198.51.100.9:99").value(), {}, 0};
    net.send(net.b, net.packet_from(net.b));
    net.give_from(net.a, net.take(net.b), elsewhere);
    CHECK(net.state(net.a).endpoint == elsewhere.remote);
    net.a.configure(net.now);
    CHECK(net.state(net.a).endpoint == elsewhere.remote);
    net.a.peers[0].endpoint = Endpoint::parse("203.0.113.5:5");
    net.a.configure(net.now);
    CHECK(net.state(net.a).endpoint == *net.a.peers[0].endpoint);
    CHECK(net.state(net.a).can_send);
    net.a.peers[0].endpoint.reset();
    net.a.configure(net.now);
    CHECK(net.state(net.a).endpoint == Endpoint::parse("203.0.113.5:5"));
}

TEST_CASE("a changed preshared key counts from the next handshake on") {
    TwoDevices net;
    net.connect();
    std::array<uint8_t, 32> bytes{};
    bytes[3] = 3;
    net.a.peers[0].preshared_key = Secret<32>(bytes);
    net.a.configure(net.now);
    CHECK(passes(net));
    net.b.peers[0].preshared_key = Secret<32>(bytes);
    net.b.configure(net.now);
    CHECK(passes(net));
    net.pass(kRejectAfterTime);
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    net.connect();
    CHECK(net.a.device.handshakes_completed() == 2);
    CHECK(passes(net));
}

TEST_CASE("a changed private key: sessions end, peers must know the new one") {
    TwoDevices net;
    net.connect();
    net.send(net.b, net.packet_from(net.b));
    const SentDatagram under_way = net.take(net.b);
    net.a.random.fill(net.a.private_key.span());
    net.a.public_key = crypto::X25519Key(net.a.private_key).public_key();
    net.a.configure(net.now);
    CHECK(net.a.device.public_key() == net.a.public_key);
    // What is on its way comes in, but nothing goes out under the old identity.
    CHECK(net.give(net.a, under_way) == DropReason::kNone);
    CHECK_FALSE(net.state(net.a).can_send);
    net.b.peers[0].public_key = net.a.public_key;
    net.b.configure(net.now);
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
    CHECK(passes(net));
}

TEST_CASE("packets that waited while the private key changed are sent with the new one") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    net.take(net.a);
    net.pass(seconds(1));
    net.a.random.fill(net.a.private_key.span());
    net.a.public_key = crypto::X25519Key(net.a.private_key).public_key();
    net.a.configure(net.now);
    net.b.peers[0].public_key = net.a.public_key;
    net.b.configure(net.now);
    net.pass(milliseconds(8));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("a peer with our own key is not a peer") {
    TwoDevices net;
    PeerSettings self;
    self.public_key = net.a.public_key;
    self.allowed_ips = {IpPrefix::parse("10.3.0.0/16").value()};
    net.a.peers.push_back(self);
    net.a.configure(net.now);
    CHECK(net.a.device.peers().size() == 1);
    CHECK_FALSE(net.a.device.peer_by_address(IpAddress::parse("10.3.0.1").value()));
    // Becoming a peer of ours removes that peer.
    net.a.private_key = net.b.private_key;
    net.a.configure(net.now);
    CHECK_FALSE(net.a.device.peer_by_key(net.b.public_key));
}

TEST_CASE("allowed IPs move from one peer to another at once") {
    TwoDevices net;
    net.connect();
    net.b.peers[0].allowed_ips = {IpPrefix::parse("10.0.0.7/32").value()};
    net.b.peers.push_back(extra_peer(60, "10.0.0.1/32"));
    net.b.configure(net.now);
    net.send(net.a, net.packet_from(net.a));
    CHECK(net.give(net.b, net.take(net.a)) == DropReason::kInnerSourceNotAllowed);
    CHECK(net.b.device.route(net.packet_from(net.b)).value() ==
          net.b.device.peer_by_key(net.b.peers[1].public_key).value());
}

TEST_CASE("a larger MTU counts from now on, and what waited is kept") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a, 1400));
    net.a.mtu = 9000;
    net.a.configure(net.now);
    CHECK(net.send(net.a, net.packet_from(net.a, 9000)) == DropReason::kNone);
    CHECK(net.send(net.a, net.packet_from(net.a, 9001)) == DropReason::kInnerTooLarge);
    net.settle();
    REQUIRE(net.b.out.received.size() == 2);
    CHECK(net.b.out.received[0].bytes == net.packet_from(net.a, 1400));
    CHECK(net.b.out.received[1].bytes == net.packet_from(net.a, 9000));
}

TEST_CASE("ten thousand peers: each is found, and idle they have no deadline") {
    Now now{Instant(seconds(10)), WallTime(seconds(1'800'000'000))};
    End end(7, "192.0.2.1:1", now);
    SeededRandom random(5);
    for (uint32_t i = 0; i < 10'000; ++i) {
        PeerSettings peer;
        random.fill(peer.public_key);
        IpAddress address = IpAddress::parse("10.0.0.0").value();
        store_be32(address.bytes.data(), 0x0a000000 + i);
        peer.allowed_ips = {IpPrefix{address, 32}};
        end.peers.push_back(peer);
    }
    end.configure(now);
    CHECK(end.device.peers().size() == 10'000);
    for (const PeerSettings& peer : end.peers) {
        const auto id = end.device.peer_by_key(peer.public_key);
        REQUIRE(id);
        REQUIRE(end.device.peer_by_address(peer.allowed_ips[0].address) == id);
    }
    CHECK(end.device.next_deadline() == kNever);
}

TEST_CASE(
    "a hundred thousand peers and a million allowed IPs: little memory, also when one is added") {
    constexpr uint32_t kPeers = 100'000;
    constexpr uint32_t kPrefixes = 10;
    const Now now{Instant(seconds(10)), WallTime(seconds(1'800'000'000))};
    End end(7, "192.0.2.1:1", now);
    SeededRandom random(5);
    const auto address_of = [](uint32_t peer, uint32_t number) {
        IpAddress address = IpAddress::parse("10.0.0.0").value();
        store_be32(address.bytes.data(), 0x0a000000 + peer * 16 + number);
        return address;
    };
    for (uint32_t i = 0; i < kPeers; ++i) {
        PeerSettings& peer = end.peers.emplace_back();
        random.fill(peer.public_key);
        for (uint32_t number = 0; number < kPrefixes; ++number)
            peer.allowed_ips.push_back({address_of(i, number), 32});
    }
    DeviceSettings settings = end.settings();
    const size_t before = resident_memory();
    end.device.configure(settings, now, end.out);
    PeerSettings& added = settings.peers.emplace_back();
    random.fill(added.public_key);
    added.allowed_ips.push_back({address_of(kPeers, 0), 32});
    end.device.configure(settings, now, end.out);
    // While settings change there are two tables of all allowed IPs.
    constexpr size_t kPerPeer = 2048;
    if (kResidentMemoryMeansSomething) CHECK(resident_memory() < before + kPeers * kPerPeer);
    CHECK(end.device.peers().size() == kPeers + 1);
    for (uint32_t i = 0; i <= kPeers; i += 97) {
        REQUIRE(end.device.peer_by_address(address_of(i, 0)) == i);
        REQUIRE(end.device.peer_by_address(address_of(i, kPrefixes)) == std::nullopt);
    }
    CHECK(end.device.next_deadline() == kNever);
}

}  // namespace sluice::wireguard
