// Requests and responses, through the whole proxy.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::Reachable;
using testing::World;
using namespace std::string_literals;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";
constexpr std::string_view kOkOut = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";

std::string post(const std::string& framing, const std::string& body = {}) {
    return "POST /p HTTP/1.1\r\nHost: site.test\r\n" + framing + "\r\n" + body;
}
std::string body_of(const std::string& message) {
    const size_t end = message.find("\r\n\r\n");
    return end == std::string::npos ? "(no head)" : message.substr(end + 4);
}
std::string first_line(const std::string& message) {
    return message.substr(0, message.find("\r\n"));
}

TEST_CASE("a GET is relayed and answered") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, "GET /a?b=c HTTP/1.1\r\nHost: Site.Test\r\nAccept: */*\r\n\r\n");

    REQUIRE(world.servers.size() == 1);
    const auto server = world.servers[0];
    CHECK(server->take() ==
          "GET /a?b=c HTTP/1.1\r\n"
          "Host: site.test\r\n"
          "Accept: */*\r\n"
          "X-Forwarded-For: 198.51.100.7\r\n"
          "X-Real-Ip: 198.51.100.7\r\n"
          "X-Forwarded-Proto: https\r\n"
          "X-Forwarded-Host: site.test\r\n"
          "X-Forwarded-Port: 443\r\n"
          "\r\n");
    world.send(server, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
    CHECK(client->take() ==
          "HTTP/1.1 200 Fine\r\n"
          "X-A: b\r\n"
          "Content-Length: 5\r\n"
          "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
          "\r\n"
          "hello");
    CHECK_FALSE(client->end_received);

    // Both connections serve the next request.
    world.send(client, kGet);
    CHECK(world.servers.size() == 1);
    CHECK(server->take().starts_with("GET / HTTP/1.1\r\n"));
    world.send(server, "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
}

TEST_CASE("what is passed on is the path that was routed") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    const auto sent_for = [&](const std::string& target, const std::string& method = "GET") {
        world.send(client, method + " " + target + " HTTP/1.1\r\nHost: site.test\r\n\r\n");
        const std::string sent = first_line(world.servers[0]->take());
        world.send(world.servers[0], kOk);
        client->take();
        return sent;
    };
    CHECK(sent_for("/a/../b//c/%7e?x=/../y") == "GET /b//c/~?x=/../y HTTP/1.1");
    CHECK(sent_for("http://SITE.test/a/./b") == "GET /a/b HTTP/1.1");
    CHECK(sent_for("https://site.test") == "GET / HTTP/1.1");
    CHECK(sent_for("http://site.test?q") == "GET /?q HTTP/1.1");
    CHECK(sent_for("*", "OPTIONS") == "OPTIONS * HTTP/1.1");
}

