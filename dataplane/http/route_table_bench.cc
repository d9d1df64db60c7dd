// Matching must not depend on the number of routes; building it is part of every reload.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dataplane/http/route_table.h"

namespace sluice::http {
namespace {

std::vector<contract::RouteConfig> make_routes(size_t count, bool one_host) {
    std::vector<contract::RouteConfig> routes(count);
    for (size_t i = 0; i < count; ++i) {
        const std::string number = std::to_string(i);
        routes[i].hosts = {one_host ? "happy.k2.k8s.best" : "app-" + number + ".k2.k8s.best"};
        routes[i].path_prefix = one_host ? "/app/service-" + number : "/";
    }
    return routes;
}

void match_host(benchmark::State& state) {
    const auto count = static_cast<size_t>(state.range(0));
    const RouteTable table(make_routes(count, false));
    std::vector<std::string> hosts;
    for (size_t i = 0; i < 256; ++i)
        hosts.push_back("app-" + std::to_string(i * 7919 % count) + ".k2.k8s.best");
    const NormalPath path{"/api/v1/items", "/api/v1/items"};
    size_t i = 0;
    for (auto unused : state)
        benchmark::DoNotOptimize(table.match(hosts[i++ % hosts.size()], path));
}
BENCHMARK(match_host)->Arg(10)->Arg(1000)->Arg(10000);

void match_prefix(benchmark::State& state) {
    const auto count = static_cast<size_t>(state.range(0));
    const RouteTable table(make_routes(count, true));
    std::vector<std::string> paths;
    for (size_t i = 0; i < 256; ++i)
        paths.push_back("/app/service-" + std::to_string(i * 7919 % count) + "/api/v1/items");
    size_t i = 0;
    for (auto unused : state) {
        const std::string& path = paths[i++ % paths.size()];
        benchmark::DoNotOptimize(table.match("happy.k2.k8s.best", NormalPath{path, path}));
    }
}
BENCHMARK(match_prefix)->Arg(10)->Arg(1000)->Arg(10000);

// All that a route can ask for, at every depth of one host.
void match_conditions(benchmark::State& state) {
    const auto count = static_cast<size_t>(state.range(0));
    std::vector<contract::RouteConfig> routes = make_routes(count, true);
    for (contract::RouteConfig& route : routes) {
        route.methods = {"GET"};
        route.headers = {{"x-canary", "1"}};
        route.clients = {*IpPrefix::parse("192.168.0.0/16")};
        route.priority = 1;
    }
    const RouteTable table(routes);
    const std::vector<wire::Http1Field> fields = {
        {"Accept", "*/*"}, {"User-Agent", "bench"}, {"X-Canary", "1"}};
    const RouteFacts facts{
        .method = "GET", .fields = fields, .client = *IpAddress::parse("192.168.1.1")};
    std::vector<std::string> paths;
    for (size_t i = 0; i < 256; ++i)
        paths.push_back("/app/service-" + std::to_string(i * 7919 % count) + "/api/v1/items");
    size_t i = 0;
    for (auto unused : state) {
        const std::string& path = paths[i++ % paths.size()];
        benchmark::DoNotOptimize(table.match("happy.k2.k8s.best", NormalPath{path, path}, facts));
    }
}
BENCHMARK(match_conditions)->Arg(10)->Arg(1000)->Arg(10000);

void match_nothing(benchmark::State& state) {
    const RouteTable table(make_routes(static_cast<size_t>(state.range(0)), false));
    const NormalPath path{"/api/v1/items", "/api/v1/items"};
    for (auto unused : state)
        benchmark::DoNotOptimize(table.match("nobody.k2.k8s.best", path));
}
BENCHMARK(match_nothing)->Arg(10)->Arg(10000);

void build(benchmark::State& state) {
    const auto routes = make_routes(static_cast<size_t>(state.range(0)), false);
    for (auto unused : state) {
        const RouteTable table(routes);
        benchmark::DoNotOptimize(&table);
    }
}
BENCHMARK(build)->Arg(10)->Arg(10000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sluice::http
