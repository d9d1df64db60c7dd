// Load balancers that introduce their clients, and those that do not, over streams in memory.
#include "dataplane/worker/introductions.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "dataplane/http/testing/memory_stream.h"

namespace sluice::worker {
namespace {

using namespace std::chrono_literals;
using http::testing::EventQueue;
using http::testing::FarEnd;
using http::testing::MemoryStream;
using http::testing::StreamManner;

const std::string kHeader = "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n";

class World final : public Introductions::Host {
  public:
    void on_introduced(std::unique_ptr<ByteStream> stream, http::ClientFacts facts,
                       bool for_client) override {
        ++introduced;
        last = std::move(stream);
        last_facts = facts;
        last_for_client = for_client;
    }

    std::shared_ptr<FarEnd> connect(StreamManner manner = {}) {
        auto far = std::make_shared<FarEnd>();
        auto stream = std::make_unique<MemoryStream>(events, far, manner);
        http::ClientFacts facts;
        facts.remote = *Endpoint::parse("192.0.2.50:1234");
        facts.local = *Endpoint::parse("192.0.2.1:3443");
        facts.through_tunnel = true;  // as no caller says; it must not stay so
        introductions.begin(std::move(stream), facts, start + 10s);
        return far;
    }
    void run() {
        while (!events.empty())
            events.run_one();
    }
    uint64_t dropped(DropReason reason) const { return drops.value(reason); }
    uint64_t dropped() const {
        uint64_t all = 0;
        for (size_t i = 0; i < kDropReasonCount; ++i)
            all += drops.value(static_cast<DropReason>(i));
        return all;
    }
    // What is left for whoever comes next.
    std::string rest() {
        std::string bytes(4096, '\0');
        const IoResult got = last->read({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
        return bytes.substr(0, got.bytes);
    }

    const Instant start{};
    EventQueue events;
    DropCounters drops;
    TimerWheel timers{start};
    Introductions introductions{timers, drops, *this};
    std::unique_ptr<ByteStream> last;
    http::ClientFacts last_facts;
    bool last_for_client = false;
    int introduced = 0;
};

TEST_CASE("an introduced connection is its client's, and what follows the header is untouched") {
    for (const size_t piece : {1, 2, 7, 1000}) {
        World world;
        const auto far = world.connect({.read_max = piece == 1000 ? SIZE_MAX : piece});
        const std::string sent = kHeader + "\x16\x03\x01";
        for (size_t at = 0; at < sent.size(); at += piece) {
            far->send(std::string_view(sent).substr(at, piece));
            world.run();
        }
        REQUIRE(world.introduced == 1);
        CHECK(world.introductions.waiting() == 0);
        CHECK(world.last_for_client);
        CHECK(world.last_facts.remote.text() == "203.0.113.7:40000");
        CHECK(world.last_facts.local.text() == "192.0.2.1:443");
        CHECK_FALSE(world.last_facts.through_tunnel);
        std::string rest;
        for (std::string some = world.rest(); !some.empty(); some = world.rest())
            rest += some;
        CHECK(rest == "\x16\x03\x01");
        CHECK(world.dropped() == 0);
        world.timers.advance({world.start + 1h, {}});
        CHECK_FALSE(far->gone);
    }
}

TEST_CASE("a load balancer that speaks for itself keeps its address, and is no peer") {
    World world;
    const auto far = world.connect();
    far->send("PROXY UNKNOWN\r\n");
    world.run();
    REQUIRE(world.introduced == 1);
    CHECK_FALSE(world.last_for_client);
    CHECK(world.last_facts.remote.text() == "192.0.2.50:1234");
    CHECK(world.last_facts.local.text() == "192.0.2.1:3443");
    CHECK_FALSE(world.last_facts.through_tunnel);
}

TEST_CASE("what is no introduction is closed and counted") {
    struct Sent {
        std::string bytes;
        bool ends;
        std::optional<DropReason> reason;
    };
    for (const Sent& sent : {
             Sent{"GET / HTTP/1.1\r\n\r\n", false, DropReason::kProxyHeaderMissing},
             Sent{"X", false, DropReason::kProxyHeaderMissing},
             Sent{"PROXY TCP4 x\r\n  ", false, DropReason::kProxyHeaderMalformed},
             Sent{kHeader.substr(0, 20), true, DropReason::kProxyHeaderMalformed},
             Sent{"", true, {}},  // a look whether we are there
         }) {
        INFO(sent.bytes);
        World world;
        const auto far = world.connect();
        far->send(sent.bytes);
        if (sent.ends) far->end();
        world.run();
        CHECK(far->gone);
        CHECK(far->received.empty());
        CHECK(world.introduced == 0);
        CHECK(world.introductions.waiting() == 0);
        CHECK(world.dropped() == (sent.reason ? 1 : 0));
        if (sent.reason) CHECK(world.dropped(*sent.reason) == 1);
    }
}

TEST_CASE("a header is awaited until its deadline, and not beyond") {
    World world;
    const auto silent = world.connect();
    const auto slow = world.connect();
    slow->send(kHeader.substr(0, 30));
    world.run();
    world.timers.advance({world.start + 9s, {}});
    CHECK(world.introductions.waiting() == 2);
    world.timers.advance({world.start + 11s, {}});
    CHECK(silent->gone);
    CHECK(slow->gone);
    CHECK(world.introductions.waiting() == 0);
    CHECK(world.dropped(DropReason::kClientTimeout) == 2);
}

TEST_CASE("closing them all leaves nothing behind") {
    World world;
    const auto one = world.connect();
    const auto two = world.connect();
    world.introductions.close_all();
    CHECK(one->gone);
    CHECK(two->gone);
    CHECK(world.timers.size() == 0);
    CHECK(world.dropped() == 0);
}

}  // namespace
}  // namespace sluice::worker
