// The proxy as a whole: snapshots, limits, fairness, memory, and streams at their most awkward.
#include "dataplane/http/proxy.h"

#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::World;

const std::string kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";

TEST_CASE("a reload keeps connections; a request in progress ends as it began") {
    World world;
    world.apply(World::snapshot({8001}));
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\no");

    auto next = World::snapshot({8002});
    next->generation = 2;
    next->routes[0].hosts = {"site.test", "new.test"};
    world.apply(next);
    CHECK_FALSE(world.servers[0]->gone);
    world.send(world.servers[0], "k");
    CHECK(client->take() == kOk);
    CHECK(world.servers[0]->gone);  // its server is no longer there

    world.send(client, "GET / HTTP/1.1\r\nHost: new.test\r\n\r\n");
    CHECK(world.attempts.back() == 8002);
    world.send(world.servers.at(1), kOk);
    CHECK(client->take() == kOk);
    CHECK(world.report().routes.at(0).requests == 2);
    CHECK(world.report().servers.size() == 1);

    SECTION("waiting connections of servers that stay are kept") {
        auto same = World::snapshot({8001, 8002});
        same->backends[0].servers[1].weight = 7;
        world.apply(same);
        CHECK_FALSE(world.servers[1]->gone);
        CHECK(world.report().routes.at(0).requests == 2);
    }
    SECTION("waiting connections of servers that go are closed") {
        world.apply(World::snapshot({8003}));
        CHECK(world.servers[1]->gone);
    }
    SECTION("a route that is gone is gone on open connections too") {
        auto without = World::snapshot();
        without->routes.clear();
        world.apply(without);
        world.send(client, kGet);
        CHECK(client->take().starts_with("HTTP/1.1 404 "));
    }
}

TEST_CASE("a request in progress does not keep its server's other connections") {
    World world;
    world.apply(World::snapshot({8001}));
    const auto first = world.client();
    const auto second = world.client();
    const auto third = world.client();
    for (const auto& client : {first, second, third})
        world.send(client, kGet);
    REQUIRE(world.servers.size() == 3);
    world.send(world.servers[0], kOk);
    world.apply(World::snapshot({8002}));
    CHECK(world.servers[0]->gone);  // it waited
    world.send(world.servers[1], kOk);
    CHECK(second->received == kOk);
    CHECK(world.servers[1]->gone);  // it does not wait for anybody any more
    CHECK_FALSE(world.servers[2]->gone);
    world.send(world.servers[2], kOk);
    CHECK(third->received == kOk);
}

TEST_CASE("many reloads under a download") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\n\r\n");
    for (int i = 0; i < 100; ++i) {
        auto next = World::snapshot(i % 2 == 0 ? std::vector<uint16_t>{8002}
                                               : std::vector<uint16_t>{8001, 8002});
        world.apply(next);
        world.send(world.servers[0], "0123456789");
    }
    CHECK(client->received.size() ==
          std::string("HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\n\r\n").size() + 1000);
}

TEST_CASE("before the first snapshot, beyond the limit and after drain nobody gets in") {
    World world;
    CHECK(world.client()->gone);
    CHECK(world.drops.value(DropReason::kConnectionLimit) == 1);
    auto snapshot = World::snapshot();
    snapshot->limits.connections_max = 2;
    world.apply(snapshot);
    const auto first = world.client();
    const auto second = world.client();
    CHECK(world.client()->gone);
    CHECK_FALSE(second->gone);
    CHECK(world.proxy.connections_open() == 2);
    first->reset();
    world.run();
    CHECK_FALSE(world.client()->gone);
}

