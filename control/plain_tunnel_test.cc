// A plain interface with workers that are told how to behave: who is served when, and that nothing
// that was counted or learned is lost on the way.
#include "control/plain_tunnel.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "control/fake_worker.h"

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

contract::Key key_of(uint8_t fill) {
    contract::Key key{};
    key.fill(fill);
    return key;
}

contract::PeerConfig peer_of(uint8_t fill) {
    contract::PeerConfig peer;
    peer.name = std::string(1, static_cast<char>('a' + fill));
    peer.public_key = key_of(fill);
    return peer;
}

contract::PeerReport report_of(uint8_t fill, uint64_t bytes, const char* endpoint) {
    contract::PeerReport report;
    report.public_key = key_of(fill);
    report.sent_bytes = bytes;
    report.received_bytes = bytes + 1;
    report.last_handshake = WallTime(std::chrono::seconds(bytes));
    report.endpoint = *Endpoint::parse(endpoint);
    return report;
}

class World {
  public:
    explicit World(LinkState link = {.is_up = true, .mtu = 1420}) {
        loop = std::move(*ControlLoop::create(clock));
        NodeOptions options;
        options.answer_timeout = 5s;
        node = std::make_unique<Node>(*loop, random, options);
        tunnel = std::make_unique<PlainTunnel>(*node, "wg0", link);
        worker = std::make_unique<FakeWorker>(*loop, 0);
        std::optional<LoadOutcome> outcome;
        node->start({&worker->mailbox}, [&](const LoadOutcome& got) { outcome = got; });
        await([&] { return outcome.has_value(); });
        REQUIRE(outcome->worker_errors.empty());
    }

    template <typename Condition>
    void await(Condition condition) {
        const Instant limit = clock.now().mono + 20s;
        while (!condition()) {
            loop->turn(100ms);
            REQUIRE(clock.now().mono < limit);
        }
    }

    int apply(contract::WireguardConfig config) {
        std::optional<int> error;
        tunnel->apply(std::move(config), [&](int got) { error = got; });
        await([&] { return error.has_value(); });
        return *error;
    }
    int apply(std::vector<contract::PeerConfig> peers, bool with_key = true) {
        contract::WireguardConfig config = tunnel->config();
        config.private_key = Secret<32>(with_key ? key_of(77) : key_of(0));
        config.peers = std::move(peers);
        return apply(std::move(config));
    }
    void set_link(LinkState link) {
        const size_t before = worker->applied.size();
        tunnel->set_link(link);
        await([&] { return worker->applied.size() > before; });
    }
    std::map<contract::Key, contract::PeerReport> report() {
        std::optional<std::vector<contract::PeerReport>> got;
        tunnel->report([&](uint16_t, std::vector<contract::PeerReport> peers) { got = peers; });
        await([&] { return got.has_value(); });
        std::map<contract::Key, contract::PeerReport> by_key;
        for (const contract::PeerReport& peer : *got)
            CHECK(by_key.emplace(peer.public_key, peer).second);
        return by_key;
    }
    const contract::WireguardConfig& served() const { return *worker->applied.back()->wireguard; }

    SystemClock clock;
    SeededRandom random{5};
    std::unique_ptr<ControlLoop> loop;
    std::unique_ptr<FakeWorker> worker;  // outlives the node
    std::unique_ptr<Node> node;
    std::unique_ptr<PlainTunnel> tunnel;
};

}  // namespace

TEST_CASE("a plain interface begins with nothing, and serves no one without a key") {
    World world;
    REQUIRE(world.served().interface == "wg0");
    CHECK(world.served().peers.empty());
    CHECK(world.served().private_key.is_zero());
    CHECK(world.served().addresses.empty());
    CHECK(world.worker->applied.back()->listeners.empty());

    CHECK(world.apply({peer_of(1)}, false) == 0);
    CHECK(world.tunnel->config().peers.size() == 1);
    CHECK(world.served().peers.empty());
    CHECK(world.apply({peer_of(1)}) == 0);
    CHECK(world.served().peers.size() == 1);
    CHECK(world.apply({peer_of(1)}, false) == 0);
    CHECK(world.served().peers.empty());
}

TEST_CASE("a plain interface is served while it is up, with the MTU that it has") {
    World world({.is_up = false, .mtu = 1420});
    CHECK(world.apply({peer_of(1), peer_of(2)}) == 0);
    CHECK(world.served().peers.empty());
    world.set_link({.is_up = true, .mtu = 1400});
    CHECK(world.served().peers.size() == 2);
    CHECK(world.served().mtu == 1400);
    world.set_link({.is_up = true, .mtu = 1280});
    CHECK(world.served().mtu == 1280);
    world.set_link({.is_up = false, .mtu = 1280});
    CHECK(world.served().peers.empty());
    CHECK(world.tunnel->config().peers.size() == 2);
    // The same again is no change.
    const size_t before = world.worker->applied.size();
    world.tunnel->set_link({.is_up = false, .mtu = 1280});
    world.report();
    CHECK(world.worker->applied.size() == before);
}

