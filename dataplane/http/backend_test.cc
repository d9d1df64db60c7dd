// Which server is asked, by what became of requests, by health checks, cookies and names.
#include "dataplane/http/backend.h"

#include <catch2/catch.hpp>
#include <map>

#include "dataplane/http/sticky.h"
#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using namespace std::chrono_literals;
using testing::FarEnd;
using testing::Reachable;
using testing::World;

const std::string kRequest = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

std::string answer_with(int status) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nDate: d\r\nContent-Length: 0\r\n\r\n";
}

const contract::ServerReport& server_of(const contract::WorkerReport& report, uint16_t port) {
    for (const auto& server : report.servers) {
        if (server.url.ends_with(":" + std::to_string(port))) return server;
    }
    FAIL("no such server");
    return report.servers.front();
}

std::string state_of(const World& world, uint16_t port) {
    const auto report = world.report();
    return server_of(report, port).state;
}

// One request on a connection of its own. The port of the server that was asked last.
struct Asked {
    uint16_t port = 0;
    std::string response;
};
Asked ask(World& world, const std::map<uint16_t, int>& statuses = {},
          const std::string& request = kRequest) {
    std::map<uint16_t, uint64_t> before;
    for (const auto& server : world.report().servers)
        before[server.address.port] = server.requests;
    const auto client = world.client();
    world.send(client, request);
    Asked asked;
    for (const auto& server : world.report().servers) {
        if (server.requests > before[server.address.port]) asked.port = server.address.port;
    }
    const bool waits = std::ranges::any_of(
        world.servers, [](const auto& server) { return server->has_news() && !server->gone; });
    if (waits) {
        const auto server = world.asked();
        server->take();
        const auto status = statuses.find(asked.port);
        world.send(server, answer_with(status == statuses.end() ? 200 : status->second));
    }
    asked.response = client->take();
    client->reset();
    world.run();
    return asked;
}

std::map<uint16_t, int> count(World& world, int requests,
                              const std::map<uint16_t, int>& statuses = {}) {
    std::map<uint16_t, int> counts;
    for (int i = 0; i < requests; ++i)
        ++counts[ask(world, statuses).port];
    return counts;
}

TEST_CASE("a server that keeps failing rests, and comes back slowly") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].ejection = {.failures = 3, .rest = 10s, .slow_start = 10s};
    world.apply(snapshot);
    CHECK(count(world, 6, {{8001, 503}}).at(8001) == 3);
    CHECK(state_of(world, 8001) == "ejected");
    CHECK(count(world, 20, {{8001, 503}}) == std::map<uint16_t, int>{{8002, 20}});

    world.pass(10s);
    CHECK(state_of(world, 8001) == "recovering");
    SECTION("with a tenth of its weight at first") {
        CHECK(count(world, 22).at(8001) == 2);
        world.pass(5s);  // half of it
        CHECK(count(world, 30).at(8001) == 10);
        world.pass(5s);
        CHECK(state_of(world, 8001) == "serving");
        CHECK(count(world, 20).at(8001) == 10);
    }
    SECTION("and is ejected by the first failure") {
        CHECK(count(world, 22, {{8001, 503}}).at(8001) == 1);
        CHECK(state_of(world, 8001) == "ejected");
    }
    SECTION("a reload changes nothing of that") {
        auto next = World::snapshot({8001, 8002});
        next->backends[0].ejection = snapshot->backends[0].ejection;
        next->backends[0].servers[0].weight = 5;
        world.apply(next);
        CHECK(state_of(world, 8001) == "recovering");
    }
}

TEST_CASE("if all are ejected, all are asked") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].ejection.failures = 1;
    world.apply(snapshot);
    count(world, 2, {{8001, 502}, {8002, 504}});
    CHECK(state_of(world, 8001) == "ejected");
    CHECK(state_of(world, 8002) == "ejected");
    CHECK(count(world, 4) == std::map<uint16_t, int>{{8001, 2}, {8002, 2}});
}

TEST_CASE("ejection can be switched off") {
    World world;
    auto snapshot = World::snapshot({8001});
    snapshot->backends[0].ejection.failures = 0;
    world.apply(snapshot);
    count(world, 20, {{8001, 503}});
    CHECK(state_of(world, 8001) == "serving");
}

// The connections that health checks have open now, answered with this status.
void answer_checks(World& world, const std::map<uint16_t, int>& statuses) {
    for (size_t i = 0; i < world.servers.size(); ++i) {
        const auto& server = world.servers[i];
        if (server->gone || !server->has_news()) continue;
        const std::string question = server->take();
        REQUIRE(question.starts_with("GET /health HTTP/1.1\r\nHost: "));
        CHECK(question.find("\r\nConnection: close\r\n\r\n") != std::string::npos);
        const auto status = statuses.find(world.attempts.at(i));
        if (status == statuses.end()) continue;  // silence
        world.send(server, "HTTP/1.1 103 Early Hints\r\n\r\n" + answer_with(status->second));
        CHECK(server->gone);
    }
}

