// Proves that workers agree: on who owns which peer, through every change, and on the port.
#include "dataplane/worker/tunnel_group.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <thread>

#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"

namespace sluice::worker {

namespace {

contract::PeerConfig make_peer(uint64_t seed) {
    SeededRandom random(seed);
    contract::PeerConfig peer;
    peer.name = std::to_string(seed);
    random.fill(peer.public_key);
    peer.allowed_ips = {IpPrefix::parse("10." + std::to_string(seed / 256) + "." +
                                        std::to_string(seed % 256) + ".0/24")
                            .value()};
    return peer;
}

class Snapshots {
  public:
    std::shared_ptr<const contract::Snapshot> next(const std::vector<uint64_t>& peers,
                                                   uint16_t port = 0) {
        auto snapshot = std::make_shared<contract::Snapshot>();
        snapshot->generation = ++generation_;
        snapshot->wireguard.emplace();
        snapshot->wireguard->listen_port = port;
        for (const uint64_t seed : peers)
            snapshot->wireguard->peers.push_back(make_peer(seed));
        return snapshot;
    }

  private:
    uint64_t generation_ = 0;
};

std::map<std::string, uint32_t> owners(const TunnelPlan& plan) {
    std::map<std::string, uint32_t> result;
    for (const contract::PeerConfig& peer : plan.config().peers) {
        const auto id = plan.directory->find(peer.public_key);
        REQUIRE(id);
        CHECK(plan.config().peers[*id].name == peer.name);
        CHECK(plan.directory->find(peer.allowed_ips[0].address.view()) == *id);
        result[peer.name] = plan.directory->worker_of(*id);
    }
    return result;
}

class Handler final : public io::DatagramHandler {
  public:
    void on_datagrams(MutableBytes, size_t, const Path&, uint8_t) override {}
    void on_datagrams_end() override {}
};

}  // namespace

TEST_CASE("peers are spread evenly, and stay with their worker whoever comes and goes") {
    constexpr uint32_t kWorkers = 4;
    TunnelGroup group(kWorkers);
    Snapshots snapshots;
    std::vector<uint64_t> peers;
    for (uint64_t i = 1; i <= 40; ++i)
        peers.push_back(i);
    auto before = owners(*group.plan_for(snapshots.next(peers)));
    SeededRandom random(3);
    for (int round = 0; round < 30; ++round) {
        for (int i = 0; i < 5; ++i)
            peers.erase(peers.begin() + static_cast<ptrdiff_t>(random.below(peers.size())));
        for (uint64_t i = 0; i < 5; ++i) {
            const uint64_t seed = 1000 + static_cast<uint64_t>(round) * 10 + i;
            peers.insert(peers.begin() + static_cast<ptrdiff_t>(random.below(peers.size())), seed);
        }
        const auto after = owners(*group.plan_for(snapshots.next(peers)));
        std::array<int, kWorkers> load{};
        for (const auto& [name, worker] : after) {
            ++load[worker];
            if (const auto known = before.find(name); known != before.end()) {
                CHECK(known->second == worker);
            }
        }
        CHECK(std::ranges::max(load) - std::ranges::min(load) <= 5);
        before = after;
    }
}

TEST_CASE("all workers get one plan and one port, whoever asks first") {
    constexpr uint32_t kWorkers = 4;
    TunnelGroup group(kWorkers);
    Snapshots snapshots;
    for (int round = 0; round < 20; ++round) {
        const auto snapshot = snapshots.next({1, 2, 3});
        std::array<std::shared_ptr<const TunnelPlan>, kWorkers> plans;
        std::array<uint16_t, kWorkers> ports{};
        std::vector<std::thread> threads;
        for (uint32_t worker = 0; worker < kWorkers; ++worker) {
            threads.emplace_back([&, worker] {
                SystemClock clock;
                DropCounters drops;
                Handler handler;
                auto engine = io::Engine::create(io::EngineKind::kEpoll, clock, drops);
                if (!engine) return;
                plans[worker] = group.plan_for(snapshot);
                auto socket = group.take_socket(*plans[worker], worker, {});
                if (!socket) return;
                const auto port = (*engine)->attach(std::move(*socket), {}, handler);
                if (port) ports[worker] = (*port)->local_port();
                group.join(worker, **engine);
                for (uint32_t other = 0; other < kWorkers; ++other)
                    group.wake(other);
                group.leave(worker);
            });
        }
        for (std::thread& thread : threads)
            thread.join();
        CHECK(ports[0] != 0);
        for (uint32_t worker = 1; worker < kWorkers; ++worker) {
            CHECK(plans[worker] == plans[0]);
            CHECK(ports[worker] == ports[0]);
        }
    }
}

TEST_CASE("a port that is taken is refused to all, and tried again when it is asked for again") {
    TunnelGroup group(2);
    Snapshots snapshots;
    SystemClock clock;
    DropCounters drops;
    Handler handler;
    auto engine = io::Engine::create(io::EngineKind::kEpoll, clock, drops);
    REQUIRE(engine);
    auto other = (*engine)->open_datagram_port({}, handler);
    REQUIRE(other);
    const uint16_t port = (*other)->local_port();
    const auto plan = group.plan_for(snapshots.next({1}, port));
    CHECK_FALSE(group.take_socket(*plan, 0, {.port = port}));
    CHECK_FALSE(group.take_socket(*plan, 1, {.port = port}));
    other->reset();
    CHECK(group.take_socket(*plan, 1, {.port = port}));
    CHECK(group.take_socket(*plan, 0, {.port = port}));
}

}  // namespace sluice::worker