TEST_CASE("drain lets requests end and idle connections go") {
    World world;
    world.apply(World::snapshot());
    const auto idle = world.client();
    const auto waiting = world.client();
    const auto reading = world.client();
    world.send(idle, kGet);
    world.send(world.servers.at(0), kOk);
    world.send(waiting, kGet);
    world.send(reading, kGet);
    world.send(world.servers.at(1), "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\no");
    world.proxy.drain(world.now);
    world.run();
    CHECK(idle->end_received);
    CHECK_FALSE(waiting->end_received);
    CHECK(world.client()->gone);
    for (const auto& server : world.servers)
        server->send(server == world.servers[1] ? "k" : kOk);
    world.run();
    CHECK(waiting->received.find("Connection: close\r\n") != std::string::npos);
    CHECK(waiting->end_received);
    CHECK(reading->received == kOk);  // its head had gone out before
    CHECK(reading->end_received);
    for (const auto& server : world.servers)
        CHECK(server->gone);
    for (const auto& client : {idle, waiting, reading})
        client->end();
    world.run();
    CHECK(world.proxy.connections_open() == 0);
}

TEST_CASE("back-pressure: no more is read than the other side takes") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();

    SECTION("downwards") {
        world.send(client, kGet);
        client->allow(1000);
        const std::string body(10'000'000, 'x');
        world.send(world.servers.at(0),
                   "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 10000000\r\n\r\n");
        world.send(world.servers[0], body);
        CHECK(client->received.size() == 1000);
        CHECK(body.size() - world.servers[0]->to_stream.size() <= 64 * 1024);
        client->allow(SIZE_MAX);
        world.run();
        CHECK(client->received.ends_with(body));
        CHECK(client->received.size() < body.size() + 200);
    }
    SECTION("upwards") {
        const std::string body(10'000'000, 'y');
        world.send(client,
                   "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10000000\r\n\r\n");
        world.servers.at(0)->allow(1000);
        world.send(client, body);
        CHECK(body.size() - client->to_stream.size() <= 64 * 1024);
        world.servers[0]->allow(SIZE_MAX);
        world.run();
        CHECK(world.servers[0]->received.ends_with(body));
    }
    SECTION("requests that come too early wait where they are") {
        std::string requests;
        for (int i = 0; i < 10000; ++i)
            requests += kGet;
        world.send(client, requests);
        CHECK(requests.size() - client->to_stream.size() <= 32 * 1024);
    }
}

