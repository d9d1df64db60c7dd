#include "dataplane/http/backend.h"

#include <algorithm>

#include "dataplane/http/sticky.h"

namespace sluice::http {

Backend::Backend(const contract::BackendConfig& with_config, UpstreamPool& pool, Random& random)
    : config(with_config), pool_(pool), random_(random), balancer_(0) {
    refresh();
}

void Backend::refresh() {
    std::vector<std::shared_ptr<Server>> next;
    for (const contract::ServerConfig& server : config.servers) {
        if (server.dns_name.empty()) {
            next.push_back(pool_.server(config, server));
            continue;
        }
        for (const IpAddress& address : pool_.addresses_of(server.dns_name)) {
            contract::ServerConfig at = server;
            at.address.address = address;
            next.push_back(pool_.server(config, at));
        }
    }
    if (next == servers) return;
    servers = std::move(next);
    balancer_ = Balancer(servers.size());
    if (servers.empty()) return;
    // Each worker begins elsewhere in the round; or else, after a reload, the first requests of all
    // workers would go to one server.
    for (uint64_t skip = random_.below(servers.size()); skip > 0; --skip)
        balancer_.pick([this](uint32_t i) { return servers[i]->config().weight; });
}

std::shared_ptr<Server> Backend::pick(std::span<const std::shared_ptr<Server>> tried, Now now) {
    for (const Tier tier : {Tier::kWell, Tier::kAvoided, Tier::kEjected, Tier::kAny}) {
        if (const auto index = pick(tier, tried, now)) return servers[*index];
    }
    return nullptr;
}

std::optional<uint32_t> Backend::pick(Tier tier, std::span<const std::shared_ptr<Server>> tried,
                                      Now now) {
    using Standing = ServerHealth::Standing;
    const auto weight = [&](uint32_t index) -> uint64_t {
        const Server& server = *servers[index];
        if (server.config().weight == 0) return 0;
        // A request that began before a reload gets its first try where it was meant to go, so that
        // a reload fails nobody; what the reload removed is no second choice.
        if (!tried.empty() && server.retired()) return 0;
        // A page of the node itself is no substitute for an application that does not answer.
        if (!tried.empty() && server.config().kind == contract::ServerKind::kWelcome) return 0;
        if (std::ranges::find(tried, servers[index]) != tried.end()) return 0;
        const uint64_t own = uint64_t{server.config().weight} * ServerHealth::kFullShare;
        if (tier == Tier::kAny) return own;
        const Standing standing = server.health().standing(now);
        if (standing == Standing::kUnhealthy) return 0;
        if (tier == Tier::kEjected) return own;
        if (standing == Standing::kEjected) return 0;
        if (tier == Tier::kWell && server.avoided(now)) return 0;
        return uint64_t{server.config().weight} * server.health().share(now);
    };
    if (config.balance == contract::Balance::kWeightedRoundRobin) return balancer_.pick(weight);
    return balancer_.pick_least(weight,
                                [this](uint32_t index) { return servers[index]->active(); });
}

std::shared_ptr<Server> Backend::sticky_server(std::string_view token, Now now) const {
    using Standing = ServerHealth::Standing;
    for (const auto& server : servers) {
        if (server->sticky_token() != token) continue;
        const Standing standing = server->health().standing(now);
        const bool well = server->config().weight > 0 && !server->avoided(now) &&
                          standing != Standing::kUnhealthy && standing != Standing::kEjected;
        return well ? server : nullptr;
    }
    return nullptr;
}

}  // namespace sluice::http
