// A table and requests, drawn from the input, against a matcher that compares one route after the
// other; and paths of any bytes against the promises of path.h.
#include <algorithm>
#include <optional>
#include <string>
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
bool has_host(const std::string& name, const std::string& host, bool wildcard) {
    if (!wildcard) return name == host;
    const size_t dot = host.find('.');
    return dot != std::string::npos && dot > 0 && name == "*" + host.substr(dot);
}

std::optional<uint32_t> naive_match(const std::vector<contract::RouteConfig>& routes,
                                    const std::string& host, std::string_view path) {
    for (const bool wildcard : {false, true}) {
        std::optional<uint32_t> best;
        size_t longest = 0;
        for (uint32_t i = 0; i < routes.size(); ++i) {
            const bool host_fits = std::ranges::any_of(
                routes[i].hosts,
                [&](const std::string& name) { return has_host(name, host, wildcard); });
            if (!host_fits) continue;
            const auto spelled =
                spell(routes[i].path_prefix)
                    .value_or(Spelled{routes[i].path_prefix, routes[i].path_prefix});
            for (const std::string& prefix : {spelled.path, spelled.generous}) {
                if (has_prefix(path, prefix) && (!best || length_of(prefix) > longest)) {
                    best = i;
                    longest = length_of(prefix);
                }
            }
        }
        if (best) return best;
    }
    return std::nullopt;
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
    }
    const RouteTable table(routes);
    while (!input.empty()) {
        const std::string host = draw_host(input, false);
        const std::string raw = draw_path(input);
        check_path(raw);
        const auto spelled = spell(raw);
        if (!spelled) continue;
        const auto expected = naive_match(routes, host, spelled->path);
        SLUICE_CHECK(table.match(host, std::string_view(spelled->path)) == expected);
        const auto generous = naive_match(routes, host, spelled->generous);
        const auto both = table.match(host, NormalPath{spelled->path, spelled->generous});
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
