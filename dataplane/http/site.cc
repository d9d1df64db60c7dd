#include "dataplane/http/site.h"

#include <string_view>
#include <unordered_map>

namespace sluice::http {

Site::Site(std::shared_ptr<const contract::Snapshot> with_snapshot, const Site* before,
           UpstreamPool& upstream, Random& random)
    : snapshot(std::move(with_snapshot)),
      routes(snapshot->routes),
      actions(make_route_actions(*snapshot)),
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
        backends.emplace_back(config, upstream, random);
}

}  // namespace sluice::http
