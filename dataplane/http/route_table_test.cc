#include "dataplane/http/route_table.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

std::vector<contract::RouteConfig> routes_of(
    const std::vector<std::pair<std::vector<std::string>, std::string>>& list) {
    std::vector<contract::RouteConfig> routes;
    for (const auto& [hosts, prefix] : list) {
        contract::RouteConfig route;
        route.hosts = hosts;
        route.path_prefix = prefix;
        routes.push_back(route);
    }
    return routes;
}

// -1: none, -2: the readings differ.
int match(const RouteTable& table, const std::string& host, const std::string& raw) {
    std::string storage(raw.size(), '?');
    std::string generous(raw.size(), '?');
    const auto path = normalise_path(raw, storage, generous);
    REQUIRE(path);
    const auto route = table.match(host, *path);
    if (route) return static_cast<int>(*route);
    return route.error() == RouteTable::Miss::kNoRoute ? -1 : -2;
}

TEST_CASE("the longest prefix by whole segments takes the request") {
    const RouteTable table(routes_of({{{"a.test"}, "/"},
                                      {{"a.test"}, "/api"},
                                      {{"a.test"}, "/api/v1/"},
                                      {{"b.test", "c.test"}, "/only"},
                                      {{"a.test"}, "/caf%c3%a9"}}));
    CHECK(match(table, "a.test", "/") == 0);
    CHECK(match(table, "a.test", "/apis") == 0);
    CHECK(match(table, "a.test", "/ap") == 0);
    CHECK(match(table, "a.test", "/api") == 1);
    CHECK(match(table, "a.test", "/api/") == 1);
    CHECK(match(table, "a.test", "/api/v12") == 1);
    CHECK(match(table, "a.test", "/api/v1") == 2);
    CHECK(match(table, "a.test", "/api/v1/x/y/z") == 2);
    CHECK(match(table, "a.test", "/Api") == 0);
    CHECK(match(table, "a.test", "/caf%C3%A9/x") == 4);
    CHECK(match(table, "b.test", "/only/x") == 3);
    CHECK(match(table, "c.test", "/only") == 3);
    CHECK(match(table, "b.test", "/") == -1);
    CHECK(match(table, "d.test", "/") == -1);
    CHECK(match(table, "", "/") == -1);
}

TEST_CASE("exact hosts go before wildcards, which stand for one label") {
    const RouteTable table(routes_of(
        {{{"*.x.test"}, "/"}, {{"a.x.test"}, "/api"}, {{"*.x.test"}, "/w"}, {{"x.test"}, "/"}}));
    CHECK(match(table, "b.x.test", "/") == 0);
    CHECK(match(table, "b.x.test", "/w/1") == 2);
    CHECK(match(table, "a.x.test", "/api/1") == 1);
    CHECK(match(table, "a.x.test", "/other") == 0);
    CHECK(match(table, "x.test", "/") == 3);
    CHECK(match(table, "c.b.x.test", "/") == -1);
    CHECK(match(table, ".x.test", "/") == -1);
}

TEST_CASE("of two routes for the same the first counts") {
    const RouteTable table(routes_of({{{"a"}, "/x"}, {{"a"}, "/x/"}, {{"a"}, "/x"}}));
    CHECK(match(table, "a", "/x") == 0);
}

TEST_CASE("paths that a server may read as another route's are refused") {
    const RouteTable table(routes_of(
        {{{"a.test"}, "/"}, {{"a.test"}, "/admin"}, {{"one.test"}, "/"}, {{"a.test"}, "/at/x@y"}}));
    for (const char* path : {"/%2fadmin", "/x%2f..%2fadmin", "/admin%2f", "/x/..%2fadmin",
                             "/admin;x", "/x//..%2f/../admin", "/admin%3bx", "/%5cadmin",
                             "/x%5c..%5cadmin", "/a%2f..%2fadmin/y", "/at/x%40y"}) {
        INFO(path);
        CHECK(match(table, "one.test", path) == 2);
        if (std::string(path) == "/admin%2f") {
            CHECK(match(table, "a.test", path) == -2);  // "/admin%2F" is no "/admin"
        } else if (std::string(path) == "/x//..%2f/../admin") {
            CHECK(match(table, "a.test", path) != 1);
        } else {
            CHECK(match(table, "a.test", path) == -2);
        }
    }
    // Within one route nothing is hidden by them.
    CHECK(match(table, "a.test", "/admin/a%2fb;c") == 1);
    CHECK(match(table, "a.test", "/group%2fproject") == 0);
    CHECK(match(table, "a.test", "/at/x@y") == 3);
    CHECK(match(table, "nobody.test", "/%2fadmin") == -1);
}

