// Requests that are sent to another server after one did not do.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::World;
using namespace std::string_literals;

const std::string kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";
const std::string kBusy =
    "HTTP/1.1 503 Busy\r\nDate: d\r\nX-From: 1\r\nContent-Length: 4\r\n\r\nbusy";

struct Tries {
    explicit Tries(uint32_t retries, std::vector<uint16_t> ports = {8001, 8002}) {
        auto snapshot = World::snapshot(std::move(ports));
        snapshot->routes[0].retries = retries;
        world.apply(snapshot);
        client = world.client();
    }
    World world;
    std::shared_ptr<FarEnd> client;
};

TEST_CASE("502, 503 and 504 lead to another server, and nothing of them to the client") {
    for (const char* status : {"502 a", "503 b", "504 c"}) {
        INFO(status);
        Tries tries(1);
        tries.world.send(tries.client, kGet);
        const std::string first = tries.world.servers.at(0)->take();
        tries.world.send(tries.world.servers.at(0),
                         "HTTP/1.1 "s + status + "\r\nX-From: 1\r\nContent-Length: 4\r\n\r\nbusy");
        REQUIRE(tries.world.servers.size() == 2);
        CHECK(tries.world.attempts.at(0) != tries.world.attempts.at(1));
        CHECK(tries.world.servers.at(1)->take() == first);
        tries.world.send(tries.world.servers.at(1), kOk);
        CHECK(tries.client->take() == kOk);
        // Its answer was whole, so the first server's connection is good for another request.
        CHECK_FALSE(tries.world.servers.at(0)->gone);
    }
}

TEST_CASE("other answers are the server's last word") {
    for (const char* status : {"500 a", "501 b", "429 c", "404 d", "505 e"}) {
        Tries tries(1);
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0),
                         "HTTP/1.1 "s + status + "\r\nContent-Length: 0\r\n\r\n");
        CHECK(tries.client->take().starts_with("HTTP/1.1 "s + status));
        CHECK(tries.world.servers.size() == 1);
    }
}

TEST_CASE("ten retries, and then servers that cannot be reached") {
    std::vector<uint16_t> ports;
    for (uint16_t port = 8001; port <= 8020; ++port)
        ports.push_back(port);
    Tries tries(10, ports);
    tries.world.send(tries.client, kGet);
    for (size_t i = 0; i < 9; ++i) {
        REQUIRE(tries.world.servers.size() == i + 1);
        tries.world.send(tries.world.servers[i], kBusy);
    }
    for (const uint16_t port : ports)
        tries.world.reachable[port] = testing::Reachable::kNotAtOnce;
    REQUIRE(tries.world.servers.size() == 10);
    tries.world.send(tries.world.servers[9], kBusy);
    CHECK(tries.client->take().starts_with("HTTP/1.1 502 "));
    CHECK(tries.world.attempts.size() == 13);
}

TEST_CASE("after the last retry, or without another server, the answer passes") {
    SECTION("the last retry") {
        Tries tries(1, {8001, 8002, 8003});
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0), kBusy);
        tries.world.send(tries.world.servers.at(1), kBusy);
        CHECK(tries.client->take() == kBusy);
        CHECK(tries.world.servers.size() == 2);
    }
    SECTION("without another server") {
        Tries tries(5);
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0), kBusy);
        tries.world.send(tries.world.servers.at(1), kBusy);
        CHECK(tries.client->take() == kBusy);
    }
    SECTION("none is wanted") {
        Tries tries(0);
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0), kBusy);
        CHECK(tries.client->take() == kBusy);
    }
    SECTION("a broken one is 502 then") {
        Tries tries(1);
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0), kBusy);
        tries.world.servers.at(1)->reset();
        tries.world.run();
        CHECK(tries.client->take().starts_with("HTTP/1.1 502 "));
    }
}

TEST_CASE("an answer whose end has not come costs its connection") {
    for (const char* answer : {"HTTP/1.1 503 a\r\nContent-Length: 4\r\n\r\nbu",
                               "HTTP/1.1 503 a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                               "HTTP/1.1 503 a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                               "HTTP/1.1 503 a\r\n\r\nuntil close",
                               "HTTP/1.1 503 a\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n"}) {
        INFO(answer);
        Tries tries(1);
        tries.world.send(tries.client, kGet);
        tries.world.send(tries.world.servers.at(0), answer);
        CHECK(tries.world.servers.at(0)->gone);
        tries.world.send(tries.world.servers.at(1), kOk);
        CHECK(tries.client->take() == kOk);
    }
}

TEST_CASE("a connection that breaks before its answer leads to another server") {
    Tries tries(1);
    tries.world.send(tries.client, kGet);
    tries.world.servers.at(0)->send("HTTP/1.1 200 O");
    tries.world.servers.at(0)->reset();
    tries.world.run();
    REQUIRE(tries.world.servers.size() == 2);
    tries.world.send(tries.world.servers.at(1), kOk);
    CHECK(tries.client->take() == kOk);
    CHECK(tries.world.report().servers.at(0).failures +
              tries.world.report().servers.at(1).failures ==
          1);
}

