// What happens when servers or clients break, stall or lie.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::Reachable;
using testing::World;
using namespace std::string_literals;

const std::string kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";
const std::string kPost = "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\n";

uint64_t failures(const World& world, size_t server = 0) {
    return world.report().servers.at(server).failures;
}

TEST_CASE("a server's malformed answer becomes 502, and its connection is not used again") {
    for (const std::string& answer : {
             "garbage\r\n\r\n"s,
             "HTTP/1.1 200 OK\nContent-Length: 0\n\n"s,
             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"s,
             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"s,
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"s,
             "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"s,
             "HTTP/1.1 200 OK\r\nA : b\r\n\r\n"s,
             "HTTP/1.1 200 OK\r\nA: "s + std::string(70000, 'a') + "\r\n\r\n",
         }) {
        INFO(answer.substr(0, 80));
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, kGet);
        world.send(world.servers.at(0), answer);
        const std::string got = client->take();
        CHECK(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
        CHECK(got.ends_with("502 Bad Gateway: the server's answer is not valid HTTP.\n"));
        CHECK(world.servers[0]->gone);
        CHECK(failures(world) == 1);
        world.send(client, kGet);  // the client's connection is sound
        CHECK(world.servers.size() == 2);
    }
}

TEST_CASE("bytes behind a response, or before a request, spoil the connection") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0), kOk + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    CHECK(client->take() == kOk);
    CHECK(world.servers[0]->gone);

    world.send(client, kGet);
    world.send(world.servers.at(1), kOk);
    CHECK(client->take() == kOk);
    CHECK_FALSE(world.servers[1]->gone);
    world.send(world.servers[1], "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    CHECK(world.servers[1]->gone);

    // Said before it was asked.
    world.reachable[8001] = Reachable::kSilent;
    world.send(client, kGet);
    world.servers.at(2)->send(kOk);
    world.servers[2]->received_max = 0;
    world.servers[2]->connect();
    world.run();
    CHECK(client->take().starts_with("HTTP/1.1 502 "));
}

TEST_CASE("a body that breaks off breaks the client's connection, without a false end") {
    struct Case {
        const char* response;
        bool orderly;
    };
    for (const Case& tried : std::vector<Case>{
             {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", true},
             {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", false},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", false},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", true},
             {"HTTP/1.1 200 OK\r\n\r\nhello", false},
         }) {
        INFO(tried.response);
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, kGet);
        world.send(world.servers.at(0), tried.response);
        if (tried.orderly) {
            world.servers[0]->end();
        } else {
            world.servers[0]->reset();
        }
        world.run();
        CHECK(client->gone);
        CHECK_FALSE(client->end_received);
        CHECK(client->received.find("0\r\n\r\n") == std::string::npos);
        CHECK(failures(world) == 1);
        CHECK(world.servers[0]->gone);
    }
}

