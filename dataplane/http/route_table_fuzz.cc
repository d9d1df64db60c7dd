// A table and requests, drawn from the input, against a matcher that compares one route after the
// other; and paths of any bytes against the promises of path.h.
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/http/route_table.h"

namespace {

using namespace sluice;
using namespace sluice::http;

class Input {
  public:
    Input(const uint8_t* data, size_t size) : rest_(data, size) {}
    bool empty() const { return rest_.empty(); }
    uint8_t byte() {
        if (rest_.empty()) return 0;
        const uint8_t value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }

  private:
    Bytes rest_;
};

// Few names, so that they meet.
std::string draw_host(Input& input, bool wildcard) {
    static const char* const kLabels[] = {"a", "b", "test", "x-y"};
    const uint8_t drawn = input.byte();
    std::string host = wildcard && drawn % 4 == 0 ? "*" : kLabels[drawn / 4 % 4];
    for (int more = drawn / 16 % 3; more > 0; --more) {
        host += ".";
        host += kLabels[input.byte() % 4];
    }
    return host;
}

std::string draw_path(Input& input) {
    static const char* const kPieces[] = {"/",      "/a",  "/b",   "/ab",   "/a/b", "//",
                                          "/..",    "/.",  "%2f",  "%61",   ";x",   "%5C",
                                          "%2e%2E", "%40", "/c@d", "%2525", "%"};
    std::string path = "/";
    for (int more = input.byte() % 8; more > 0; --more)
        path += kPieces[input.byte() % std::size(kPieces)];
    return path;
}

struct Spelled {
    std::string path;
    std::string generous;
};
std::optional<Spelled> spell(const std::string& raw) {
    std::string storage(raw.size(), '?');
    std::string generous(raw.size(), '?');
    const auto path = normalise_path(raw, storage, generous);
    if (!path) return std::nullopt;
    return Spelled{std::string(path->path), std::string(path->generous)};
}

bool has_prefix(std::string_view path, std::string prefix) {
    while (prefix.ends_with('/'))
        prefix.pop_back();
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}
size_t length_of(std::string prefix) {
    while (prefix.ends_with('/'))
        prefix.pop_back();
    return prefix.size();
}
// 2: exact, 1: wildcard, 0: any, -1: not at all.
int host_rank(const contract::RouteConfig& route, const std::string& host) {
    int rank = -1;
    const size_t dot = host.find('.');
    for (const std::string& name : route.hosts) {
        if (name == host) rank = std::max(rank, 2);
        if (dot != std::string::npos && dot > 0 && name == "*" + host.substr(dot))
            rank = std::max(rank, 1);
        if (name == "*") rank = std::max(rank, 0);
    }
    return rank;
}

// The size of the path condition that holds; -1: none does.
int path_rank(const contract::RouteConfig& route, std::string_view path) {
    const std::string& written = route.path ? *route.path : route.path_prefix;
    const auto spelled = spell(written).value_or(Spelled{written, written});
    int rank = -1;
    for (const std::string& wanted : {spelled.path, spelled.generous}) {
        if (route.path ? path == wanted : has_prefix(path, wanted))
            rank = std::max(rank, static_cast<int>(route.path ? wanted.size() : length_of(wanted)));
    }
    return rank;
}

bool conditions_hold(const contract::RouteConfig& route, const RouteFacts& facts) {
    if (!route.methods.empty() && std::ranges::count(route.methods, facts.method) == 0)
        return false;
    for (const contract::HeaderMatch& header : route.headers) {
        bool found = false;
        for (const wire::Http1Field& field : facts.fields)
            found = found || (wire::equals_ignoring_case(field.name, header.name) &&
                              field.value == header.value.value_or(std::string(field.value)));
        if (!found) return false;
    }
    return route.clients.empty() || std::ranges::any_of(route.clients, [&](const IpPrefix& prefix) {
               return prefix.contains(facts.client);
           });
}

std::optional<uint32_t> naive_match(const std::vector<contract::RouteConfig>& routes,
                                    const std::string& host, std::string_view path,
                                    const RouteFacts& facts) {
    using Rank = std::tuple<int32_t, int, bool, int, size_t>;
    std::optional<uint32_t> best;
    Rank best_rank;
    for (uint32_t i = 0; i < routes.size(); ++i) {
        const contract::RouteConfig& route = routes[i];
        if (host_rank(route, host) < 0 || path_rank(route, path) < 0 ||
            !conditions_hold(route, facts))
            continue;
        const size_t conditions = route.headers.size() + (route.methods.empty() ? 0U : 1U) +
                                  (route.clients.empty() ? 0U : 1U);
        const Rank rank{route.priority.value_or(0), host_rank(route, host), route.path.has_value(),
                        path_rank(route, path), conditions};
        if (best && rank <= best_rank) continue;
        best = i;
        best_rank = rank;
    }
    return best;
}

void draw_conditions(Input& input, contract::RouteConfig& route) {
    static const char* const kClients[] = {"10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0",
                                           "fd00::/8",   "::/0",        "10.1.2.3/32"};
    const uint8_t kinds = input.byte();
    if (kinds & 1) route.priority = static_cast<int8_t>(input.byte()) % 3;
    if (kinds & 2) route.methods = {input.byte() % 2 == 0 ? "GET" : "POST"};
    if (kinds & 4) route.headers.push_back({"x-a", std::nullopt});
    if (kinds & 8) route.headers.push_back({"x-b", input.byte() % 2 == 0 ? "1" : "2"});
    if (kinds & 16) {
        for (int more = 1 + input.byte() % 3; more > 0; --more)
            route.clients.push_back(*IpPrefix::parse(kClients[input.byte() % std::size(kClients)]));
    }
    if (kinds & 32) route.path = draw_path(input);
    if (kinds & 64) route.hosts.emplace_back("*");
}

RouteFacts draw_facts(Input& input) {
    static constexpr wire::Http1Field kFields[] = {{"X-A", "x"}, {"x-b", "1"}, {"X-B", "2"}};
    static const IpAddress kClients[] = {
        *IpAddress::parse("10.1.2.3"), *IpAddress::parse("10.1.9.9"), *IpAddress::parse("11.0.0.1"),
        *IpAddress::parse("fd00::1"),  *IpAddress::parse("2001::1"),  IpAddress()};
    const uint8_t drawn = input.byte();
    const size_t first = drawn / 2 % 4;
    return {.method = drawn % 2 == 0 ? "GET" : "POST",
            .fields = std::span(kFields).subspan(first, std::min<size_t>(drawn / 8 % 4, 3 - first)),
            .client = kClients[input.byte() % std::size(kClients)]};
}

void check_path(const std::string& raw) {
    const auto spelled = spell(raw);
    if (!spelled) return;
    const std::string& path = spelled->path;
    SLUICE_CHECK(path.starts_with('/') && !path.starts_with("//") && path.size() <= raw.size());
    for (const char* dots : {"/./", "/../", "/.;", "/..;", "\\", "#"})
        SLUICE_CHECK(path.find(dots) == std::string::npos);
    SLUICE_CHECK(!path.ends_with("/.") && !path.ends_with("/.."));
    SLUICE_CHECK(path.find("%00") == std::string::npos && path.find("%2E") == std::string::npos);
    // Spelling it again changes nothing.
    const auto again = spell(path);
    SLUICE_CHECK(again && again->path == path && again->generous == spelled->generous);
    for (const char* dots : {"/./", "/../", "//", ";"})
        SLUICE_CHECK(spelled->generous.find(dots) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    std::vector<contract::RouteConfig> routes(input.byte() % 12);
    for (contract::RouteConfig& route : routes) {
        for (int more = 1 + input.byte() % 2; more > 0; --more)
            route.hosts.push_back(draw_host(input, true));
        route.path_prefix = draw_path(input);
        draw_conditions(input, route);
    }
    const RouteTable table(routes);
    while (!input.empty()) {
        const std::string host = draw_host(input, false);
        const std::string raw = draw_path(input);
        check_path(raw);
        const auto spelled = spell(raw);
        if (!spelled) continue;
        const RouteFacts facts = draw_facts(input);
        const auto expected = naive_match(routes, host, spelled->path, facts);
        SLUICE_CHECK(table.match(host, std::string_view(spelled->path), facts) == expected);
        const auto generous = naive_match(routes, host, spelled->generous, facts);
        const auto both = table.match(host, NormalPath{spelled->path, spelled->generous}, facts);
        if (expected != generous) {
            SLUICE_CHECK(!both && both.error() == RouteTable::Miss::kAmbiguous);
        } else if (!expected) {
            SLUICE_CHECK(!both && both.error() == RouteTable::Miss::kNoRoute);
        } else {
            SLUICE_CHECK(both && *both == *expected);
        }
    }
    // And the input as it is, as far as it could come through the parser.
    std::string raw = "/";
    for (size_t i = 0; i < size && i < 200; ++i)
        if (data[i] > 0x20 && data[i] < 0x7f) raw += static_cast<char>(data[i]);
    check_path(raw);
    return 0;
}
