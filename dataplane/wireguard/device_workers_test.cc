// Proves that a node of several workers, each with a device that owns a share of the peers, is one
// WireGuard end: whichever worker a datagram comes to, its peer's owner handles it, after one
// change of worker at most.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/peer_directory.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

namespace {

using std::chrono::milliseconds;

// One node with several devices and a client for each of its peers.
class Workers {
  public:
    Workers(uint32_t workers, size_t client_count) {
        for (uint32_t i = 0; i < workers; ++i) {
            Worker& worker = nodes.emplace_back();
            worker.random = std::make_unique<SeededRandom>(100 + i);
            worker.device =
                std::make_unique<Device>(Device::Options{.worker = i, .workers = workers},
                                         *worker.random, worker.drops, now);
        }
        SeededRandom random(7);
        random.fill(settings.private_key.span());
        public_key = crypto::X25519Key(settings.private_key).public_key();
        for (size_t i = 0; i < client_count; ++i)
            add_client(i);
        configure();
    }

    void add_client(size_t number) {
        const std::string host = std::to_string(number + 1);
        auto client = std::make_unique<End>(1000 + number, "198.51.100." + host + ":9000", now);
        PeerSettings node;
        node.public_key = public_key;
        node.allowed_ips = {IpPrefix::parse("10.0.0.0/24").value()};
        node.endpoint = address;
        client->peers = {node};
        client->configure(now);
        PeerSettings peer;
        peer.public_key = client->public_key;
        peer.allowed_ips = {IpPrefix::parse("10.1." + host + ".0/24").value()};
        settings.peers.push_back(peer);
        clients.push_back(std::move(client));
    }

    void configure() {
        directory = std::make_shared<PeerDirectory>(public_key);
        for (PeerId id = 0; id < settings.peers.size(); ++id) {
            const PeerSettings& peer = settings.peers[id];
            directory->add(peer.public_key, peer.allowed_ips, owner(id));
        }
        directory->finish();
        for (Worker& worker : nodes)
            worker.device->configure(settings, directory, now, worker.out);
    }

    uint32_t owner(PeerId peer) const { return static_cast<uint32_t>(peer % nodes.size()); }
    std::string inner_address(size_t client) const {
        return "10.1." + std::to_string(client + 1) + ".9";
    }

    // Gives a datagram of a client to a worker, and to another if that one says so. Returns who had
    // it in the end.
    uint32_t give(SentDatagram datagram, size_t client, uint32_t at) {
        const Path path{clients[client]->endpoint, address.address, 1};
        nodes[at].device->receive(datagram.bytes, path, 0, now, nodes[at].out);
        if (nodes[at].out.foreign.empty()) return at;
        const uint32_t next = nodes[at].out.foreign.front();
        nodes[at].out.foreign.clear();
        CHECK(next != at);
        nodes[next].device->receive_from_worker(datagram.bytes, path, 0, now, nodes[next].out);
        CHECK(nodes[next].out.foreign.empty());
        return next;
    }

    // Everything both ways until all are quiet; what a client sends goes to `at`.
    void settle(size_t client, uint32_t at) {
        for (bool busy = true; busy;) {
            busy = false;
            while (!clients[client]->out.sent.empty()) {
                busy = true;
                SentDatagram datagram = std::move(clients[client]->out.sent.front());
                clients[client]->out.sent.pop_front();
                give(std::move(datagram), client, at);
            }
            for (Worker& node : nodes) {
                while (!node.out.sent.empty()) {
                    busy = true;
                    SentDatagram datagram = std::move(node.out.sent.front());
                    node.out.sent.pop_front();
                    clients[client]->device.receive(datagram.bytes, {address, {}, 0}, 0, now,
                                                    clients[client]->out);
                }
            }
        }
    }

    DropReason send_from_client(size_t client, size_t size = 200) {
        End& end = *clients[client];
        return end.device.send(0, ip_packet(inner_address(client), "10.0.0.1", size), now, end.out);
    }

    struct Worker {
        std::unique_ptr<SeededRandom> random;
        DropCounters drops;
        CollectingOutput out;
        std::unique_ptr<Device> device;
    };

