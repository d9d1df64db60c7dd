// Routes, and which hosts are asked for client certificates.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "control/snapshot/compile.h"
#include "dataplane/base/check.h"

namespace sluice::snapshot {

namespace {

using Index = std::map<std::string_view, uint32_t>;

template <typename Items>
Index index_of(const Items& items) {
    Index index;
    for (const auto& item : items)
        index.emplace(item.name, static_cast<uint32_t>(index.size()));
    return index;
}

contract::RouteConfig compile_route(const config::Route& from, const Index& backends,
                                    const Index& services, std::optional<uint32_t> trust) {
    contract::RouteConfig to;
    to.name = from.name.value;
    for (const auto& host : from.hosts)
        to.hosts.push_back(host.value);
    to.path_prefix = from.path_prefix.value;
    if (from.path) to.path = from.path->value;
    to.methods = from.methods;
    to.headers = from.headers;
    for (const auto& prefix : from.clients)
        to.clients.push_back(prefix.value.masked());
    if (from.priority) to.priority = from.priority->value;

    SLUICE_CHECK(from.auth.has_value());
    to.auth = from.auth->value;
    if (to.auth == contract::AuthMode::kTailscaleBypass) {
        const auto service = services.find(from.forward_auth.value);
        SLUICE_CHECK(service != services.end());
        to.forward_auth = service->second;
    }
    if (to.auth == contract::AuthMode::kMtlsStrict) {
        SLUICE_CHECK(trust.has_value());
        to.client_certificate = from.certificate;
        to.client_certificate->trust = *trust;
    }
    to.rate_limit = from.rate_limit;
    to.body_bytes_max = from.body_bytes_max;

    to.redirect = from.redirect;
    to.strip_prefix = from.strip_prefix.value;
    to.add_prefix = from.add_prefix;
    to.request_headers = from.request_headers;
    to.response_headers = from.response_headers;
    to.retries = from.retries;
    if (to.redirect) return to;
    const auto backend = backends.find(from.backend.value);
    SLUICE_CHECK(backend != backends.end());
    to.backend = backend->second;
    return to;
}

// A request for a host may be taken by a route of the wildcard above it, or of "*": whoever asks
// for the host is shown the CAs of all of them.
std::vector<contract::ClientCertificateHost> client_certificate_hosts(
    const std::vector<contract::RouteConfig>& routes) {
    std::map<std::string, std::set<uint32_t>> hosts;
    for (const contract::RouteConfig& route : routes) {
        if (!route.client_certificate) continue;
        for (const std::string& host : route.hosts)
            hosts[host].insert(route.client_certificate->trust);
    }
    const auto own = hosts;
    std::vector<contract::ClientCertificateHost> result;
    for (auto& [host, trusts] : hosts) {
        const size_t dot = host.find('.');
        const auto add = [&own, &into = trusts](const std::string& above) {
            const auto found = own.find(above);
            if (found != own.end()) into.insert(found->second.begin(), found->second.end());
        };
        if (dot != std::string::npos) add("*" + host.substr(dot));
        add("*");
        result.push_back({host, {trusts.begin(), trusts.end()}});
    }
    return result;
}

}  // namespace

void compile_routes(const config::Loaded& loaded, contract::Snapshot& to) {
    const config::Config& from = loaded.config;
    const Index backends = index_of(to.backends);
    const Index services = index_of(to.forward_auths);
    SLUICE_CHECK(loaded.files.route_trusts.size() == from.routes.size());
    for (size_t i = 0; i < from.routes.size(); ++i) {
        to.routes.push_back(
            compile_route(from.routes[i], backends, services, loaded.files.route_trusts[i]));
    }
    to.tls.client_certificate_hosts = client_certificate_hosts(to.routes);
}

}  // namespace sluice::snapshot