TEST_CASE("a busy connection takes turns with the others") {
    World world;
    world.apply(World::snapshot());
    const auto busy = world.client();
    world.send(busy, kGet);
    world.servers.at(0)->to_stream =
        "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + std::string(10'000'000, 'x');
    world.servers[0]->send("");
    world.events.run_one();
    CHECK(busy->received.size() < 300'000);
    CHECK(busy->received.size() > 100'000);
    // Others go on between its turns, and its turns come without events.
    CHECK(world.events.empty());
    size_t turns = 1;
    for (size_t before = 0; world.proxy.run_pending(); ++turns) {
        CHECK(busy->received.size() - before < 600'000);
        before = busy->received.size();
    }
    CHECK(turns > 20);
    CHECK(busy->received.size() > 10'000'000);

    SECTION("many small requests are work too") {
        auto snapshot = World::snapshot();
        snapshot->routes.clear();
        world.apply(snapshot);
        const auto flood = world.client();
        for (int i = 0; i < 400; ++i)
            flood->to_stream += kGet;
        flood->send("");
        world.events.run_one();
        CHECK(flood->received.size() < 200 * 200);
        world.run();
        CHECK(flood->received.size() > 400 * 150);
    }
}

// A conversation with bodies in both directions, over streams that move as little as they like.
TEST_CASE("whatever the streams do, the bytes are the same") {
    SeededRandom random(7);
    for (int round = 0; round < 200; ++round) {
        World world;
        SeededRandom whims(static_cast<uint64_t>(round) + 1);
        const auto draw = [&] {
            return testing::StreamManner{.read_max = 1 + random.below(round % 2 == 0 ? 40 : 40000),
                                         .write_max = 1 + random.below(round % 3 == 0 ? 40 : 40000),
                                         .holds_back = random.below(2) == 0,
                                         .whims = random.below(3) == 0 ? nullptr : &whims};
        };
        world.client_manner = draw();
        world.server_manner = draw();
        world.apply(World::snapshot());
        const auto client = world.client();

        std::string up(random.below(60000), 'u');
        for (char& c : up)
            c = static_cast<char>('a' + random.below(26));
        std::string down(random.below(60000), 'd');
        for (char& c : down)
            c = static_cast<char>('A' + random.below(26));
        const auto framed = [&](const std::string& body, bool chunked) {
            if (!chunked)
                return "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
            std::string text = "Transfer-Encoding: chunked\r\n\r\n";
            for (size_t at = 0; at < body.size();) {
                const size_t size = std::min<size_t>(1 + random.below(3000), body.size() - at);
                char prefix[16];
                std::snprintf(prefix, sizeof prefix, "%zx\r\n", size);
                text += prefix + body.substr(at, size) + "\r\n";
                at += size;
            }
            return text + "0\r\n\r\n";
        };
        const bool chunked_up = random.below(2) == 0;
        const bool chunked_down = random.below(2) == 0;
        const std::string request =
            "POST /x HTTP/1.1\r\nHost: site.test\r\n" + framed(up, chunked_up) + kGet;
        const std::string response = "HTTP/1.1 200 OK\r\n" + framed(down, chunked_down);

        size_t sent = 0;
        size_t answered = 0;
        std::string answers = response + kOk;
        while (sent < request.size() || answered < answers.size()) {
            const size_t piece = std::min<size_t>(1 + random.below(9000), request.size() - sent);
            client->send(request.substr(sent, piece));
            sent += piece;
            world.run();
            if (world.servers.empty()) continue;
            REQUIRE(world.servers.size() == 1);
            // Only answers to what was asked.
            const bool second = world.servers[0]->received.find("GET / ") != std::string::npos;
            const bool first = sent == request.size();
            const size_t until = second ? answers.size() : first ? response.size() : 0;
            const size_t back = std::min<size_t>(1 + random.below(9000), until - answered);
            if (answered < until) {
                world.servers[0]->send(answers.substr(answered, back));
                answered += back;
            }
            world.run();
        }
        // Taken out of the framing again by a simple, independent reader.
        const auto body_behind = [](const std::string& text, size_t from, bool chunked) {
            size_t at = text.find("\r\n\r\n", from) + 4;
            std::string body;
            if (!chunked) {
                const size_t length = text.find("Content-Length: ", from) + 16;
                return text.substr(at, std::stoul(text.substr(length)));
            }
            for (;;) {
                const size_t size = std::stoul(text.substr(at), nullptr, 16);
                at = text.find("\r\n", at) + 2;
                if (size == 0) return body;
                body += text.substr(at, size);
                at += size + 2;
            }
        };
        CHECK(body_behind(world.servers[0]->received, 0, chunked_up) == up);
        CHECK(body_behind(client->received, 0, chunked_down) == down);
        CHECK(client->received.ends_with(kOk));
        CHECK_FALSE(client->end_received);
    }
}

TEST_CASE("a TLS handshake that does not end is not waited for as an idle connection is") {
    // The stream says that its handshake is not done.
    class Shy final : public ByteStream {
      public:
        explicit Shy(bool& gone) : gone_(gone) {}
        ~Shy() override { gone_ = true; }
        void set_handler(StreamHandler*) override {}
        IoResult read(MutableBytes) override { return {}; }
        IoResult write(std::span<const Bytes>) override { return {}; }
        bool flush() override { return true; }
        void shutdown_write() override {}
        const TlsFacts* tls_facts() const override { return &facts; }
        TlsFacts facts;

      private:
        bool& gone_;
    };
    World world;
    world.apply(World::snapshot());
    bool gone = false;
    auto stream = std::make_unique<Shy>(gone);
    Shy* const shy = stream.get();
    world.proxy.accept(std::move(stream), World::elsewhere(), world.now);
    SECTION("it is cut off") {
        world.pass(std::chrono::seconds(11));
        CHECK(gone);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("one that ends in time may idle") {
        shy->facts.done = true;
        world.pass(std::chrono::seconds(60));
        CHECK_FALSE(gone);
    }
}

}  // namespace
}  // namespace sluice::http
