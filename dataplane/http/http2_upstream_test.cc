// HTTP/2 towards servers, for clients of either version.
#include "dataplane/http/http2_upstream.h"

#include <catch2/catch.hpp>

#include "dataplane/http/testing/http2_client.h"
#include "dataplane/http/testing/http2_server.h"

namespace sluice::http {
namespace {

using testing::Http2Client;
using testing::Http2Fields;
using testing::Http2Server;
using testing::World;

std::shared_ptr<contract::Snapshot> snapshot(std::vector<uint16_t> ports = {8001}) {
    auto made = World::snapshot(std::move(ports));
    made->backends[0].protocol = contract::UpstreamProtocol::kHttp2;
    return made;
}

const std::string kGet = "GET /a?b HTTP/1.1\r\nHost: site.test\r\nX-One: 1\r\n\r\n";
const Http2Fields kOk = {{":status", "200"}, {"date", "d"}, {"x-two", "2"}};

TEST_CASE("clients of HTTP/1.1 share one connection to a server of HTTP/2", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto first = world.client();
    const auto second = world.client();
    world.send(first, kGet);
    world.send(second, kGet);
    REQUIRE(world.servers.size() == 1);
    Http2Server server(world, world.servers[0]);
    REQUIRE(server.requests.size() == 2);
    const auto& request = server.requests[1];
    CHECK(request.ended);
    CHECK(request.value(":method") == "GET");
    CHECK(request.value(":scheme") == "http");
    CHECK(request.value(":authority") == "site.test");
    CHECK(request.value(":path") == "/a?b");
    CHECK(request.value("x-one") == "1");
    CHECK(request.value("x-forwarded-for") == "198.51.100.7");
    CHECK(request.value("host").empty());
    server.head(3, kOk);
    server.body(3, "second", true);
    server.head(1, kOk);
    server.body(1, "fir");
    server.body(1, "st", true);
    CHECK(first->received ==
          "HTTP/1.1 200 \r\ndate: d\r\nx-two: 2\r\nTransfer-Encoding: "
          "chunked\r\n\r\n3\r\nfir\r\n2\r\nst\r\n0\r\n\r\n");
    CHECK(second->received.find("second") != std::string::npos);
    CHECK_FALSE(first->end_received);

    // The next request of a client goes the same way.
    world.send(first, kGet);
    server.pump();
    CHECK(world.servers.size() == 1);
    CHECK(server.requests.size() == 3);
    server.head(5, {{":status", "204"}, {"date", "d"}}, true);
    CHECK(first->received.ends_with("HTTP/1.1 204 \r\ndate: d\r\n\r\n"));
}

TEST_CASE("gRPC's way: HTTP/2 on both sides, trailers, bodies in both directions", "[http2]") {
    World world;
    world.apply(snapshot());
    Http2Client client(world);
    Http2Fields fields = Http2Client::get("/pkg.Service/Method", "POST");
    fields.emplace_back("te", "trailers");
    fields.emplace_back("content-type", "application/grpc");
    const int32_t id = client.request(fields, false);
    REQUIRE(world.servers.size() == 1);
    Http2Server server(world, world.servers[0]);
    client.body(id, "one");
    server.pump();
    CHECK(server.requests[1].value("te") == "trailers");
    CHECK(server.requests[1].body == "one");
    CHECK_FALSE(server.requests[1].ended);
    server.head(1, {{":status", "200"}, {"content-type", "application/grpc"}});
    server.body(1, "ONE");
    client.pump();
    CHECK(client.answers[id].body == "ONE");
    client.body(id, "two", true);
    server.pump();
    CHECK(server.requests[1].body == "onetwo");
    CHECK(server.requests[1].ended);
    server.body(1, "TWO", true, {{"grpc-status", "0"}, {"grpc-message", "fine"}});
    client.pump();
    CHECK(client.answers[id].body == "ONETWO");
    CHECK(client.answers[id].ended);
    CHECK(client.answers[id].trailers ==
          Http2Fields{{"grpc-status", "0"}, {"grpc-message", "fine"}});
}

TEST_CASE("an error of gRPC is one head with END_STREAM", "[http2]") {
    World world;
    world.apply(snapshot());
    Http2Client client(world);
    const int32_t id = client.request(Http2Client::get("/", "POST"));
    Http2Server server(world, world.servers.at(0));
    server.head(1, {{":status", "200"}, {"grpc-status", "12"}}, true);
    client.pump();
    CHECK(client.answers[id].value("grpc-status") == "12");
    CHECK(client.answers[id].ended);
}

TEST_CASE("large bodies through both", "[http2]") {
    World world;
    world.apply(snapshot());
    Http2Client client(world);
    std::string large;
    for (size_t i = 0; large.size() < 3 * 1024 * 1024; ++i)
        large += std::to_string(i) + " ";
    const int32_t id = client.request(Http2Client::get("/", "POST"), false);
    Http2Server server(world, world.servers.at(0));
    client.body(id, large, true);
    for (int i = 0; i < 1000 && !server.requests[1].ended; ++i) {
        server.pump();
        client.pump();
    }
    CHECK((server.requests[1].body == large));
    server.head(1, kOk);
    server.body(1, large, true);
    for (int i = 0; i < 1000 && !client.answers[id].ended; ++i) {
        client.consume();
        server.pump();
    }
    CHECK((client.answers[id].body == large));
}

TEST_CASE("informational responses of servers", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    Http2Server server(world, world.servers.at(0));
    server.interim(1, {{":status", "103"}, {"link", "</a>"}});
    server.head(1, kOk, true);
    CHECK(client->received.starts_with("HTTP/1.1 103 \r\nlink: </a>\r\n\r\nHTTP/1.1 200 \r\n"));
}

TEST_CASE("as many connections as the server's limit makes necessary", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto first = world.client();
    world.send(first, kGet);
    Http2Server server(world, world.servers.at(0), {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}});
    const auto second = world.client();
    world.send(second, kGet);
    CHECK(world.servers.size() == 2);
    server.head(1, kOk, true);
    world.send(first, kGet);
    CHECK(world.servers.size() == 2);
}

TEST_CASE("after GOAWAY requests go to a new connection, and those in progress end", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto first = world.client();
    world.send(first, kGet);
    Http2Server server(world, world.servers.at(0));
    server.go_away(1);
    const auto second = world.client();
    world.send(second, kGet);
    REQUIRE(world.servers.size() == 2);
    CHECK_FALSE(world.servers[0]->gone);
    server.head(1, kOk, true);
    CHECK(first->received.starts_with("HTTP/1.1 200 "));
    CHECK(world.servers[0]->gone);
}

TEST_CASE("servers that fail", "[http2]") {
    World world;
    SECTION("one that does not take connections: the next one is asked") {
        world.reachable[8001] = testing::Reachable::kRefused;
        world.apply(snapshot({8001, 8002}));
        for (int i = 0; i < 2; ++i) {
            const auto client = world.client();
            world.send(client, kGet);
        }
        const auto stands =
            std::ranges::find_if(world.servers, [](const auto& each) { return !each->gone; });
        REQUIRE(stands != world.servers.end());
        Http2Server server(world, *stands);
        CHECK(server.requests.size() == 2);
    }
    SECTION("one that resets a request") {
        world.apply(snapshot());
        const auto client = world.client();
        world.send(client, "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1\r\n\r\nx");
        Http2Server server(world, world.servers.at(0));
        server.reset(1, NGHTTP2_INTERNAL_ERROR);
        CHECK(client->received.starts_with("HTTP/1.1 502 "));
        CHECK_FALSE(world.servers[0]->gone);
    }
    SECTION("one that breaks in the middle of a body") {
        world.apply(snapshot());
        Http2Client client(world);
        const int32_t id = client.request(Http2Client::get());
        Http2Server server(world, world.servers.at(0));
        server.head(1, kOk);
        server.body(1, "some");
        world.servers[0]->reset();
        world.run();
        client.pump();
        CHECK(client.answers[id].body == "some");
        CHECK(client.answers[id].reset == NGHTTP2_INTERNAL_ERROR);
    }
    SECTION("one that speaks HTTP/1.1") {
        world.apply(snapshot());
        const auto client = world.client();
        world.send(client, kGet);
        world.send(world.servers.at(0), "HTTP/1.1 400 Bad Request\r\n\r\n");
        CHECK(client->received.starts_with("HTTP/1.1 502 "));
    }
    SECTION("one that falls silent") {
        auto patient = snapshot();
        patient->backends[0].response_timeout = std::chrono::hours(1);
        world.apply(patient);
        const auto client = world.client();
        world.send(client, kGet);
        {
            Http2Server server(world, world.servers.at(0));
        }
        world.pass(Http2Upstream::kSilence);
        CHECK(client->received.empty());
        world.pass(Http2Upstream::kSilence);
        CHECK(client->received.starts_with("HTTP/1.1 502 "));
        CHECK(world.servers[0]->gone);
    }
}

TEST_CASE("the silence of a connection that owed nothing is not held against it", "[http2]") {
    World world;
    auto patient = snapshot();
    patient->backends[0].idle_timeout = std::chrono::minutes(5);
    world.apply(patient);
    const auto client = world.client();
    world.send(client, kGet);
    Http2Server server(world, world.servers.at(0));
    server.head(1, {{":status", "204"}, {"date", "d"}}, true);
    CHECK(client->take().starts_with("HTTP/1.1 204 "));
    for (int id = 3; id <= 7; id += 2) {
        world.pass(3 * Http2Upstream::kSilence);
        world.send(client, kGet);
        world.pass(std::chrono::seconds(1));
        server.pump();
        REQUIRE(server.requests[id].ended);
        server.head(id, {{":status", "204"}, {"date", "d"}}, true);
        CHECK(client->take().starts_with("HTTP/1.1 204 "));
    }
    CHECK(world.servers.size() == 1);
}

TEST_CASE("nobody joins a connection that does not come to stand", "[http2]") {
    World world;
    world.apply(snapshot());
    world.reachable[8001] = testing::Reachable::kSilent;
    const auto first = world.client();
    world.send(first, kGet);
    const auto second = world.client();
    world.send(second, kGet);
    CHECK(world.attempts.size() == 1);
    world.pass(Http2Upstream::kSlowToStand);
    world.reachable[8001] = testing::Reachable::kYes;
    const auto third = world.client();
    world.send(third, kGet);
    REQUIRE(world.servers.size() == 2);
    Http2Server server(world, world.servers[1]);
    server.head(1, {{":status", "204"}, {"date", "d"}}, true);
    CHECK(third->received.starts_with("HTTP/1.1 204 "));
}

TEST_CASE("interim answers that nobody takes are bounded", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto client = world.client();
    client->allow(0);
    world.send(client, kGet);
    Http2Server server(world, world.servers.at(0));
    for (int i = 0; i < 300 && !server.requests[1].reset; ++i)
        server.interim(1, {{":status", "103"}, {"link", std::string(1000, 'l')}});
    REQUIRE(server.requests[1].reset);
    client->allow(SIZE_MAX);
    world.run();
    CHECK_FALSE(client->received.empty());
}

const std::string kPost = "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nbody";

TEST_CASE("a request that the server did nothing about is asked again", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto client = world.client();
    SECTION("refused") {
        world.send(client, kPost);
        Http2Server server(world, world.servers.at(0));
        REQUIRE(server.requests[1].ended);
        server.reset(1, NGHTTP2_REFUSED_STREAM);
    }
    SECTION("above the last stream of a GOAWAY") {
        world.send(client, kPost);
        Http2Server server(world, world.servers.at(0));
        server.go_away(0);
        CHECK(world.servers[0]->gone);
    }
    SECTION("before all of its body came") {
        world.send(client, kPost.substr(0, kPost.size() - 2));
        Http2Server server(world, world.servers.at(0));
        server.reset(1, NGHTTP2_REFUSED_STREAM);
        world.send(client, "dy");
    }
    REQUIRE(world.servers.size() == 2);
    CHECK(client->received.empty());
    Http2Server other(world, world.servers[1]);
    CHECK(other.requests[1].value(":method") == "POST");
    CHECK(other.requests[1].body == "body");
    CHECK(other.requests[1].ended);
    other.head(1, kOk, true);
    CHECK(client->received.starts_with("HTTP/1.1 200 "));
}

TEST_CASE("another server is asked first, with a body in chunks", "[http2]") {
    World world;
    world.apply(snapshot({8001, 8002}));
    const auto client = world.client();
    world.send(client,
               "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n"
               "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n");
    Http2Server server(world, world.servers.at(0));
    server.reset(1, NGHTTP2_REFUSED_STREAM);
    REQUIRE(world.servers.size() == 2);
    CHECK(world.attempts.at(0) != world.attempts.at(1));
    Http2Server other(world, world.servers[1]);
    CHECK(other.requests[1].body == "body");
    CHECK(other.requests[1].ended);
    other.head(1, kOk, true);
    CHECK(client->received.starts_with("HTTP/1.1 200 "));
}

TEST_CASE("a request is not asked again for ever, or when a part of it is gone", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto client = world.client();
    SECTION("each connection refuses") {
        world.send(client, kGet);
        for (size_t i = 0; i < 2; ++i) {
            Http2Server server(world, world.servers.at(i));
            server.reset(1, NGHTTP2_REFUSED_STREAM);
        }
        // The third try went to the connection that refused last: there are two at most.
        REQUIRE(world.servers.size() == 2);
        CHECK(client->received.empty());
        world.send(world.servers[1], std::string("\0\0\4\3\0\0\0\0\3\0\0\0\7", 13));
    }
    SECTION("its body does not fit a buffer") {
        world.send(client, "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000000\r\n\r\n" +
                               std::string(50'000, 'x'));
        Http2Server server(world, world.servers.at(0));
        world.send(client, std::string(10'000, 'x'));
        server.pump();
        CHECK(server.requests[1].body.size() == 60'000);
        server.reset(1, NGHTTP2_REFUSED_STREAM);
        CHECK(world.servers.size() == 1);
    }
    SECTION("another error says nothing of what was done") {
        world.send(client, kGet);
        Http2Server server(world, world.servers.at(0));
        server.reset(1, NGHTTP2_CANCEL);
        CHECK(world.servers.size() == 1);
    }
    CHECK(client->received.starts_with("HTTP/1.1 502 "));
}

TEST_CASE("a connection that refused is used again after a while", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto client = world.client();
    const auto second = world.client();
    world.send(client, kGet);
    Http2Server server(world, world.servers.at(0));
    server.reset(1, NGHTTP2_REFUSED_STREAM);
    Http2Server other(world, world.servers.at(1));
    other.go_away(1);
    other.head(1, kOk, true);
    CHECK(client->received.starts_with("HTTP/1.1 200 "));
    world.pass(Http2Upstream::kRefusing);
    world.send(second, kGet);
    server.pump();
    CHECK(world.servers.size() == 2);
    CHECK(server.requests[3].ended);
}

TEST_CASE("a client that leaves cancels its request alone", "[http2]") {
    World world;
    world.apply(snapshot());
    const auto first = world.client();
    const auto second = world.client();
    world.send(first, kGet);
    world.send(second, kGet);
    Http2Server server(world, world.servers.at(0));
    first->end();
    world.run();
    server.pump();
    CHECK(server.requests[1].reset);
    server.head(3, kOk, true);
    CHECK(second->received.starts_with("HTTP/1.1 200 "));
}

TEST_CASE("connections that nobody uses are closed", "[http2]") {
    World world;
    auto made = snapshot();
    world.apply(made);
    const auto client = world.client();
    world.send(client, kGet);
    {
        Http2Server server(world, world.servers.at(0));
        server.head(1, kOk, true);
    }
    CHECK_FALSE(world.servers[0]->gone);
    world.pass(made->backends[0].idle_timeout + std::chrono::seconds(1));
    CHECK(world.servers[0]->gone);
}

}  // namespace
}  // namespace sluice::http