contract::RouteConfig route_for(const std::string& host, const std::string& prefix) {
    return routes_of({{{host}, prefix}}).front();
}

TEST_CASE("an exact path goes before any prefix, and is exact") {
    std::vector<contract::RouteConfig> routes = routes_of({{{"a"}, "/x"}, {{"a"}, "/"}});
    routes.push_back(route_for("a", "/"));
    routes.back().path = "/x/y";
    const RouteTable table(routes);
    CHECK(match(table, "a", "/x/y") == 2);
    CHECK(match(table, "a", "/x/%79") == 2);
    CHECK(match(table, "a", "/x/y/") == 0);
    CHECK(match(table, "a", "/x/y/z") == 0);
    CHECK(match(table, "a", "/x/y;z") == -2);
    CHECK(match(table, "a", "/x%2fy") == -2);
    CHECK(match(table, "a", "/") == 1);
}

TEST_CASE("any host comes last, unless its priority says otherwise") {
    std::vector<contract::RouteConfig> routes =
        routes_of({{{"*"}, "/long/prefix"}, {{"*.test"}, "/long"}, {{"a.test"}, "/"}});
    {
        const RouteTable table(routes);
        CHECK(match(table, "a.test", "/long/prefix") == 2);
        CHECK(match(table, "b.test", "/long/prefix") == 1);
        CHECK(match(table, "b.c.test", "/long/prefix") == 0);
        CHECK(match(table, "", "/long/prefix") == 0);
        CHECK(match(table, "b.test", "/") == -1);
    }
    routes[0].priority = 1;
    const RouteTable table(routes);
    CHECK(match(table, "a.test", "/long/prefix/x") == 0);
    CHECK(match(table, "a.test", "/long") == 2);
    // The higher priority hides behind no spelling.
    CHECK(match(table, "a.test", "/long%2fprefix") == -2);
    routes[2].priority = 2;
    CHECK(match(RouteTable(routes), "a.test", "/long%2fprefix") == 2);
}

TEST_CASE("all conditions must hold, and more of them go first") {
    std::vector<contract::RouteConfig> routes(5, route_for("a", "/p"));
    routes[1].methods = {"GET", "HEAD"};
    routes[2].methods = {"GET"};
    routes[2].headers = {{"x-canary", "1"}};
    routes[3].clients = {*IpPrefix::parse("10.0.0.0/8"), *IpPrefix::parse("10.1.0.0/16"),
                         *IpPrefix::parse("fd00::/8")};
    routes[3].priority = 1;
    routes[4].headers = {{"x-any", std::nullopt}};
    const RouteTable table(routes);
    const auto with = [&](std::string_view method, std::vector<wire::Http1Field> fields,
                          const char* client = "192.0.2.1") {
        const auto found =
            table.match("a", std::string_view("/p/q"),
                        {.method = method, .fields = fields, .client = *IpAddress::parse(client)});
        return found ? static_cast<int>(*found) : -1;
    };
    CHECK(with("POST", {}) == 0);
    CHECK(with("GET", {}) == 1);
    CHECK(with("get", {}) == 0);
    CHECK(with("GET", {{"X-Canary", "1"}}) == 2);
    CHECK(with("GET", {{"X-Canary", "2"}}) == 1);
    CHECK(with("GET", {{"X-Canary", "2"}, {"x-canary", "1"}}) == 2);
    CHECK(with("POST", {{"X-Canary", "1"}}) == 0);
    CHECK(with("POST", {{"X-Any", ""}}) == 4);
    CHECK(with("GET", {{"X-Any", ""}}) == 1);
    CHECK(with("GET", {{"x-canary", "1"}}, "10.200.0.1") == 3);
    CHECK(with("GET", {}, "10.255.255.255") == 3);
    CHECK(with("GET", {}, "11.0.0.0") == 1);
    CHECK(with("GET", {}, "9.255.255.255") == 1);
    CHECK(with("GET", {}, "fdff::1") == 3);
    CHECK(with("GET", {}, "fe00::") == 1);
}

TEST_CASE("conditions that do not hold leave the request to less specific routes") {
    std::vector<contract::RouteConfig> routes = routes_of({{{"a"}, "/x/y"}, {{"a"}, "/x"}});
    routes[0].methods = {"PUT"};
    const RouteTable table(routes);
    CHECK(table.match("a", std::string_view("/x/y"),
                      {.method = "PUT", .fields = {}, .client = {}}) == 0U);
    CHECK(table.match("a", std::string_view("/x/y"),
                      {.method = "GET", .fields = {}, .client = {}}) == 1U);
}

TEST_CASE("no routes, no match") {
    const RouteTable table({});
    CHECK(match(table, "a", "/") == -1);
}

}  // namespace
}  // namespace sluice::http
