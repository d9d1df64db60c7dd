// What routes do with requests, seen from both ends.
#include <catch2/catch.hpp>
#include <string>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::Reachable;
using testing::World;

bool has(const std::string& text, const std::string& piece) {
    return text.find(piece) != std::string::npos;
}
constexpr const char* kEmptyOk = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

// What the client gets for a request that needs no server.
std::string answered(World& world, const std::string& request) {
    const auto client = world.client();
    world.send(client, request);
    return client->take();
}
std::string get(const std::string& path, const std::string& more = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: site.test\r\n" + more + "\r\n";
}

TEST_CASE("a route's redirect is the answer") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].redirect = contract::Redirect{.status = 301, .host = "new.test"};
    world.apply(snapshot);
    const std::string answer = answered(world, get("/a/../b?c=%41"));
    CHECK(answer.starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
    CHECK(has(answer, "Location: https://new.test/b?c=%41\r\n"));
    CHECK(has(answer, "Content-Length: "));
    // Two slashes would make a host of the path.
    CHECK(has(answered(world, get("//evil.test")), "Location: https://new.test/evil.test\r\n"));
    CHECK(answered(world, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    CHECK(world.attempts.empty());
    // A long path has room.
    const std::string path = "/" + std::string(7000, 'x');
    CHECK(has(answered(world, get(path)), "Location: https://new.test" + path + "\r\n"));
    // The route's own rule comes first.
    snapshot = std::make_shared<contract::Snapshot>(*snapshot);
    snapshot->routes[0].auth = contract::AuthMode::kTailscaleOnly;
    world.apply(snapshot);
    CHECK(answered(world, get("/")).starts_with("HTTP/1.1 403 "));
}

TEST_CASE("a listener without TLS that only redirects") {
    World world;
    world.apply(World::snapshot());
    ClientFacts facts = World::elsewhere();
    facts.encrypted = false;
    facts.redirect_to_https = 443;
    const auto answered_here = [&](const std::string& request) {
        const auto client = world.client(facts);
        world.send(client, request);
        return client->take();
    };
    CHECK(has(answered_here(get("/a?b")), "308 Permanent Redirect\r\n"));
    CHECK(has(answered_here(get("/a?b")), "Location: https://site.test/a?b\r\n"));
    CHECK(has(answered_here("GET / HTTP/1.1\r\nHost: site.test:8080\r\n\r\n"),
              "Location: https://site.test/\r\n"));
    CHECK(answered_here("GET / HTTP/1.1\r\nHost: any.test\r\n\r\n").starts_with("HTTP/1.1 404 "));
    CHECK(answered_here("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    facts.redirect_to_https = 3443;
    CHECK(has(answered_here(get("/")), "Location: https://site.test:3443/\r\n"));
    CHECK(world.attempts.empty());
}

TEST_CASE("the server gets the path that was routed, less one prefix and with another") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].path_prefix = "/app";
    snapshot->routes[0].strip_prefix = "/app";
    snapshot->routes[0].add_prefix = "/v2";
    world.apply(snapshot);
    const auto client = world.client();
    world.send(client, get("/x/../app/a%2fb?q", "X-Forwarded-Prefix: /forged\r\n"));
    const std::string request = world.servers.at(0)->take();
    CHECK(request.starts_with("GET /v2/a%2Fb?q HTTP/1.1\r\n"));
    CHECK(has(request, "X-Forwarded-Prefix: /app\r\n"));
    CHECK_FALSE(has(request, "forged"));
    world.send(world.servers[0], kEmptyOk);
    client->take();
    world.send(client, get("/app/..%2f..%2fsecret"));
    CHECK(client->take().starts_with("HTTP/1.1 400 "));
    CHECK_FALSE(world.servers[0]->has_news());
}

TEST_CASE("headers are set and removed in both directions") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->node_name = "node-21";
    snapshot->routes[0].request_headers = {.remove = {"x-drop"},
                                           .set = {{"x-set", "ours"}, {"x-set", "twice"}}};
    snapshot->routes[0].response_headers = {.remove = {"server"},
                                            .set = {{"strict-transport-security", "max-age=1"}}};
    world.apply(snapshot);
    const auto client = world.client();
    world.send(client, get("/", "X-Drop: 1\r\nX_Drop: 2\r\nX-SET: 3\r\nx_set: 4\r\nX-Keep: 5\r\n"));
    const std::string request = world.servers.at(0)->take();
    CHECK(
        request.starts_with("GET / HTTP/1.1\r\nHost: site.test\r\nX-Keep: 5\r\nx-set: ours\r\n"
                            "x-set: twice\r\nX-Forwarded-For: "));
    CHECK(has(request, "X-Forwarded-Server: node-21\r\n"));
    CHECK_FALSE(has(request, "rop"));
    world.send(world.servers[0],
               "HTTP/1.1 103 Early Hints\r\nServer: s\r\n\r\nHTTP/1.1 200 OK\r\nServer: s\r\n"
               "Strict-Transport-Security: none\r\nX-Keep: 1\r\nContent-Length: 0\r\n\r\n");
    const std::string answer = client->take();
    CHECK(has(answer,
              "HTTP/1.1 200 OK\r\nX-Keep: 1\r\n"
              "strict-transport-security: max-age=1\r\nContent-Length: 0\r\n"));
    CHECK_FALSE(has(answer, "none"));
}

TEST_CASE("heads grow as far as the configuration wants") {
    World world;
    auto snapshot = World::snapshot();
    const std::string large(14'000, 'x');
    snapshot->routes[0].add_prefix = "/" + large;
    snapshot->routes[0].request_headers.set = {{"x-large", large}};
    snapshot->routes[0].response_headers.set = {{"x-large", large}};
    world.apply(snapshot);
    const auto client = world.client();
    world.send(client, get("/"));
    const std::string request = world.servers.at(0)->take();
    CHECK(request.starts_with("GET /" + large + "/ HTTP/1.1\r\n"));
    CHECK(has(request, "\r\nx-large: " + large + "\r\n"));
    world.send(world.servers[0], kEmptyOk);
    CHECK(has(client->take(), "\r\nx-large: " + large + "\r\n"));
}

TEST_CASE("what frames a message or says who is calling is not the configuration's to set") {
    World world;
    auto snapshot = World::snapshot();
    const std::vector<std::pair<std::string, std::string>> harmful = {
        {"content-length", "5"},
        {"transfer-encoding", "chunked"},
        {"connection", "x"},
        {"host", "evil"},
        {"x-forwarded-for", "1.1.1.1"},
        {"x_forwarded_for", "1.1.1.1"},
        {"x-sluice-peer", "evil"},
        {"upgrade", "h2c"},
        {"date", "evil"},
        {"x:y", "evil"}};
    snapshot->routes[0].request_headers.set = harmful;
    snapshot->routes[0].response_headers.set = harmful;
    world.apply(snapshot);
    const auto client = world.client();
    world.send(client, get("/"));
    const std::string request = world.servers.at(0)->take();
    CHECK(request.starts_with("GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 198."));
    for (const char* piece : {"evil", "1.1.1.1", "ontent", "hunked", "pgrade"})
        CHECK_FALSE(has(request, piece));
    world.send(world.servers[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    const std::string answer = client->take();
    CHECK(has(answer, "\r\nContent-Length: 2\r\n"));
    for (const char* piece : {"evil", "1.1.1.1", "hunked", "pgrade"})
        CHECK_FALSE(has(answer, piece));
}

TEST_CASE("bodies beyond the route's limit") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].body_bytes_max = 10;
    world.apply(snapshot);
    const std::string head = "POST / HTTP/1.1\r\nHost: site.test\r\n";
    CHECK(answered(world, head + "Content-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "));
    CHECK(world.attempts.empty());
    {
        const auto client = world.client();
        world.send(client, head + "Content-Length: 10\r\n\r\n0123456789");
        world.send(world.asked(), kEmptyOk);
        CHECK(client->take().starts_with("HTTP/1.1 200 "));
    }
    {
        const auto client = world.client();
        world.send(client, head + "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
        world.send(client, "5\r\n56789\r\n0\r\n\r\n");
        world.send(world.asked(), kEmptyOk);
        CHECK(client->take().starts_with("HTTP/1.1 200 "));
    }
    const auto client = world.client();
    world.send(client, head + "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
    const auto server = world.asked();
    CHECK(has(server->take(), "\r\n5\r\n01234"));
    world.send(client, "6\r\n56789a\r\n0\r\n\r\n");
    CHECK(client->take().starts_with("HTTP/1.1 413 "));
    CHECK(server->gone);
    CHECK_FALSE(has(server->take(), "0\r\n\r\n"));
}

TEST_CASE("a rate limit of a route, for each client") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].redirect = contract::Redirect{};
    snapshot->routes[0].rate_limit =
        contract::RateLimit{.requests = 2, .per = std::chrono::seconds(10), .burst = 3};
    auto other = snapshot->routes[0];
    other.name = "other";
    other.path_prefix = "/other";
    snapshot->routes.push_back(other);
    world.apply(snapshot);
    const auto client = world.client();
    const auto status = [&](const std::string& path = "/") {
        world.send(client, get(path));
        return client->take().substr(9, 3);
    };
    for (int i = 0; i < 3; ++i)
        CHECK(status() == "308");
    world.send(client, get("/"));
    const std::string refusal = client->take();
    CHECK(refusal.starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
    CHECK(has(refusal, "Retry-After: 5\r\n"));
    CHECK(world.drops.value(DropReason::kRequestRateLimited) == 1);
    CHECK(status("/other") == "308");
    // Neither another connection nor a reload helps, another address does.
    CHECK(answered(world, get("/")).starts_with("HTTP/1.1 429 "));
    world.apply(std::make_shared<contract::Snapshot>(*snapshot));
    CHECK(status() == "429");
    ClientFacts neighbour = World::elsewhere();
    neighbour.remote = *Endpoint::parse("198.51.100.8:1");
    const auto second = world.client(neighbour);
    world.send(second, get("/"));
    CHECK(second->take().starts_with("HTTP/1.1 308 "));
    world.pass(std::chrono::seconds(5));
    CHECK(status() == "308");
    CHECK(status() == "429");

    snapshot = std::make_shared<contract::Snapshot>(*snapshot);
    snapshot->routes[0].name = "all";
    snapshot->routes[0].rate_limit->each_client = false;
    world.apply(snapshot);
    for (int i = 0; i < 3; ++i)
        CHECK(status() == "308");
    world.send(second, get("/"));
    CHECK(second->take().starts_with("HTTP/1.1 429 "));
}

TEST_CASE("two proxies of one node count together") {
    World first;
    World second;
    SeededRandom random(3);
    SourceLimits limits(random);
    for (World* world : {&first, &second}) {
        auto snapshot = World::snapshot();
        snapshot->routes[0].redirect = contract::Redirect{};
        snapshot->routes[0].rate_limit =
            contract::RateLimit{.requests = 1, .per = std::chrono::seconds(10), .burst = 2};
        world->proxy.share_limits(limits);
        world->apply(snapshot);
    }
    CHECK(answered(first, get("/")).starts_with("HTTP/1.1 308 "));
    CHECK(answered(second, get("/")).starts_with("HTTP/1.1 308 "));
    CHECK(answered(first, get("/")).starts_with("HTTP/1.1 429 "));
    CHECK(answered(second, get("/")).starts_with("HTTP/1.1 429 "));
}

TEST_CASE("servers that want their own name get it, whichever of them it becomes") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].pass_host = false;
    snapshot->backends[0].servers[0].host = "a.internal";
    snapshot->backends[0].servers[1].host = "much-longer.internal:8002";
    world.apply(snapshot);
    for (const uint16_t dead : {8001, 8002}) {
        world.reachable.clear();
        world.reachable[dead] = Reachable::kRefused;
        for (int i = 0; i < 3; ++i) {
            const auto client = world.client();
            world.send(client, get("/"));
            const auto server = world.asked();
            const std::string request = server->take();
            const std::string host = dead == 8001 ? "much-longer.internal:8002" : "a.internal";
            CHECK(request.starts_with("GET / HTTP/1.1\r\nHost: " + host));
            const char behind =
                request[std::string("GET / HTTP/1.1\r\nHost: ").size() + host.size()];
            CHECK((behind == ' ' || behind == '\r'));
            CHECK(has(request, "X-Forwarded-Host: site.test\r\n"));
            world.send(server, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            CHECK(client->take().starts_with("HTTP/1.1 200 "));
            world.pass(std::chrono::seconds(3));
        }
    }
}

}  // namespace
}  // namespace sluice::http
