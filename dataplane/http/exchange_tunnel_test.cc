// WebSocket: who gets one, what passes through it, and how it ends.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::StreamManner;
using testing::World;
using namespace std::string_literals;

const std::string kAsk =
    "GET /chat?x=y HTTP/1.1\r\nHost: site.test\r\nUpgrade: WebSocket\r\n"
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n";
const std::string kGrant =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: a\r\n\r\n";
const std::string kHello = "\x81\x05hello";
const std::string kGoingAway = "\x88\x02\x03\xe9";

struct Tunnel {
    explicit Tunnel(StreamManner manner = {}) {
        world.client_manner = world.server_manner = manner;
        world.apply(World::snapshot());
        client = world.client();
        world.send(client, kAsk);
        server = world.servers.at(0);
        asked = server->take();
        world.send(server, kGrant);
        granted = client->take();
    }
    World world;
    std::shared_ptr<FarEnd> client;
    std::shared_ptr<FarEnd> server;
    std::string asked;
    std::string granted;
};

TEST_CASE("RFC 6455 section 4: a handshake passes, and then bytes do") {
    Tunnel tunnel;
    CHECK(tunnel.asked.starts_with("GET /chat?x=y HTTP/1.1\r\nHost: site.test\r\n"));
    CHECK(tunnel.asked.find("Sec-WebSocket-Key: k\r\n") != std::string::npos);
    CHECK(tunnel.asked.find("Connection: Upgrade\r\nUpgrade: websocket\r\n") != std::string::npos);
    CHECK(tunnel.granted ==
          "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\n"
          "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    tunnel.world.send(tunnel.client, "any bytes\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    CHECK(tunnel.server->take() == "any bytes\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    tunnel.world.send(tunnel.server, "HTTP/1.1 500 No\r\n\r\n"s + std::string(100'000, 'x'));
    CHECK(tunnel.client->take() == "HTTP/1.1 500 No\r\n\r\n"s + std::string(100'000, 'x'));
}

TEST_CASE("bytes that come with the handshake, from either side, are not lost") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kAsk + "early");
    const auto server = world.servers.at(0);
    CHECK(server->take().ends_with("\r\n\r\n"));  // not before the server agreed
    world.send(server, kGrant + kHello);
    CHECK(server->take() == "early");
    CHECK(client->take().ends_with("\r\n\r\n" + kHello));
}

TEST_CASE("awkward streams change nothing in a tunnel") {
    SeededRandom whims(5);
    Tunnel tunnel({.read_max = 13, .write_max = 7, .holds_back = true, .whims = &whims});
    std::string up;
    std::string down;
    for (int i = 0; i < 400; ++i) {
        up += std::to_string(i * 7919);
        down += std::to_string(i * 104729);
    }
    tunnel.client->send(up);
    tunnel.server->send(down);
    tunnel.world.run();
    CHECK(tunnel.server->take() == up);
    CHECK(tunnel.client->take() == down);
}

TEST_CASE("RFC 9110 section 7.8: whatever else asks for a switch is an ordinary request") {
    const std::string host = " / HTTP/1.1\r\nHost: site.test\r\n";
    for (const std::string& ask : {
             "GET" + host +
                 "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                 "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
             "GET" + host + "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n",
             "GET" + host + "Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
             "GET" + host + "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
             "GET" + host + "Upgrade: websocket\r\n\r\n",
             "GET" + host + "Connection: Upgrade\r\n\r\n",
             "POST" + host + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
             "GET" + host +
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Content-Length: 0\r\n\r\n",
             "GET" + host +
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             "GET / HTTP/1.0\r\nHost: site.test\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\n\r\n"s,
         }) {
        INFO(ask);
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, ask);
        const std::string asked = world.servers.at(0)->take();
        CHECK(asked.find("pgrade") == std::string::npos);
        CHECK(asked.find("onnection") == std::string::npos);
        world.send(world.servers.at(0), kGrant);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
        CHECK(world.servers.at(0)->gone);
    }
}

TEST_CASE("a 101 that does not switch to WebSocket is no answer") {
    for (const char* fields : {"", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n",
                               "Upgrade: h2c\r\nConnection: Upgrade\r\n",
                               "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
                               "Upgrade: websocket\r\nConnection: close\r\n"}) {
        INFO(fields);
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, kAsk);
        world.send(world.servers.at(0), "HTTP/1.1 101 Switching\r\n"s + fields + "\r\n");
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
        CHECK(world.servers.at(0)->gone);
    }
}

TEST_CASE("a refused handshake is an ordinary answer, and spoils the server's connection only") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kAsk);
    world.send(world.servers.at(0),
               "HTTP/1.1 426 Upgrade Required\r\nDate: d\r\nContent-Length: 2\r\n\r\nno");
    CHECK(client->take() ==
          "HTTP/1.1 426 Upgrade Required\r\nDate: d\r\nContent-Length: 2\r\n\r\nno");
    CHECK(world.servers.at(0)->gone);
    world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    CHECK(world.servers.size() == 2);
}

