// Trailers: which ones pass, and through the whole proxy.
#include "dataplane/http/trailers.h"

#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::World;
using namespace std::string_literals;

TEST_CASE("RFC 9110 section 6.5.1: what must be known before the body is no trailer") {
    for (const char* name : {"Content-Length",
                             "Transfer-Encoding",
                             "Host",
                             "Connection",
                             "TE",
                             "Trailer",
                             "Upgrade",
                             "Expect",
                             "Authorization",
                             "Cookie",
                             "Set-Cookie",
                             "set_cookie",
                             "Content-Type",
                             "Content_Encoding",
                             "Content-Range",
                             "Cache-Control",
                             "If-None-Match",
                             "Range",
                             "Date",
                             "X-Forwarded-For",
                             "x_forwarded_for",
                             "X-Sluice-Peer",
                             "Tailscale-User-Login",
                             "Proxy",
                             "X-Real-Ip",
                             "X-HTTP-Method-Override",
                             "Proxy-Authorization",
                             "Forwarded"}) {
        INFO(name);
        CHECK_FALSE(may_be_trailer(name, {}));
        CHECK(write_trailers(name + ": x\r\n"s, {}).empty());
        CHECK_FALSE(may_be_trailer_list("Grpc-Status, "s + name));
    }
    for (const char* name :
         {"Grpc-Status", "grpc-message", "X-Checksum", "Digest", "Server-Timing"})
        CHECK(may_be_trailer(name, {}));
}

TEST_CASE("what the route or an auth service says is no trailer") {
    const std::vector<std::string> reserved = {"x-auth-request-user"};
    const contract::HeaderEdits edits{.remove = {"x-gone"}, .set = {{"x-set", "1"}}};
    const TrailerRules rules{&edits, reserved};
    CHECK(write_trailers("X_Auth-Request_User: root\r\nX-Set: 2\r\nX-Gone: 3\r\nA: 4\r\n", rules) ==
          "A: 4\r\n");
}

TEST_CASE("trailers are written anew") {
    CHECK(write_trailers("a:1\r\nB:   2 \t\r\nC:\r\nB: 3\r\n", {}) ==
          "a: 1\r\nB: 2\r\nC: \r\nB: 3\r\n");
}

TEST_CASE("RFC 9110 section 6.6.2: a Trailer header names what may follow, or does not pass") {
    CHECK(may_be_trailer_list("grpc-status, grpc-message"));
    CHECK(may_be_trailer_list("Expires2"));
    CHECK_FALSE(may_be_trailer_list("Expires"));
    CHECK_FALSE(may_be_trailer_list("a b"));
}

bool te(const std::string& fields) {
    std::vector<wire::Http1Field> storage(10);
    const std::string head = "GET / HTTP/1.1\r\n" + fields + "\r\n";
    const auto parsed = wire::parse_request_head(as_bytes(head), storage);
    REQUIRE(parsed);
    return accepts_trailers(*parsed);
}

TEST_CASE("RFC 9110 section 10.1.4: of TE only \"trailers\" counts") {
    CHECK(te("TE: trailers\r\n"));
    CHECK(te("te: gzip;q=0.5,\tTrailers \r\n"));
    CHECK(te("TE: deflate\r\nTE: trailers\r\n"));
    CHECK_FALSE(te("TE: deflate\r\n"));
    CHECK_FALSE(te("TE: trailers2\r\n"));
    CHECK_FALSE(te("TE:\r\n"));
}

constexpr std::string_view kChunked =
    "POST /p HTTP/1.1\r\nHost: site.test\r\nTE: trailers\r\nTrailer: X-Sum\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nDate: d\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST_CASE("trailers pass in both directions, however they are split") {
    for (const size_t step : {size_t{1}, size_t{3}, size_t{1000}}) {
        INFO(step);
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        const auto in_pieces = [&](const std::shared_ptr<FarEnd>& far, const std::string& bytes) {
            for (size_t at = 0; at < bytes.size(); at += step)
                world.send(far, bytes.substr(at, step));
        };
        in_pieces(client, std::string(kChunked) +
                              "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX_Forwarded_For: 1.2.3.4\r\n"
                              "Cookie: a\r\nX-Other:2\r\n\r\n");
        const auto server = world.servers.at(0);
        const std::string sent = server->take();
        CHECK(sent.find("Trailer: X-Sum\r\n") != std::string::npos);
        CHECK(sent.find("Connection: TE\r\nTE: trailers\r\n") != std::string::npos);
        CHECK(sent.ends_with("0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"));
        CHECK(sent.find("1.2.3.4") == std::string::npos);
        CHECK(sent.find("ookie") == std::string::npos);
        in_pieces(server, std::string(kAnswer) +
                              "2\r\nok\r\n0\r\ngrpc-status: 0\r\nSet-Cookie: a=b\r\n\r\n");
        const std::string got = client->take();
        CHECK(got.find("Trailer: grpc-status\r\n") != std::string::npos);
        CHECK(got.ends_with("0\r\ngrpc-status: 0\r\n\r\n"));
        // Both connections are good for another round, without the trailers of this one.
        in_pieces(client, std::string(kChunked) + "0\r\n\r\n");
        CHECK(world.servers.size() == 1);
        CHECK(server->take().ends_with("\r\n\r\n0\r\n\r\n"));
        in_pieces(server, std::string(kAnswer) + "0\r\ngrpc-status: 13\r\n\r\n");
        CHECK(client->take().ends_with("\r\n\r\n0\r\ngrpc-status: 13\r\n\r\n"));
    }
}

TEST_CASE("trailers need chunks: a client of HTTP/1.0 gets none") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, "GET / HTTP/1.0\r\nHost: site.test\r\nTE: trailers\r\n\r\n");
    CHECK(world.servers.at(0)->take().find("TE:") == std::string::npos);
    world.send(world.servers.at(0),
               std::string(kAnswer) + "2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\nok");
}

TEST_CASE("too many trailers are refused, from either side") {
    std::string many;
    for (int i = 0; i < 101; ++i)
        many += "a:\r\n";
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, std::string(kChunked) + "0\r\n" + many + "\r\n");
    CHECK(client->take().starts_with("HTTP/1.1 431 "));
    CHECK(client->end_received);
    const auto other = world.client();
    world.send(other, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    world.send(world.servers.back(), std::string(kAnswer) + "0\r\n" + many + "\r\n");
    CHECK(other->gone);
    CHECK_FALSE(other->end_received);
}

TEST_CASE("a trailer that frames is refused by us before the server could believe it") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, std::string(kChunked) + "0\r\nContent-Length: 5\r\n\r\n");
    CHECK(client->take().starts_with("HTTP/1.1 400 "));
    CHECK(world.servers.at(0)->gone);
}

}  // namespace
}  // namespace sluice::http