TEST_CASE("requests that are refused, and how") {
    struct Case {
        const char* rule;
        std::string request;
        const char* status;
    };
    const std::vector<Case> cases = {
        {"RFC 9112 3.2: no Host", "GET / HTTP/1.1\r\n\r\n", "400 "},
        {"RFC 9112 3.2: two Hosts", "GET / HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n",
         "400 "},
        {"RFC 9112 3.2: no valid Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 "},
        {"RFC 9112 3.2: an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 "},
        {"RFC 9112 3.2: a list of Hosts", "GET / HTTP/1.1\r\nHost: site.test, b\r\n\r\n", "400 "},
        {"RFC 9112 3.2.2: two hosts", "GET http://other.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n",
         "400 "},
        {"RFC 9112 3.2.2: two ports", "GET http://site.test:1/ HTTP/1.1\r\nHost: site.test\r\n\r\n",
         "400 "},
        {"RFC 9110 4.2.4: no user names",
         "GET http://u@site.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n", "400 "},
        {"RFC 9112 3.2: other schemes", "GET ftp://site.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n",
         "400 "},
        {"RFC 9112 3.2: no slash", "GET a HTTP/1.1\r\nHost: site.test\r\n\r\n", "400 "},
        {"RFC 9112 3.2.4: * is for OPTIONS", "GET * HTTP/1.1\r\nHost: site.test\r\n\r\n", "400 "},
        {"RFC 9112 3.2: a fragment", "GET /?a#b HTTP/1.1\r\nHost: site.test\r\n\r\n", "400 "},
        {"a path above the root", "GET /../a HTTP/1.1\r\nHost: site.test\r\n\r\n", "400 "},
        {"RFC 9112 6.1: both framings",
         post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400 "},
        {"RFC 9110 9.3.6: CONNECT", "CONNECT site.test:443 HTTP/1.1\r\nHost: site.test\r\n\r\n",
         "501 "},
        {"RFC 9110 9.3.8: TRACE", "TRACE / HTTP/1.1\r\nHost: site.test\r\n\r\n", "501 "},
        {"RFC 9112 6.1: unknown coding", post("Transfer-Encoding: gzip\r\n"), "501 "},
        {"RFC 9110 15.5.15",
         "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: site.test\r\n\r\n", "414 "},
        {"RFC 6585 5", "GET / HTTP/1.1\r\nA: " + std::string(70000, 'a') + "\r\n\r\n", "431 "},
        {"RFC 6585 5, by number",
         "GET / HTTP/1.1\r\nHost: site.test\r\n" +
             [] {
                 std::string many;
                 for (int i = 0; i < 100; ++i)
                     many += "A: b\r\n";
                 return many;
             }() +
             "\r\n",
         "431 "},
        {"RFC 9110 15.6.6", "GET / HTTP/2.0\r\nHost: site.test\r\n\r\n", "505 "},
        {"RFC 9110 10.1.1", post("Expect: tea\r\nContent-Length: 1\r\n", "x"), "417 "},
        {"RFC 9112 2.2", "GET / HTTP/1.1\nHost: site.test\n\n", "400 "},
    };
    for (const Case& tried : cases) {
        INFO(tried.rule);
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, tried.request + std::string(kGet));
        const std::string answer = client->take();
        CHECK(answer.starts_with("HTTP/1.1 "s + tried.status));
        CHECK(answer.find("Connection: close\r\n") != std::string::npos);
        CHECK(client->end_received);
        CHECK(world.servers.empty());
        CHECK(world.drops.value(DropReason::kHttpMalformed) == 1);
        // Exactly one answer: what follows a refused request is not looked at.
        CHECK(answer.find("HTTP/1.1 ", 1) == std::string::npos);
        client->end();
        world.run();
        CHECK(client->gone);
    }
}

TEST_CASE("hosts and paths without a route get 404, and the connection goes on") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].path_prefix = "/app";
    world.apply(snapshot);
    const auto client = world.client();
    for (const char* request : {"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
                                "GET /apple HTTP/1.1\r\nHost: site.test\r\n\r\n"}) {
        world.send(client, request);
        const std::string answer = client->take();
        CHECK(answer.starts_with("HTTP/1.1 404 Not Found\r\n"));
        CHECK(answer.find("Connection:") == std::string::npos);
        CHECK(body_of(answer) == "404 Not Found: no route leads from this host and path.\n");
    }
    world.send(client, "GET /app/x HTTP/1.1\r\nHost: SITE.TEST.:3443\r\n\r\n");
    REQUIRE(world.servers.size() == 1);
    CHECK(world.servers[0]->take().starts_with("GET /app/x HTTP/1.1\r\nHost: site.test:3443\r\n"));
}

TEST_CASE("a refused request with a body ends the connection, whether the body is there or not") {
    for (const std::string& request :
         std::vector<std::string>{"Content-Length: 5\r\n\r\nGET /", "Content-Length: 5\r\n\r\n",
                                  "Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n"}) {
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, "POST / HTTP/1.1\r\nHost: other.test\r\n" + request);
        CHECK(client->take().find("Connection: close") != std::string::npos);
        CHECK(client->end_received);
        world.send(client, kGet);
        CHECK(client->take().empty());
        CHECK(world.servers.empty());
    }
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 0\r\n\r\n");
    CHECK(client->take().find("Connection: close") == std::string::npos);
}