TEST_CASE("counters and endpoints outlive the time when the link is down") {
    World world;
    contract::PeerConfig known = peer_of(2);
    known.endpoint = Endpoint::parse("192.0.2.2:2");
    CHECK(world.apply({peer_of(1), known, peer_of(3)}) == 0);
    world.worker->report.peers = {report_of(1, 100, "192.0.2.1:1000"),
                                  report_of(2, 200, "192.0.2.9:2000")};
    for (const uint64_t times : {1, 2}) {
        world.set_link({.is_up = false, .mtu = 1420});
        world.worker->report.peers.clear();
        auto peers = world.report();
        CHECK(peers[key_of(1)].sent_bytes == 100 * times);
        CHECK(peers[key_of(2)].received_bytes == 201 * times);
        CHECK(peers[key_of(2)].last_handshake == WallTime(std::chrono::seconds(200)));
        CHECK(world.tunnel->config().peers[0].endpoint == Endpoint::parse("192.0.2.1:1000"));
        world.set_link({.is_up = true, .mtu = 1420});
        CHECK(world.served().peers[1].endpoint == Endpoint::parse("192.0.2.9:2000"));
        CHECK_FALSE(world.served().peers[2].endpoint);
        world.worker->report.peers = {report_of(1, 100, "192.0.2.1:1000"),
                                      report_of(2, 200, "192.0.2.9:2000")};
        CHECK(world.report()[key_of(1)].sent_bytes == 100 * (times + 1));
    }
    // A peer that was removed and comes again is a new one.
    CHECK(world.apply({peer_of(2)}) == 0);
    CHECK(world.apply({peer_of(1), peer_of(2)}) == 0);
    CHECK(world.report()[key_of(1)].sent_bytes == 100);
}

TEST_CASE("an endpoint that comes with the end of the key is the one that counts") {
    World world;
    CHECK(world.apply({peer_of(1), peer_of(2)}) == 0);
    world.worker->report.peers = {report_of(1, 1, "192.0.2.1:1"), report_of(2, 1, "192.0.2.2:2")};
    contract::PeerConfig told = peer_of(1);
    told.endpoint = Endpoint::parse("198.51.100.1:7");
    CHECK(world.apply({told, peer_of(2)}, false) == 0);
    CHECK(world.tunnel->config().peers[0].endpoint == Endpoint::parse("198.51.100.1:7"));
    CHECK(world.tunnel->config().peers[1].endpoint == Endpoint::parse("192.0.2.2:2"));
}

TEST_CASE("what a worker refuses changes nothing, and the link is followed all the same") {
    World world;
    CHECK(world.apply({peer_of(1)}) == 0);
    world.worker->apply_error = "the port is in use";
    contract::WireguardConfig other = world.tunnel->config();
    other.listen_port = 1;
    CHECK(world.apply(other) == EADDRINUSE);
    CHECK(world.tunnel->config().listen_port == 0);
    CHECK(world.served().listen_port == 0);
    world.worker->apply_error.clear();
    world.set_link({.is_up = false, .mtu = 1420});
    CHECK(world.served().peers.empty());
}

TEST_CASE("a link that changes during a request is followed after it") {
    World world;
    std::optional<int> error;
    contract::WireguardConfig config = world.tunnel->config();
    config.private_key = Secret<32>(key_of(77));
    config.peers = {peer_of(1)};
    world.tunnel->apply(config, [&](int got) { error = got; });
    world.tunnel->set_link({.is_up = false, .mtu = 1420});
    world.tunnel->set_link({.is_up = true, .mtu = 1300});
    world.await([&] { return error.has_value() && world.served().mtu == 1300; });
    CHECK(*error == 0);
    CHECK(world.served().peers.size() == 1);
}

TEST_CASE("a node without a file has nothing to reload") {
    World world;
    std::optional<LoadOutcome> outcome;
    world.node->reload([&](const LoadOutcome& got) { outcome = got; });
    world.await([&] { return outcome.has_value(); });
    CHECK_FALSE(outcome->ok);
    REQUIRE(outcome->errors.size() == 1);
    CHECK(outcome->errors.front() == "there is no configuration file to read again");
}

}  // namespace sluice::control
