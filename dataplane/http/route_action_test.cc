#include "dataplane/http/route_action.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

// "PREFIX|PATH|STRIPPED", or the status of a refusal.
std::string rewrite(const std::string& strip, const std::string& add, const std::string& raw) {
    contract::RouteConfig route;
    route.strip_prefix = strip;
    route.add_prefix = add;
    std::string storage(raw.size(), '?');
    std::string generous(raw.size(), '?');
    const auto path = normalise_path(raw, storage, generous);
    REQUIRE(path);
    RequestTarget target;
    target.path = *path;
    target.sent = path->path;
    std::vector<char> scratch(raw.size());
    const RouteAction action(route);
    const auto done = action.rewrite(target, scratch);
    if (!done) return std::to_string(wire::text_of(done.error()).status);
    return std::string(done->prefix) + "|" + std::string(done->path) + "|" +
           std::string(done->stripped);
}

TEST_CASE("prefixes are taken off and put before by whole segments") {
    CHECK(rewrite("", "", "/a/b") == "|/a/b|");
    CHECK(rewrite("/a", "", "/a/b") == "|/b|/a");
    CHECK(rewrite("/a/", "", "/a/b") == "|/b|/a");
    CHECK(rewrite("/a", "", "/a") == "|/|/a");
    CHECK(rewrite("/a", "", "/a/") == "|/|/a");
    CHECK(rewrite("/a", "", "/ab") == "|/ab|");
    CHECK(rewrite("/a", "", "/b/a") == "|/b/a|");
    CHECK(rewrite("/a%2fb", "", "/a%2Fb/c") == "|/c|/a%2Fb");
    CHECK(rewrite("", "/x/", "/a") == "/x|/a|");
    CHECK(rewrite("", "/", "/a") == "|/a|");
    CHECK(rewrite("/a", "/x/y", "/a/b") == "/x/y|/b|/a");
    CHECK(rewrite("/a", "/x", "/a") == "/x|/|/a");
    // A path that begins with two slashes could be taken for a host.
    CHECK(rewrite("/a", "", "/a//evil.test/x") == "|/evil.test/x|/a");
    CHECK(rewrite("/a", "/x", "/a///b") == "/x|/b|/a");
}

TEST_CASE("no spelling leads out of a prefix") {
    for (const char* path : {"/a/..%2fb", "/a/..%5cb", "/a/x%2f..%2f..%2fb", "/a/..%2f..%2fb"}) {
        INFO(path);
        std::string storage(64, '?');
        std::string generous(64, '?');
        // Some are refused as they come, because no reading of the whole path stays below the root.
        if (!normalise_path(path, storage, generous)) continue;
        CHECK(rewrite("/a", "", path) == "400");
        CHECK(rewrite("/a", "/x", path) == "400");
    }
    CHECK(rewrite("", "/x", "/b%2fc") == "/x|/b%2Fc|");
    CHECK(rewrite("/a", "/x", "/a/b%2f..%2fc") == "/x|/b%2F..%2Fc|/a");
    // Dot segments that are none in any disguise were resolved before.
    CHECK(rewrite("/a", "", "/a/%2e%2e/b") == "|/b|");
    CHECK(rewrite("/a", "", "/b/../a/c") == "|/c|/a");
}

TEST_CASE("the asterisk of OPTIONS has no path to rewrite") {
    contract::RouteConfig route;
    route.add_prefix = "/x";
    RequestTarget target;
    target.path = {"/", "/"};
    target.sent = "*";
    const RouteAction action(route);
    const auto done = action.rewrite(target, {});
    REQUIRE(done);
    CHECK(done->path == "*");
    CHECK(done->prefix.empty());
}

TEST_CASE("where a redirect leads") {
    RequestTarget target;
    target.authority = {"site.test", 8443, "site.test:8443"};
    target.path = {"/a/b", "/a/b"};
    target.query = "?q=1";
    const auto leads = [&](const contract::Redirect& redirect, bool encrypted = true) {
        return redirect_location(redirect, target, encrypted).value_or("none");
    };
    CHECK(leads({}) == "https://site.test:8443/a/b?q=1");
    CHECK(leads({.scheme = "https"}) == "https://site.test:8443/a/b?q=1");
    CHECK(leads({.scheme = "https"}, false) == "https://site.test/a/b?q=1");
    CHECK(leads({.scheme = "http"}) == "http://site.test/a/b?q=1");
    CHECK(leads({.host = "other.test"}) == "https://other.test/a/b?q=1");
    CHECK(leads({.host = "other.test", .port = 81}) == "https://other.test:81/a/b?q=1");
    CHECK(leads({.port = 443}) == "https://site.test/a/b?q=1");
    CHECK(leads({.path = "/new"}) == "https://site.test:8443/new?q=1");
    target.authority = {};
    CHECK(leads({}) == "none");
    CHECK(leads({.host = "other.test"}) == "https://other.test/a/b?q=1");
}

TEST_CASE("what an auth service says, clients cannot say to the backend that believes it") {
    contract::Snapshot snapshot;
    snapshot.forward_auths.push_back({.response_headers = {"remote-user", "authorization"}});
    snapshot.routes.resize(3);
    snapshot.routes[0].forward_auth = 0;
    snapshot.routes[0].backend = 1;
    snapshot.routes[1].backend = 1;
    snapshot.routes[2].backend = 2;
    const auto actions = make_route_actions(snapshot);
    REQUIRE(actions.size() == 3);
    CHECK(actions[0].reserved == std::vector<std::string>{"authorization", "remote-user"});
    CHECK(actions[1].reserved == std::vector<std::string>{"remote-user"});
    CHECK(actions[2].reserved.empty());
}

}  // namespace
}  // namespace sluice::http