TEST_CASE("tailscale-only lets in whoever the socket and the peer table both know") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->routes[0].auth = contract::AuthMode::kTailscaleOnly;
    world.apply(snapshot);
    const auto answer_to = [&](const ClientFacts& facts) {
        const auto client = world.client(facts);
        world.send(client,
                   "GET / HTTP/1.1\r\nHost: site.test\r\nX-Sluice-Peer: pixel\r\n"
                   "X-Forwarded-For: 10.98.0.2\r\nTailscale-User-Login: me\r\n\r\n");
        return client->take();
    };
    CHECK(answer_to(World::elsewhere()).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    // A neighbour that forges a peer's address comes in through another socket.
    ClientFacts forged = World::tunnel();
    forged.through_tunnel = false;
    CHECK(answer_to(forged).starts_with("HTTP/1.1 403 "));
    CHECK(answer_to(World::tunnel("10.98.0.9")).starts_with("HTTP/1.1 403 "));
    CHECK(world.servers.empty());

    const auto peer = world.client(World::tunnel());
    world.send(peer, kGet);
    REQUIRE(world.servers.size() == 1);
    const std::string request = world.servers[0]->take();
    CHECK(request.find("X-Forwarded-For: 10.98.0.2\r\n") != std::string::npos);
    CHECK(request.find("X-Sluice-Peer: pixel\r\n") != std::string::npos);
    world.send(world.servers[0], kOk);
    CHECK(peer->take() == kOkOut);
    // A peer that was removed is refused on the connection that it still has.
    world.peers.clear();
    world.send(peer, kGet);
    CHECK(peer->take().starts_with("HTTP/1.1 403 "));
}

