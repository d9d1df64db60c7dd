// Long bodies that go through a conduit: nothing else about an exchange changes.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::StreamManner;
using testing::World;

constexpr size_t kLong = 700'001;

std::string body_of_size(size_t size) {
    std::string body(size, '\0');
    SeededRandom(size).fill({reinterpret_cast<uint8_t*>(body.data()), size});
    return body;
}
std::string get() {
    return "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
}
std::string post(size_t size) {
    return "POST /p HTTP/1.1\r\nHost: site.test\r\nContent-Length: " + std::to_string(size) +
           "\r\n\r\n";
}
std::string ok(size_t size) {
    return "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
}
std::string body_of(const std::string& message) {
    const size_t end = message.find("\r\n\r\n");
    return end == std::string::npos ? "(no head)" : message.substr(end + 4);
}

struct Fixture {
    Fixture() {
        world.client_manner.conduits = world.server_manner.conduits = true;
        world.apply(World::snapshot());
    }
    World world;
};

TEST_CASE("a long body goes through a conduit, and its connections serve the next request") {
    Fixture at;
    World& world = at.world;
    SeededRandom random(7);
    const bool whims = GENERATE(false, true);
    const StreamManner manner{.read_max = whims ? 30'000u : SIZE_MAX,
                              .write_max = whims ? 20'000u : SIZE_MAX,
                              .holds_back = whims,
                              .conduits = true,
                              .whims = whims ? &random : nullptr};
    world.client_manner = world.server_manner = manner;
    const auto client = world.client();
    for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        const std::string up = body_of_size(kLong + static_cast<size_t>(round));
        const std::string down = body_of_size(2 * kLong);
        world.send(client, post(up.size()) + up);
        REQUIRE(world.servers.size() == 1);
        const auto server = world.servers[0];
        const std::string asked = server->take();
        CHECK((body_of(asked) == up));
        world.send(server, ok(down.size()) + down);
        const std::string answer = client->take();
        CHECK((body_of(answer) == down));
        CHECK(client->conduits >= 1);
        CHECK(server->conduits >= 1);
    }
    CHECK_FALSE(client->end_received);
}

TEST_CASE("bodies that are short or in chunks take no conduit") {
    Fixture at;
    World& world = at.world;
    const auto client = world.client();
    world.send(client, get());
    const auto server = world.servers.at(0);
    const std::string body = body_of_size(50'000);
    world.send(server, ok(body.size()) + body);
    CHECK((body_of(client->take()) == body));
    world.send(client, get());
    world.send(server, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" +
                           std::string(200'000, 'x') + "\r\n0\r\n\r\n");
    CHECK(client->take().ends_with("\r\n0\r\n\r\n"));
    CHECK(client->conduits == 0);
}

TEST_CASE("a conduit holds as much as the reader lets it, and goes on when it reads") {
    Fixture at;
    World& world = at.world;
    const auto client = world.client();
    world.send(client, get());
    const auto server = world.servers.at(0);
    client->allow(100'000);
    const std::string body = body_of_size(kLong);
    world.send(server, ok(body.size()) + body);
    CHECK(client->received.size() == 100'000);
    CHECK(server->to_stream.size() > kLong - 400'000);  // it has not been read to its end
    client->allow(SIZE_MAX);
    world.run();
    CHECK((body_of(client->take()) == body));
}

TEST_CASE("a body that ends early breaks off, in whichever direction") {
    Fixture at;
    World& world = at.world;
    const auto client = world.client();
    SECTION("the server ends") {
        world.send(client, get());
        const auto server = world.servers.at(0);
        world.send(server, ok(kLong) + std::string(300'000, 'x'));
        CHECK(client->conduits == 1);
        server->end();
        world.run();
        CHECK(client->gone);
        CHECK_FALSE(client->end_received);
    }
    SECTION("the server sends nothing more") {
        world.send(client, get());
        world.send(world.servers.at(0), ok(kLong) + std::string(300'000, 'x'));
        world.pass(std::chrono::minutes(5));
        CHECK(client->gone);
    }
    SECTION("the client does not read") {
        world.send(client, get());
        client->allow(100'000);
        world.send(world.servers.at(0), ok(kLong) + std::string(kLong, 'x'));
        world.pass(std::chrono::seconds(29));
        CHECK_FALSE(client->gone);
        world.pass(std::chrono::seconds(2));
        CHECK(client->gone);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("the client goes") {
        world.send(client, get());
        client->allow(100'000);
        const auto server = world.servers.at(0);
        world.send(server, ok(kLong) + std::string(kLong, 'x'));
        client->reset();
        world.run();
        CHECK(client->gone);
        CHECK(server->gone);
    }
    SECTION("the client ends in its upload") {
        world.send(client, post(kLong) + std::string(300'000, 'x'));
        const auto server = world.servers.at(0);
        CHECK(server->conduits == 1);
        client->end();
        world.run();
        CHECK(server->gone);
        CHECK_FALSE(server->end_received);
    }
    SECTION("the server breaks in an upload, and the client is told") {
        world.send(client, post(kLong) + std::string(300'000, 'x'));
        const auto server = world.servers.at(0);
        CHECK(server->conduits == 1);
        server->reset();
        world.run();
        world.send(client, std::string(100'000, 'x'));
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
}

TEST_CASE("a request whose body is in a conduit is not sent to another connection") {
    Fixture at;
    World& world = at.world;
    const auto client = world.client();
    world.send(client, get());
    world.send(world.servers.at(0), ok(2) + "ok");
    client->take();
    // On the connection that waited; a PUT may be repeated as long as nothing of its body is gone.
    std::string put = post(kLong);
    put.replace(0, 4, "PUT");
    SECTION("something of the body is gone") {
        world.send(client, put + std::string(300'000, 'x'));
        CHECK(world.servers.at(0)->conduits == 1);
        world.servers.at(0)->reset();
        world.run();
        CHECK(world.servers.size() == 1);
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
    }
    SECTION("nothing is") {
        world.send(client, put);
        CHECK(world.servers.at(0)->conduits == 1);
        world.servers.at(0)->end();
        world.run();
        REQUIRE(world.servers.size() == 2);
        const std::string body = body_of_size(kLong);
        world.send(client, body);
        CHECK((body_of(world.servers.at(1)->take()) == body));
        CHECK(world.servers.at(1)->conduits == 1);
    }
}

}  // namespace
}  // namespace sluice::http
