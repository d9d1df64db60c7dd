#include "dataplane/http/site.h"

#include <string_view>
#include <unordered_map>

namespace sluice::http {

namespace {

Backend make_backend(const contract::BackendConfig& config, UpstreamPool& upstream,
                     Random& random) {
    std::vector<uint32_t> weights;
    std::vector<std::shared_ptr<Server>> servers;
    for (const contract::ServerConfig& server : config.servers) {
        weights.push_back(server.weight);
        servers.push_back(upstream.server(config.name, server));
    }
    Backend backend{config, Balancer(weights), std::move(servers)};
    // Each worker begins elsewhere in the round; or else, after a reload, the first requests of all
    // workers would go to one server.
    if (!weights.empty()) {
        for (uint64_t skip = random.below(weights.size()); skip > 0; --skip)
            backend.balancer.pick([](uint32_t) { return true; });
    }
    return backend;
}

}  // namespace

Site::Site(std::shared_ptr<const contract::Snapshot> with_snapshot, const Site* before,
           UpstreamPool& upstream, Random& random)
    : snapshot(std::move(with_snapshot)),
      routes(snapshot->routes),
      route_requests(snapshot->routes.size()) {
    std::unordered_map<std::string_view, uint64_t> counts;
    if (before != nullptr) {
        for (size_t i = 0; i < before->route_requests.size(); ++i)
            counts.emplace(before->snapshot->routes[i].name, before->route_requests[i]);
    }
    for (size_t i = 0; i < route_requests.size(); ++i) {
        const auto found = counts.find(snapshot->routes[i].name);
        if (found != counts.end()) route_requests[i] = found->second;
    }
    backends.reserve(snapshot->backends.size());
    for (const contract::BackendConfig& config : snapshot->backends)
        backends.push_back(make_backend(config, upstream, random));
}

}  // namespace sluice::http