TEST_CASE("either direction of a tunnel can end first, and the other goes on") {
    Tunnel tunnel;
    SECTION("the client") {
        tunnel.client->send("last");
        tunnel.client->end();
        tunnel.world.run();
        CHECK(tunnel.server->take() == "last");
        CHECK(tunnel.server->end_received);
        CHECK_FALSE(tunnel.client->end_received);
        tunnel.world.send(tunnel.server, "answer");
        CHECK(tunnel.client->take() == "answer");
        tunnel.server->end();
        tunnel.world.run();
        CHECK(tunnel.client->end_received);
    }
    SECTION("the server") {
        tunnel.server->send("last");
        tunnel.server->end();
        tunnel.world.run();
        CHECK(tunnel.client->take() == "last");
        CHECK(tunnel.client->end_received);
        CHECK_FALSE(tunnel.server->end_received);
        tunnel.world.send(tunnel.client, "answer");
        CHECK(tunnel.server->take() == "answer");
        tunnel.client->end();
        tunnel.world.run();
    }
    CHECK(tunnel.client->gone);
    CHECK(tunnel.server->gone);
    CHECK(tunnel.world.proxy.connections_open() == 0);
    CHECK(tunnel.world.report().servers.at(0).failures == 0);
}

TEST_CASE("a tunnel that breaks on one side breaks on the other, without an end") {
    Tunnel tunnel;
    SECTION("the client") {
        tunnel.client->reset();
    }
    SECTION("the server") {
        tunnel.server->reset();
    }
    tunnel.world.run();
    CHECK(tunnel.client->gone);
    CHECK(tunnel.server->gone);
    CHECK_FALSE(tunnel.client->end_received);
    CHECK_FALSE(tunnel.server->end_received);
}

TEST_CASE("a tunnel may be quiet for most of an hour") {
    Tunnel tunnel;
    for (int i = 0; i < 3; ++i) {
        tunnel.world.pass(std::chrono::minutes(59));
        tunnel.world.send(tunnel.server, kHello);
        CHECK(tunnel.client->take() == kHello);
    }
    tunnel.world.pass(std::chrono::minutes(61));
    CHECK(tunnel.client->end_received);
    CHECK(tunnel.server->gone);
}

TEST_CASE("who does not take what it is sent is given up on") {
    Tunnel tunnel;
    SECTION("the client") {
        tunnel.client->allow(tunnel.client->received.size());
        tunnel.world.send(tunnel.server, kHello);
    }
    SECTION("the server") {
        tunnel.server->allow(tunnel.server->received.size());
        tunnel.world.send(tunnel.client, kHello);
    }
    tunnel.world.pass(std::chrono::seconds(31));
    CHECK(tunnel.client->gone);
    CHECK(tunnel.server->gone);
    CHECK_FALSE(tunnel.client->end_received);
}

TEST_CASE("after one side's end the other's silence is short") {
    Tunnel tunnel;
    tunnel.server->end();
    tunnel.world.run();
    tunnel.world.pass(std::chrono::seconds(61));
    CHECK(tunnel.server->gone);
    tunnel.world.pass(std::chrono::seconds(3));
    CHECK(tunnel.client->gone);
}

TEST_CASE("RFC 6455 section 7.4.1: a drain tells the client that we go away") {
    Tunnel tunnel;
    tunnel.world.send(tunnel.server, kHello);
    CHECK(tunnel.client->take() == kHello);
    tunnel.world.proxy.drain(tunnel.world.now);
    tunnel.world.run();
    CHECK(tunnel.client->take() == kGoingAway);
    // What the server says now would come behind a Close frame.
    tunnel.world.send(tunnel.server, kHello);
    CHECK(tunnel.client->take().empty());
    // The client's answer is for the server, which ends then.
    tunnel.world.send(tunnel.client, "\x88\x82mask\x6e\x88");
    CHECK(tunnel.server->take() == "\x88\x82mask\x6e\x88");
    SECTION("the server ends it") {
        tunnel.server->end();
        tunnel.world.run();
        CHECK(tunnel.client->end_received);
        tunnel.client->end();
        tunnel.world.run();
    }
    SECTION("nobody ends it") {
        tunnel.world.pass(std::chrono::seconds(4));
        CHECK(tunnel.client->end_received);
        tunnel.world.pass(std::chrono::seconds(4));
    }
    CHECK(tunnel.client->gone);
    CHECK(tunnel.world.proxy.connections_open() == 0);
}

TEST_CASE("within a frame a drain waits for its end") {
    Tunnel tunnel;
    tunnel.world.send(tunnel.server, "\x81\x05he");
    tunnel.world.proxy.drain(tunnel.world.now);
    tunnel.world.run();
    CHECK(tunnel.client->take() == "\x81\x05he");
    SECTION("which comes") {
        tunnel.world.send(tunnel.server, "llo" + kHello);
        CHECK(tunnel.client->take() == "llo" + kGoingAway);
    }
    SECTION("which does not come") {
        tunnel.world.pass(std::chrono::seconds(4));
        CHECK(tunnel.client->take().empty());
        CHECK(tunnel.client->end_received);
        CHECK(tunnel.server->gone);
    }
    SECTION("unless the server is closing by itself") {
        tunnel.world.send(tunnel.server, "llo\x88\x02\x03\xe8");
        CHECK(tunnel.client->take() == "llo\x88\x02\x03\xe8");
        tunnel.world.send(tunnel.client, "\x88\x80mask");
        CHECK(tunnel.server->take() == "\x88\x80mask");
    }
}

}  // namespace
}  // namespace sluice::http