    Now now{Instant(std::chrono::seconds(1000)), WallTime(std::chrono::seconds(1'800'000'000))};
    Endpoint address = Endpoint::parse("192.0.2.1:41621").value();
    DeviceSettings settings;
    PublicKey public_key{};
    std::shared_ptr<PeerDirectory> directory;
    std::deque<Worker> nodes;
    std::vector<std::unique_ptr<End>> clients;
};

}  // namespace

TEST_CASE("whichever worker a datagram comes to, its peer's owner handles it") {
    for (const uint32_t count : {1U, 2U, 3U, 4U}) {
        for (uint32_t at = 0; at < count; ++at) {
            INFO("workers: " << count << ", all datagrams come to worker " << at);
            Workers net(count, 6);
            for (size_t client = 0; client < net.clients.size(); ++client) {
                auto& owner = net.nodes[net.owner(static_cast<PeerId>(client))];
                net.send_from_client(client);
                net.settle(client, at);
                net.send_from_client(client);
                net.settle(client, at);
                REQUIRE(owner.out.received.size() == 2);
                CHECK(owner.out.received[1].peer == client);
                owner.out.received.clear();
                // And the other way, from whichever worker the packet came to.
                const auto packet = ip_packet("10.0.0.1", net.inner_address(client), 300);
                const auto peer = net.nodes[at].device->route(packet);
                REQUIRE(peer == client);
                CHECK(net.nodes[at].device->worker_of(*peer) == net.owner(*peer));
                CHECK(owner.device->send(*peer, packet, net.now, owner.out) == DropReason::kNone);
                net.settle(client, at);
                CHECK(net.clients[client]->out.received.size() == 1);
            }
            for (uint32_t i = 0; i < count; ++i) {
                for (size_t reason = 0; reason < kDropReasonCount; ++reason)
                    CHECK(net.nodes[i].drops.value(static_cast<DropReason>(reason)) == 0);
                CHECK(net.nodes[i].device->peers().size() == (6 + count - 1 - i) / count);
            }
        }
    }
}

TEST_CASE("a peer may not send from what another worker's peer has") {
    Workers net(2, 2);
    // Peer 0 has all of 10.0.0.0/8 but for what peer 1, of the other worker, has of it.
    net.settings.peers[0].allowed_ips = {IpPrefix::parse("10.0.0.0/8").value()};
    net.configure();
    net.send_from_client(0);
    net.settle(0, 0);
    auto& owner = net.nodes[0];
    REQUIRE(owner.out.received.size() == 1);
    owner.out.received.clear();
    End& client = *net.clients[0];
    client.device.send(0, ip_packet(net.inner_address(1), "10.0.0.1", 100), net.now, client.out);
    net.settle(0, 0);
    CHECK(owner.out.received.empty());
    CHECK(owner.drops.value(DropReason::kInnerSourceNotAllowed) == 1);
}

TEST_CASE("what claims to be another worker's and is not is dropped there") {
    Workers net(4, 4);
    net.send_from_client(1);
    net.settle(1, 1);
    SentDatagram forged;
    forged.bytes.resize(64);
    store_le32(forged.bytes.data(), 4);
    SECTION("an index that nobody gave out") {
        store_le32(forged.bytes.data() + 4, 3U << 30 | 12345);
        CHECK(net.give(forged, 1, 0) == 3);
        CHECK(net.nodes[3].drops.value(DropReason::kReceiverIndexUnknown) == 1);
    }
    SECTION("a response that nobody asked for") {
        forged.bytes.assign(92, 0);
        store_le32(forged.bytes.data(), 2);
        store_le32(forged.bytes.data() + 8, 2U << 30 | 12345);
        CHECK(net.give(forged, 1, 0) == 2);
        CHECK(net.nodes[2].drops.value(DropReason::kMac1Invalid) == 1);
    }
    SECTION("a worker that there is not") {
        Workers three(3, 3);
        store_le32(forged.bytes.data() + 4, 3U << 30 | 12345);
        CHECK(three.give(forged, 1, 0) == 0);
        CHECK(three.nodes[0].drops.value(DropReason::kReceiverIndexUnknown) == 1);
    }
    SECTION("a message for this worker that another one passed on by mistake goes no further") {
        store_le32(forged.bytes.data() + 4, 3U << 30 | 12345);
        net.nodes[1].device->receive_from_worker(forged.bytes, {}, 0, net.now, net.nodes[1].out);
        CHECK(net.nodes[1].out.foreign.empty());
        CHECK(net.nodes[1].drops.value(DropReason::kReceiverIndexUnknown) == 1);
    }
}

TEST_CASE("a handshake gets through when both its workers are under load") {
    Workers net(2, 2);
    // A flood of initiations with a valid first MAC, at both workers.
    const auto flood = [&net] {
        for (int i = 0; i < 200; ++i) {
            End stranger(5000 + i, "203.0.113.9:9", net.now);
            stranger.peers = net.clients[0]->peers;
            stranger.peers[0].persistent_keepalive_s = 25;
            stranger.configure(net.now);
            for (auto& worker : net.nodes) {
                std::vector<uint8_t> bytes = stranger.out.sent.front().bytes;
                worker.device->receive(bytes, {stranger.endpoint, {}, 0}, 0, net.now, worker.out);
                worker.out.sent.clear();
            }
        }
    };
    flood();
    // Client 1 is worker 1's, and its datagrams come to worker 0.
    net.send_from_client(1);
    net.settle(1, 0);  // a cookie
    CHECK(net.nodes[1].out.received.empty());
    net.now.mono += kRekeyTimeout + milliseconds(400);
    net.now.wall += kRekeyTimeout + milliseconds(400);
    flood();
    End& client = *net.clients[1];
    client.device.tick(net.now, client.out);
    net.settle(1, 0);
    CHECK(net.nodes[1].out.received.size() == 1);
}

TEST_CASE("a session outlives the coming and going of other peers on other workers") {
    Workers net(2, 3);
    net.send_from_client(2);
    net.settle(2, 0);
    REQUIRE(net.nodes[0].out.received.size() == 1);
    // Two more in front of it, so that its number changes and its worker does not.
    const PeerSettings kept = net.settings.peers[2];
    net.settings.peers.erase(net.settings.peers.begin());
    net.settings.peers.erase(net.settings.peers.begin());
    net.configure();
    CHECK(net.nodes[0].device->peers() == std::vector<PeerId>{0});
    CHECK(net.nodes[1].device->peers().empty());
    net.send_from_client(2);
    net.settle(2, 1);
    CHECK(net.nodes[0].out.received.size() == 2);
    CHECK(net.nodes[0].device->handshakes_completed() == 1);
}

}  // namespace sluice::wireguard