TEST_CASE("servers are checked, at once and then at intervals") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].health = contract::HealthCheck{.path = "/health",
                                                         .interval = 10s,
                                                         .timeout = 2s,
                                                         .healthy_after = 2,
                                                         .unhealthy_after = 2};
    snapshot->backends[0].ejection.slow_start = 1s;
    world.apply(snapshot);
    world.pass(4ms);
    REQUIRE(world.servers.size() == 2);
    answer_checks(world, {{8001, 500}, {8002, 302}});
    CHECK(state_of(world, 8001) == "serving");  // once is not enough
    world.pass(11s);
    REQUIRE(world.servers.size() == 4);
    if (GENERATE(true, false)) {
        answer_checks(world, {{8001, 500}, {8002, 399}});
    } else {  // silence
        answer_checks(world, {{8002, 200}});
        world.pass(2s);
    }
    CHECK(state_of(world, 8001) == "unhealthy");
    CHECK(count(world, 6) == std::map<uint16_t, int>{{8002, 6}});

    SECTION("it comes back after enough good ones, slowly") {
        world.pass(11s);
        answer_checks(world, {{8001, 200}, {8002, 200}});
        CHECK(state_of(world, 8001) == "unhealthy");
        world.pass(11s);
        answer_checks(world, {{8001, 200}, {8002, 200}});
        CHECK(state_of(world, 8001) == "recovering");
        world.pass(1s);
        CHECK(state_of(world, 8001) == "serving");
    }
    SECTION("without checks it counts as well") {
        auto next = World::snapshot({8001, 8002});
        world.apply(next);
        CHECK(state_of(world, 8001) == "serving");
        const size_t attempts = world.attempts.size();
        world.pass(60s);
        CHECK(world.attempts.size() == attempts);
    }
    SECTION("the state stays in a reload that keeps the server") {
        auto next = World::snapshot({8001, 8003});
        next->backends[0].health = snapshot->backends[0].health;
        world.apply(next);
        CHECK(state_of(world, 8001) == "unhealthy");
    }
}

TEST_CASE("a server that cannot be connected to is unhealthy") {
    World world;
    auto snapshot = World::snapshot({8001});
    snapshot->backends[0].health =
        contract::HealthCheck{.path = "/health", .interval = 10s, .unhealthy_after = 1};
    world.reachable[8001] = GENERATE(Reachable::kRefused, Reachable::kNotAtOnce);
    world.apply(snapshot);
    world.pass(4ms);
    CHECK(state_of(world, 8001) == "unhealthy");
    // It is asked all the same, because nobody else is there.
    world.reachable[8001] = Reachable::kYes;
    CHECK(ask(world).response.starts_with("HTTP/1.1 200 "));
}

TEST_CASE("requests go to whoever has the fewest") {
    World world;
    auto snapshot = World::snapshot({8001, 8002});
    snapshot->backends[0].balance = contract::Balance::kLeastConnections;
    world.apply(snapshot);
    std::vector<std::shared_ptr<FarEnd>> clients;
    for (int i = 0; i < 2; ++i) {
        clients.push_back(world.client());
        world.send(clients.back(), kRequest);
    }
    CHECK(server_of(world.report(), 8001).active_requests == 1);
    CHECK(server_of(world.report(), 8002).active_requests == 1);
    world.send(world.servers.at(0), answer_with(200));
    const uint16_t free = world.attempts.at(0);
    CHECK(server_of(world.report(), free).active_requests == 0);
    for (int i = 0; i < 3; ++i)
        CHECK(ask(world).port == free);
}

std::string cookie_in(const std::string& response) {
    const size_t begin = response.find("Set-Cookie: ");
    if (begin == std::string::npos) return {};
    return response.substr(begin + 12, response.find('\r', begin) - begin - 12);
}