TEST_CASE("the welcome page says who is calling") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->backends[0].servers[0].kind = contract::ServerKind::kWelcome;
    snapshot->backends[0].servers[0].url = "builtin:welcome";
    world.peers["10.98.0.2"] = "<pixel> & \"co\"";
    world.apply(snapshot);
    const auto peer = world.client(World::tunnel());
    world.send(peer, kGet);
    const std::string page = peer->take();
    CHECK(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    CHECK(page.find("&lt;pixel&gt; &amp; &quot;co&quot;") != std::string::npos);
    CHECK(page.find("The route works") != std::string::npos);
    CHECK(page.find("Content-Length: " + std::to_string(body_of(page).size()) + "\r\n") !=
          std::string::npos);
    world.send(peer, "HEAD / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    const std::string head = peer->take();
    CHECK(head.find("Content-Length: " + std::to_string(body_of(page).size())) !=
          std::string::npos);
    CHECK(body_of(head).empty());

    const auto other = world.client();
    world.send(other, kGet);
    CHECK(other->take().find("not through the tunnel") != std::string::npos);
    CHECK(world.servers.empty());
    REQUIRE(world.report().servers.size() == 1);
    CHECK(world.report().servers[0].requests == 3);
}

TEST_CASE("bodies are framed anew in both directions") {
    struct Case {
        const char* request;
        const char* sent;
        const char* response;
        const char* answer;
    };
    const std::vector<Case> cases = {
        {"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT:x\t\r\n\r\n",
         "b\r\nhello world\r\n0\r\nT: x\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n"
         "1\r\na\r\n1\r\nb\r\n2;ext\r\ncd\r\n00\r\nTrailer: x\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"},
        {"0\r\n\r\n", "0\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    };
    for (const Case& tried : cases) {
        World world;
        world.apply(World::snapshot());
        const auto client = world.client();
        world.send(client, post("Transfer-Encoding: chunked\r\n", tried.request));
        REQUIRE(world.servers.size() == 1);
        const std::string sent = world.servers[0]->take();
        CHECK(sent.find("Transfer-Encoding: chunked\r\n") != std::string::npos);
        CHECK(body_of(sent) == tried.sent);
        world.send(world.servers[0], tried.response);
        CHECK(client->take() == tried.answer);
        // Both connections are good for another round.
        world.send(client, kGet);
        CHECK(world.servers.size() == 1);
        world.send(world.servers[0], kOk);
        CHECK(client->take() == kOkOut);
    }
}

TEST_CASE("pieces of a body are passed on as they come") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"));
    const auto server = world.servers.at(0);
    CHECK(body_of(server->take()) == "3\r\nabc\r\n");
    world.send(client, "3\r\nde");
    CHECK(server->take() == "2\r\nde\r\n");
    // The response need not wait for the request.
    world.send(server, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx");
    CHECK(client->take() ==
          "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
          "1\r\nx\r\n");
    world.send(client, "f\r\n0\r\n\r\n");
    CHECK(server->take() == "1\r\nf\r\n0\r\n\r\n");
    world.send(server, "\r\n0\r\n\r\n");
    CHECK(client->take() == "0\r\n\r\n");
}

TEST_CASE("a response that ends with its connection gets an end of its own") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nDate: d\r\n\r\nabc");
    CHECK(client->take() ==
          "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    world.servers[0]->end();
    world.run();
    CHECK(client->take() == "0\r\n\r\n");
    CHECK_FALSE(client->end_received);
    // The next request goes over another connection.
    world.send(client, kGet);
    CHECK(world.servers.size() == 2);
}

TEST_CASE("an HTTP/1.0 client gets plain bytes and the end of the connection") {
    World world;
    world.apply(World::snapshot());
    const auto answer_to = [&](const std::string& response, bool ends) {
        const auto client = world.client();
        world.send(client, "GET / HTTP/1.0\r\nHost: site.test\r\nConnection: keep-alive\r\n\r\n");
        const auto server = world.servers.back();
        CHECK(server->take().starts_with("GET / HTTP/1.1\r\n"));
        world.send(server, response);
        if (ends) server->end();
        world.run();
        CHECK(client->end_received);
        return client->take();
    };
    const std::string head = "HTTP/1.1 200 OK\r\nDate: d\r\n";
    CHECK(answer_to(head + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                    false) == head + "Connection: close\r\n\r\nabc");
    CHECK(answer_to(head + "Content-Length: 3\r\n\r\nabc", false) ==
          head + "Content-Length: 3\r\nConnection: close\r\n\r\nabc");
    CHECK(answer_to(head + "\r\nabc", true) == head + "Connection: close\r\n\r\nabc");
    // RFC 9110 15.2: it knows no informational responses.
    CHECK(answer_to(
              "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head + "Content-Length: 0\r\n\r\n",
              false) == head + "Content-Length: 0\r\nConnection: close\r\n\r\n");
    // Without a Host there is nothing to route by.
    const auto client = world.client();
    world.send(client, "GET / HTTP/1.0\r\n\r\n");
    CHECK(client->take().starts_with("HTTP/1.1 404 "));
}

TEST_CASE("answers to HEAD, 204 and 304 have no body, whatever their heads say") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, "HEAD / HTTP/1.1\r\nHost: site.test\r\n\r\n" + std::string(kGet) +
                           std::string(kGet));
    const auto server = world.servers.at(0);
    world.send(server, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\n\r\n");
    world.send(server, "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    CHECK(world.servers.size() == 1);
    // This one might be followed by the five bytes, so its connection is not used again.
    world.send(server, "HTTP/1.1 204 No Content\r\nDate: d\r\nContent-Length: 5\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 204 No Content\r\nDate: d\r\n\r\n");
    CHECK(server->gone);
}

TEST_CASE("requests that come at once are answered in their order, one after the other") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    std::string requests;
    for (int i = 0; i < 5; ++i)
        requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: site.test\r\n\r\n";
    requests += post("Content-Length: 5\r\n", "hello") +
                post("Transfer-Encoding: chunked\r\n", "2\r\nyo\r\n0\r\n\r\n");
    world.send(client, requests);
    REQUIRE(world.servers.size() == 1);
    const auto server = world.servers[0];
    for (int i = 0; i < 5; ++i) {
        const std::string request = server->take();
        CHECK(first_line(request) == "GET /" + std::to_string(i) + " HTTP/1.1");
        CHECK(request.find("GET", 1) == std::string::npos);
        world.send(server, kOk);
        CHECK(client->take() == kOkOut);
    }
    CHECK(body_of(server->take()) == "hello");
    world.send(server, kOk);
    CHECK(body_of(server->take()) == "2\r\nyo\r\n0\r\n\r\n");
    world.send(server, kOk);
    CHECK(client->take() == std::string(kOkOut) + std::string(kOkOut));
}

TEST_CASE("Connection: close is heard from either side, and concerns that side only") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    world.send(world.servers.at(0),
               "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    CHECK(client->take() == kOkOut);
    CHECK(world.servers[0]->gone);
    world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n" +
                           std::string(kGet));
    REQUIRE(world.servers.size() == 2);
    CHECK(world.servers[1]->take().find("Connection") == std::string::npos);
    world.send(world.servers[1], kOk);
    CHECK(client->take() ==
          "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    CHECK(client->end_received);
    CHECK_FALSE(client->gone);  // it may still be reading
    CHECK(world.servers[1]->take().empty());
    client->end();
    world.run();
    CHECK(client->gone);
    CHECK_FALSE(world.servers[1]->gone);
}

TEST_CASE("Expect: 100-continue is between client and server") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    const std::string request = post("Expect: 100-continue\r\nContent-Length: 5\r\n");
    world.send(client, request);
    const auto server = world.servers.at(0);
    CHECK(server->take().find("Expect: 100-continue\r\n") != std::string::npos);
    CHECK(client->take().empty());
    world.send(server, "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 100 Continue\r\n\r\n");
    world.send(client, "hello");
    CHECK(server->take() == "hello");
    world.send(server, kOk);
    CHECK(client->take() == kOkOut);
    CHECK_FALSE(server->gone);

    SECTION("a client that does not wait is not kept waiting") {
        world.send(client, request + "hello");
        CHECK(body_of(server->take()) == "hello");
        world.send(server, "HTTP/1.1 100 Continue\r\n\r\n" + std::string(kOk));
        CHECK(client->take() == "HTTP/1.1 100 Continue\r\n\r\n" + std::string(kOkOut));
    }
    SECTION("a final answer without the body ends both connections") {
        world.send(client, request);
        world.send(server, "HTTP/1.1 417 No\r\nDate: d\r\nContent-Length: 0\r\n\r\n");
        CHECK(client->take() ==
              "HTTP/1.1 417 No\r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        CHECK(client->end_received);
        CHECK(server->gone);
        // The body, should it come, is nobody's request.
        world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
        CHECK(client->take().empty());
        CHECK(world.servers.size() == 1);
    }
    SECTION("our own refusal ends the connection too") {
        world.send(client,
                   "POST / HTTP/1.1\r\nHost: other.test\r\nExpect: 100-continue\r\n"
                   "Content-Length: 5\r\n\r\n");
        CHECK(client->take().find("Connection: close") != std::string::npos);
        CHECK(client->end_received);
    }
}

TEST_CASE("informational responses are passed on, within reason") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, kGet);
    const auto server = world.servers.at(0);
    world.send(server,
               "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\n\r\n"
               "HTTP/1.1 102 Processing\r\n\r\n" +
                   std::string(kOk));
    CHECK(client->take() ==
          "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
          "HTTP/1.1 102 Processing\r\n\r\n" +
              std::string(kOkOut));
    SECTION("not without end") {
        world.send(client, kGet);
        std::string many;
        for (int i = 0; i < 17; ++i)
            many += "HTTP/1.1 102 Processing\r\n\r\n";
        world.send(server, many + std::string(kOk));
        CHECK(client->take().find("HTTP/1.1 502") != std::string::npos);
        CHECK(server->gone);
    }
    SECTION("nobody switches protocols unasked") {
        world.send(client, kGet);
        world.send(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
        CHECK(client->take().starts_with("HTTP/1.1 502 "));
        CHECK(server->gone);
    }
}

TEST_CASE("an answer before the request's end ends the connection after it") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, post("Content-Length: 100\r\n", "part"));
    const auto server = world.servers.at(0);
    world.send(server, "HTTP/1.1 413 Too Large\r\nDate: d\r\nContent-Length: 0\r\n\r\n");
    CHECK(client->take() ==
          "HTTP/1.1 413 Too Large\r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    CHECK(client->end_received);
    CHECK(server->gone);
    world.send(client, kGet);  // inside the body that was announced
    CHECK(client->take().empty());
    CHECK(world.servers.size() == 1);
    world.pass(std::chrono::seconds(3));
    CHECK(client->gone);

    SECTION("even if the server hangs up on the rest of the body") {
        const auto second = world.client();
        world.send(second, post("Content-Length: 100\r\n", "part"));
        const auto hasty = world.servers.at(1);
        hasty->send("HTTP/1.1 413 Too Large\r\nDate: d\r\nContent-Length: 0\r\n\r\n");
        hasty->end();
        second->send("more");
        world.run();
        CHECK(second->take().starts_with("HTTP/1.1 413 "));
    }
}

}  // namespace
}  // namespace sluice::http