TEST_CASE("RFC 9110 section 9.2.2: what is not idempotent is not sent twice") {
    for (const char* method : {"POST", "PATCH"}) {
        Tries tries(1);
        tries.world.send(tries.client,
                         method + " / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n"s);
        tries.world.send(tries.world.servers.at(0), kBusy);
        CHECK(tries.client->take() == kBusy);
        CHECK(tries.world.servers.size() == 1);
    }
}

TEST_CASE("a body that is still in the buffer is sent again") {
    const std::string length = "PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n";
    const std::string chunked =
        "PUT /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const std::vector<std::string>& pieces : std::vector<std::vector<std::string>>{
             {length + "0123456789"},
             {length, "01234", "56789"},
             {chunked + "3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n"},
             {chunked, "3\r\n01", "2\r\n7\r\n345", "6789\r\n", "0\r\nX-Sum: 1\r\n\r\n"}}) {
        Tries tries(1);
        for (const std::string& piece : pieces)
            tries.world.send(tries.client, piece);
        tries.world.servers.at(0)->take();
        tries.world.send(tries.world.servers.at(0), kBusy);
        REQUIRE(tries.world.servers.size() == 2);
        const std::string again = tries.world.servers.at(1)->take();
        CHECK(again.starts_with("PUT /a HTTP/1.1\r\n"));
        if (pieces[0].starts_with(length)) {
            CHECK(again.ends_with("\r\n\r\n0123456789"));
        } else if (pieces.size() == 1) {
            CHECK(again.ends_with("\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"));
        } else {
            CHECK(again.ends_with("\r\n\r\na\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"));
        }
        tries.world.send(tries.world.servers.at(1), kOk);
        CHECK(tries.client->take() == kOk);
        tries.world.send(tries.client, kGet);  // and the next request is found behind it
        CHECK(tries.world.asked()->take().starts_with("GET / HTTP/1.1\r\n"));
    }
}

TEST_CASE("a body may still be coming when another server is tried") {
    Tries tries(1);
    tries.world.send(tries.client,
                     "PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n01234");
    tries.world.send(tries.world.servers.at(0), kBusy);
    CHECK(tries.world.servers.at(0)->gone);  // it may never read the rest
    REQUIRE(tries.world.servers.size() == 2);
    tries.world.send(tries.client, "56789");
    CHECK(tries.world.servers.at(1)->take().ends_with("\r\n\r\n0123456789"));
    tries.world.send(tries.world.servers.at(1), kOk);
    CHECK(tries.client->take() == kOk);
}

TEST_CASE("a body that is gone from the buffer cannot be sent again") {
    Tries tries(1);
    tries.world.send(tries.client,
                     "PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 40000\r\n\r\n" +
                         std::string(40000, 'b'));
    tries.world.send(tries.world.servers.at(0), kBusy);
    CHECK(tries.client->take() == kBusy);
    CHECK(tries.world.servers.size() == 1);
}

TEST_CASE("a server that a reload has removed gets no second try") {
    for (const bool removed : {false, true}) {
        INFO(removed);
        Tries tries(1);
        tries.world.send(tries.client, kGet);
        REQUIRE(tries.world.attempts.size() == 1);
        const uint16_t asked = tries.world.attempts[0];
        auto next = World::snapshot(removed ? std::vector<uint16_t>{asked}
                                            : std::vector<uint16_t>{8001, 8002});
        next->routes[0].retries = 1;
        tries.world.apply(next);
        tries.world.send(tries.world.servers.at(0), kBusy);
        CHECK(tries.world.attempts.size() == (removed ? 1 : 2));
        CHECK((tries.client->take() == kBusy) == removed);
    }
}

TEST_CASE("a connection that broke is no reason to go back to a server that a reload has removed") {
    for (const bool removed : {false, true}) {
        INFO(removed);
        Tries tries(0, {8001});
        tries.world.send(tries.client, kGet);
        const auto server = tries.world.servers.at(0);
        tries.world.send(server, kOk);
        CHECK(tries.client->take() == kOk);
        tries.world.send(tries.client, kGet);
        tries.world.apply(World::snapshot({static_cast<uint16_t>(removed ? 8002 : 8001)}));
        server->reset();
        tries.world.run();
        CHECK(tries.world.attempts.size() == (removed ? 1 : 2));
        CHECK(tries.client->take().starts_with("HTTP/1.1 502 ") == removed);
    }
}

TEST_CASE("an interim response binds the request to its server") {
    Tries tries(1);
    tries.world.send(tries.client, kGet);
    tries.world.send(tries.world.servers.at(0), "HTTP/1.1 103 Early Hints\r\n\r\n" + kBusy);
    CHECK(tries.client->take() == "HTTP/1.1 103 Early Hints\r\n\r\n" + kBusy);
}

TEST_CASE("RFC 9110 section 9.3.1: a body without a meaning costs connections, on both sides") {
    Tries tries(0, {8001});
    for (int i = 1; i <= 16; ++i) {
        tries.world.send(tries.client,
                         "GET / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n\r\nabc");
        REQUIRE(tries.world.servers.size() == static_cast<size_t>(i));
        tries.world.send(tries.world.servers.back(), kOk);
        CHECK(tries.world.servers.back()->gone);
        CHECK(tries.client->take().ends_with("\r\n\r\nok"));
        CHECK(tries.client->end_received == (i == 16));
    }
}

}  // namespace
}  // namespace sluice::http