TEST_CASE("a client keeps its server by a cookie") {
    World world;
    auto snapshot = World::snapshot({8001, 8002, 8003});
    snapshot->backends[0].sticky = contract::StickyCookie{.name = "lb", .max_age = 3600s};
    snapshot->backends[0].ejection.failures = 1;
    world.apply(snapshot);
    const Asked first = ask(world);
    const std::string cookie = cookie_in(first.response);
    CHECK(cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"));
    REQUIRE(cookie.size() > 19);
    CHECK(cookie.starts_with("lb="));
    CHECK(cookie.find("8001") == std::string::npos);
    const std::string value = cookie.substr(0, 19);
    const auto request = [](const std::string& with) {
        return "GET / HTTP/1.1\r\nHost: site.test\r\nCookie: a=b; " + with + "\r\n\r\n";
    };
    for (int i = 0; i < 5; ++i) {
        const Asked again = ask(world, {}, request(value));
        CHECK(again.port == first.port);
        CHECK(cookie_in(again.response).empty());
    }
    SECTION("also after a reload, and at another node") {
        auto next = World::snapshot({8003, 8002, 8001, 8004});
        next->backends[0].sticky = snapshot->backends[0].sticky;
        World other;
        for (World* place : {&world, &other}) {
            place->apply(next);
            CHECK(ask(*place, {}, request(value)).port == first.port);
        }
    }
    SECTION("a server that is not well is replaced, and so is the cookie") {
        ask(world, {{first.port, 503}}, request(value));
        const Asked moved = ask(world, {}, request(value));
        CHECK(moved.port != first.port);
        const std::string other = cookie_in(moved.response);
        CHECK(other.starts_with("lb="));
        CHECK_FALSE(other.starts_with(value));
        CHECK(ask(world, {}, request(other.substr(0, 19))).port == moved.port);
    }
    SECTION("a value that names nobody is as good as none") {
        for (const char* wrong : {"lb=", "lb=0123456789abcdef", "lb=127.0.0.1", "xlb=1", "lb"})
            CHECK(cookie_in(ask(world, {}, request(wrong)).response).starts_with("lb="));
    }
}

TEST_CASE("sticky cookies as they are configured") {
    CHECK(sticky_cookie({.name = "x", .secure = false, .http_only = false, .same_site = ""}, "t") ==
          "x=t; Path=/");
    CHECK(sticky_cookie({.name = "x", .same_site = "None"}, "t") ==
          "x=t; Path=/; HttpOnly; Secure; SameSite=None");
    CHECK(sticky_token("a", "s").size() == 16);
    CHECK(sticky_token("a", "s") != sticky_token("b", "s"));
    CHECK(sticky_token("a", "s") != sticky_token("a", "t"));
}

TEST_CASE("a server with a name is at each of its addresses, as they are now") {
    World world;
    auto snapshot = World::snapshot({8001});
    contract::ServerConfig& named = snapshot->backends[0].servers[0];
    named.dns_name = "app.test";
    named.address.address = {};
    named.url = "http://app.test:8001";
    world.apply(snapshot);
    CHECK(ask(world).response.starts_with("HTTP/1.1 503 "));

    const auto book_of = [](std::vector<std::string> texts) {
        auto book = std::make_shared<contract::AddressBook>();
        for (const std::string& text : texts)
            book->addresses["app.test"].push_back(*IpAddress::parse(text));
        return book;
    };
    world.proxy.set_addresses(book_of({"192.0.2.1", "192.0.2.2"}), world.now);
    for (int i = 0; i < 4; ++i)
        CHECK(ask(world).response.starts_with("HTTP/1.1 200 "));
    auto report = world.report();
    REQUIRE(report.servers.size() == 2);
    CHECK(report.servers[0].requests == 2);
    CHECK(report.servers[1].requests == 2);

    // A request in progress ends where it is; the address that is gone gets no other one.
    const auto client = world.client();
    world.send(client, kRequest);
    const auto busy = world.asked();
    world.proxy.set_addresses(book_of({"192.0.2.3"}), world.now);
    world.run();
    busy->take();
    world.send(busy, answer_with(200));
    CHECK(client->take().starts_with("HTTP/1.1 200 "));
    CHECK(busy->gone);
    CHECK(ask(world).response.starts_with("HTTP/1.1 200 "));
    report = world.report();
    REQUIRE(report.servers.size() == 1);
    CHECK(report.servers[0].address.text() == "192.0.2.3:8001");

    world.apply(snapshot);  // a reload knows the addresses
    CHECK(ask(world).response.starts_with("HTTP/1.1 200 "));
}

TEST_CASE("connections wait as long as the backend says") {
    World world;
    auto snapshot = World::snapshot({8001});
    snapshot->backends[0].idle_timeout = 7s;
    world.apply(snapshot);
    ask(world);
    world.pass(6s);
    CHECK_FALSE(world.servers.at(0)->gone);
    world.pass(1s + TimerWheel::kTick);
    CHECK(world.servers.at(0)->gone);
}

TEST_CASE("connections under other terms are not used again") {
    World world;
    auto snapshot = World::snapshot({8001});
    snapshot->backends[0].servers[0].tls = std::make_shared<contract::ServerTls>();
    world.apply(snapshot);
    ask(world);
    const auto busy = world.client();
    world.send(busy, kRequest);
    REQUIRE(world.servers.size() == 1);
    auto next = World::snapshot({8001});
    next->backends[0].servers[0].tls = std::make_shared<contract::ServerTls>();
    world.apply(next);
    CHECK_FALSE(world.servers[0]->gone);
    world.send(world.servers[0], answer_with(200));
    CHECK(world.servers[0]->gone);
}

}  // namespace
}  // namespace sluice::http