TEST_CASE("a client that goes takes its request with it") {
    World world;
    world.apply(World::snapshot());
    const auto go = [](auto& client, bool orderly) {
        if (orderly) {
            client->end();
        } else {
            client->reset();
        }
    };
    for (const bool orderly : {true, false}) {
        const auto waiting = world.client();
        world.send(waiting, kGet);
        const auto server = world.servers.back();
        CHECK_FALSE(server->gone);
        go(waiting, orderly);
        world.run();
        CHECK(server->gone);
        CHECK(waiting->gone);

        const auto uploading = world.client();
        world.send(uploading, kPost + "he");
        const auto half = world.servers.back();
        go(uploading, orderly);
        world.run();
        CHECK(half->gone);

        const auto reading = world.client();
        world.send(reading, kGet);
        const auto talking = world.servers.back();
        world.send(talking, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        go(reading, orderly);
        world.run();
        CHECK(talking->gone);
    }
    // Even while the server has not taken the connection yet.
    world.apply(World::snapshot({8009}));
    world.reachable[8009] = Reachable::kSilent;
    const auto hasty = world.client();
    world.send(hasty, kGet);
    const auto silent = world.servers.back();
    hasty->end();
    world.run();
    CHECK(silent->gone);
    CHECK(world.proxy.connections_open() == 0);
}

TEST_CASE("a stale connection is replaced once, where that cannot do a thing twice") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    const auto stale = world.servers.at(0);
    world.send(stale, kOk);
    client->take();

    SECTION("an idempotent request") {
        world.send(client, kGet);
        CHECK(stale->take().find("GET", 1) != std::string::npos);  // it was sent there
        stale->end();
        world.run();
        REQUIRE(world.servers.size() == 2);
        CHECK(world.servers[1]->take().starts_with("GET / "));
        SECTION("once") {
            world.servers[1]->end();
            world.run();
            CHECK(world.servers.size() == 2);
            CHECK(client->take().starts_with("HTTP/1.1 502 "));
        }
        SECTION("and it is answered") {
            world.send(world.servers[1], kOk);
            CHECK(client->take() == kOk);
        }
    }
    SECTION("not a POST that was sent") {
        world.send(client, kPost + "hello");
        stale->end();
        world.run();
        CHECK(world.servers.size() == 1);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
    SECTION("not even one without a body") {
        world.send(client, "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        CHECK(stale->take().find("POST / ") != std::string::npos);
        stale->end();
        world.run();
        CHECK(world.servers.size() == 1);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
    SECTION("a POST of which nothing was sent") {
        stale->received_max = stale->received.size();
        world.send(client, kPost + "hello");
        CHECK_FALSE(stale->gone);
        stale->reset();
        world.run();
        REQUIRE(world.servers.size() == 2);
        const std::string request = world.servers[1]->take();
        CHECK(request.starts_with("POST / "));
        CHECK(request.ends_with("\r\n\r\nhello"));
    }
    SECTION("a PUT whose body has begun to flow and is still in the buffer") {
        world.send(client, "PUT / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhe");
        stale->end();
        world.run();
        REQUIRE(world.servers.size() == 2);
        world.send(client, "llo");
        CHECK(world.servers[1]->take().ends_with("\r\n\r\nhello"));
    }
    SECTION("not a PUT whose body has left the buffer") {
        world.send(client, "PUT / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 50000\r\n\r\n" +
                               std::string(40000, 'h'));
        stale->end();
        world.run();
        CHECK(world.servers.size() == 1);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
    SECTION("when it says 408 as a farewell") {
        world.send(client, kGet);
        world.send(stale, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
        REQUIRE(world.servers.size() == 2);
        world.send(world.servers[1], kOk);
        CHECK(client->take() == kOk);
        CHECK(stale->gone);
    }
    SECTION("not when the answer has begun") {
        world.send(client, kGet);
        world.send(stale, "HTTP/1.1 2");
        stale->end();
        world.run();
        CHECK(world.servers.size() == 1);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
    SECTION("a server that has just hung up is seen by a POST before it is sent") {
        stale->ended = true;  // and the event is still under way
        world.send(client, kPost + "hello");
        REQUIRE(world.servers.size() == 2);
        CHECK(world.servers[1]->take().starts_with("POST / "));
    }
    SECTION("a fresh connection is no excuse") {
        stale->end();
        world.run();
        world.send(client, kGet);
        REQUIRE(world.servers.size() == 2);
        world.servers[1]->end();
        world.run();
        CHECK(world.servers.size() == 2);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
}

TEST_CASE("another server is tried when one cannot be reached") {
    for (const Reachable how : {Reachable::kNotAtOnce, Reachable::kRefused, Reachable::kSilent}) {
        World world;
        auto snapshot = World::snapshot({8001, 8002, 8003, 8004});
        world.apply(snapshot);
        for (const uint16_t port : {8001, 8002})
            world.reachable[port] = how;
        // Whoever's turn it is, a POST too.
        for (int i = 0; i < 4; ++i) {
            const auto client = world.client();
            world.send(client, kPost + "hello");
            for (int wait = 0; wait < 3; ++wait)
                world.pass(std::chrono::seconds(5));
            REQUIRE_FALSE(world.servers.empty());
            const auto server = world.asked();
            CHECK(server->take().ends_with("hello"));
            world.send(server, kOk);
            CHECK(client->take() == kOk);
        }
    }
}

TEST_CASE("a server that failed is left alone for a moment") {
    World world;
    world.apply(World::snapshot({8001, 8002}));
    world.reachable[8001] = Reachable::kRefused;
    const auto ask = [&] {
        const auto client = world.client();
        world.attempts.clear();
        world.send(client, kGet);
        const auto server = world.asked();
        server->take();
        world.send(server, kOk);
        CHECK(client->take() == kOk);
        return world.attempts;
    };
    for (int i = 0; i < 2; ++i)
        ask();
    for (int i = 0; i < 6; ++i)
        CHECK(std::ranges::count(ask(), 8001) == 0);
    world.pass(std::chrono::seconds(3));
    size_t tries = 0;
    for (int i = 0; i < 4; ++i)
        tries += static_cast<size_t>(std::ranges::count(ask(), 8001));
    CHECK(tries == 1);
}

TEST_CASE("no server at all: 502, 504 or 503") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].connect_timeout = std::chrono::seconds(5);
    world.apply(snapshot);
    const auto client = world.client();

    world.reachable = {{8001, Reachable::kRefused}, {8002, Reachable::kNotAtOnce}};
    world.send(client, kGet);
    CHECK(client->take().ends_with("502 Bad Gateway: no server could be reached.\n"));

    world.reachable = {{8001, Reachable::kSilent}, {8002, Reachable::kSilent}};
    world.send(client, kGet);
    world.pass(std::chrono::seconds(4));
    CHECK(client->take().empty());
    world.pass(std::chrono::seconds(2));
    CHECK(client->take().empty());  // the other one
    world.pass(std::chrono::seconds(6));
    CHECK(client->take().starts_with("HTTP/1.1 504 Gateway Timeout\r\n"));
    CHECK_FALSE(client->end_received);

    auto weightless = World::snapshot({8001});
    weightless->backends[0].servers[0].weight = 0;
    world.apply(weightless);
    world.send(client, kGet);
    CHECK(client->take().starts_with("HTTP/1.1 503 "));
}

TEST_CASE("time-outs ask for progress, not for speed") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->backends[0].response_timeout = std::chrono::seconds(60);
    world.apply(snapshot);
    const auto client = world.client();

    SECTION("a head that does not arrive: 408") {
        world.send(client, "GET / HT");
        for (int i = 0; i < 9; ++i) {
            world.pass(std::chrono::seconds(1));
            world.send(client, "x");  // slow progress does not help
        }
        CHECK(client->take().empty());
        world.pass(std::chrono::seconds(2));
        CHECK(client->take().starts_with("HTTP/1.1 408 "));
        CHECK(client->end_received);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("an idle connection ends in an orderly way, without an answer") {
        world.send(client, kGet);
        world.send(world.servers.at(0), kOk);
        client->take();
        world.pass(std::chrono::seconds(74));
        CHECK_FALSE(client->end_received);
        world.pass(std::chrono::seconds(2));
        CHECK(client->end_received);
        CHECK(client->take().empty());
        world.pass(std::chrono::seconds(3));
        CHECK(client->gone);
    }
    SECTION("a body that stalls: 408") {
        world.send(client, kPost + "he");
        world.pass(std::chrono::seconds(29));
        world.send(client, "l");
        world.pass(std::chrono::seconds(29));
        CHECK(client->take().empty());
        world.pass(std::chrono::seconds(2));
        CHECK(client->take().starts_with("HTTP/1.1 408 "));
        CHECK(client->end_received);
        CHECK(world.servers.at(0)->gone);
        CHECK(failures(world) == 0);
    }
    SECTION("a server that does not take the body: 504") {
        world.client_manner = {};
        world.reachable[8001] = Reachable::kYes;
        world.send(client,
                   "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100000\r\n\r\nhe");
        world.servers.at(0)->allow(world.servers[0]->received.size() + 1);
        world.send(client, "llo");
        world.pass(std::chrono::seconds(31));
        CHECK(client->take().starts_with("HTTP/1.1 504 "));
        CHECK(failures(world) == 1);
    }
    SECTION("a server that does not answer: 504") {
        world.send(client, kGet);
        world.pass(std::chrono::seconds(59));
        CHECK(client->take().empty());
        world.pass(std::chrono::seconds(2));
        CHECK(client->take().starts_with("HTTP/1.1 504 "));
        CHECK(world.servers.at(0)->gone);
        CHECK(failures(world) == 1);
    }
    SECTION("a server whose head never ends: 504") {
        world.send(client, kGet);
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 61; ++i) {
            world.pass(std::chrono::seconds(1));
            world.send(world.servers[0], "A: b\r\n");
        }
        CHECK(client->take().starts_with("HTTP/1.1 504 "));
    }
    SECTION("a server that stops in the middle: the end") {
        world.send(client, kGet);
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        world.pass(std::chrono::seconds(59));
        CHECK_FALSE(client->gone);
        world.pass(std::chrono::seconds(2));
        CHECK(client->gone);
        CHECK_FALSE(client->end_received);
    }
    SECTION("a client that does not read: the end") {
        world.send(client, kGet);
        client->allow(10);
        world.send(world.servers.at(0), kOk);
        world.pass(std::chrono::seconds(29));
        client->allow(11);
        world.run();
        world.pass(std::chrono::seconds(29));
        CHECK_FALSE(client->gone);
        world.pass(std::chrono::seconds(2));
        CHECK(client->gone);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("a slow but steady download goes on") {
        world.send(client, kGet);
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        for (int i = 0; i < 100; ++i) {
            world.pass(std::chrono::seconds(25));
            world.send(world.servers[0], "x");
        }
        CHECK(client->take().ends_with(std::string(100, 'x')));
        CHECK_FALSE(client->gone);
    }
}

TEST_CASE("a waiting connection to a server does not wait for ever") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0), kOk);
    CHECK(world.report().servers.at(0).idle_connections == 1);
    world.pass(std::chrono::seconds(29));
    CHECK_FALSE(world.servers[0]->gone);
    world.pass(std::chrono::seconds(2));
    CHECK(world.servers[0]->gone);
    CHECK(world.report().servers.at(0).idle_connections == 0);
}

TEST_CASE("a malformed chunk in a request ends the request and both connections") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(
        client,
        "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    world.send(client, "X\r\n" + kGet);
    CHECK(client->take().starts_with("HTTP/1.1 400 "));
    CHECK(client->end_received);
    CHECK(world.servers.at(0)->gone);
    CHECK(world.servers[0]->received.ends_with("3\r\nabc\r\n"));  // and no last chunk
    CHECK(world.drops.value(DropReason::kHttpMalformed) == 1);
}

}  // namespace
}  // namespace sluice::http
