#include "control/config/check.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

std::string line_of(Position at) {
    return "line " + std::to_string(at.line);
}

// Reports every name that stands for a second thing. `what` names the kind: "peer".
template <typename Items>
void check_names(const Items& items, std::string_view what, Diagnostics& diagnostics) {
    std::map<std::string_view, Position> seen;
    for (const auto& item : items) {
        if (item.name.value.empty()) continue;
        const auto [first, fresh] = seen.emplace(item.name.value, item.name.at);
        if (fresh) continue;
        diagnostics.error(item.name.at, "the name " + in_quotes(item.name.value) +
                                            " is taken by the " + std::string(what) + " on " +
                                            line_of(first->second) + "; names must differ");
    }
}

struct Claim {
    IpPrefix prefix;  // masked
    const Located<IpPrefix>* written;
    const Peer* peer;
};

// Two prefixes are either apart or one holds the other, so after sorting, everything that a prefix
// holds follows it directly: one pass with a stack of what is still open finds all overlaps.
void check_allowed_ips(const Wireguard& wireguard, Diagnostics& diagnostics) {
    std::vector<Claim> claims;
    for (const Peer& peer : wireguard.peers) {
        for (const Located<IpPrefix>& prefix : peer.allowed_ips) {
            claims.push_back({prefix.value.masked(), &prefix, &peer});
        }
    }
    std::sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
        return std::tie(a.prefix, a.written->at) < std::tie(b.prefix, b.written->at);
    });
    std::vector<const Claim*> open;
    for (const Claim& claim : claims) {
        while (!open.empty() && !open.back()->prefix.contains(claim.prefix.address)) {
            open.pop_back();
        }
        // Who has 0.0.0.0/0 has what nobody else has, which is what everybody means by it. Any
        // other prefix inside another peer's is more likely a mistake.
        const bool inside_default =
            !open.empty() && open.back()->prefix.length == 0 && claim.prefix.length > 0;
        if (!open.empty() && open.back()->peer != claim.peer && !inside_default) {
            const Claim* first = open.back();
            const Claim* second = &claim;
            if (second->written->at < first->written->at) std::swap(first, second);
            diagnostics.error(second->written->at,
                              "allowed IPs " + second->written->value.text() + " of peer " +
                                  in_quotes(second->peer->name.value) + " overlap " +
                                  first->written->value.text() + " of peer " +
                                  in_quotes(first->peer->name.value) + " on " +
                                  line_of(first->written->at) +
                                  "; an address can belong to one peer only");
        }
        open.push_back(&claim);
    }
}

void check_peer(const Peer& peer, const Wireguard& wireguard, Diagnostics& diagnostics) {
    for (const Located<IpPrefix>& prefix : peer.allowed_ips) {
        for (const Located<IpPrefix>& own : wireguard.addresses) {
            if (prefix.value.length == 0 || !prefix.value.contains(own.value.address)) continue;
            diagnostics.error(
                prefix.at, "allowed IPs " + prefix.value.text() + " of peer " +
                               in_quotes(peer.name.value) + " hold the node's own tunnel address " +
                               own.value.address.text() + "; give the peer addresses of its own");
        }
    }
    const contract::Key zero{};
    if (peer.public_key.at.line > 0 && peer.public_key.value == zero) {
        diagnostics.error(peer.public_key.at,
                          "the public key is all zeros; write what `wg pubkey` printed for it");
    }
}

void check_wireguard(const Wireguard& wireguard, Diagnostics& diagnostics) {
    check_names(wireguard.peers, "peer", diagnostics);
    std::map<contract::Key, const Peer*> keys;
    for (const Peer& peer : wireguard.peers) {
        check_peer(peer, wireguard, diagnostics);
        if (peer.public_key.at.line == 0) continue;
        const auto [first, fresh] = keys.emplace(peer.public_key.value, &peer);
        if (fresh) continue;
        diagnostics.error(peer.public_key.at, "peer " + in_quotes(peer.name.value) +
                                                  " has the public key of peer " +
                                                  in_quotes(first->second->name.value) + " on " +
                                                  line_of(first->second->public_key.at) +
                                                  "; every device needs a key pair of its own");
    }
    check_allowed_ips(wireguard, diagnostics);
    // 1280: RFC 8200 section 5, the least that an IPv6 link may have.
    const auto v6 = std::find_if(wireguard.addresses.begin(), wireguard.addresses.end(),
                                 [](const auto& own) { return own.value.address.is_v6(); });
    if (v6 != wireguard.addresses.end() && wireguard.mtu.value < 1280) {
        diagnostics.error(wireguard.mtu.at, "\"mtu\" is " + std::to_string(wireguard.mtu.value) +
                                                ", but IPv6 inside the tunnel (" +
                                                v6->value.text() + ") needs at least 1280");
    }
    std::set<IpAddress> seen;
    for (const Located<IpPrefix>& own : wireguard.addresses) {
        if (seen.insert(own.value.address).second) continue;
        diagnostics.error(own.at, "the address " + own.value.address.text() +
                                      " stands in \"addresses\" twice; remove one");
    }
}

bool is_wildcard(const IpAddress& address) {
    const Bytes bytes = address.view();
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Whether one connection could arrive at both.
bool collide(const Endpoint& a, const Endpoint& b) {
    if (a.port != b.port || a.address.family != b.address.family) return false;
    return a.address == b.address || is_wildcard(a.address) || is_wildcard(b.address);
}

void check_listeners(const Config& config, Diagnostics& diagnostics) {
    check_names(config.listeners, "listener", diagnostics);
    for (size_t i = 0; i < config.listeners.size(); ++i) {
        const Listener& listener = config.listeners[i];
        if (!listener.address.value.is_set()) continue;
        const auto first = std::find_if(
            config.listeners.begin(), config.listeners.begin() + static_cast<ptrdiff_t>(i),
            [&](const Listener& o) { return collide(o.address.value, listener.address.value); });
        if (first != config.listeners.begin() + static_cast<ptrdiff_t>(i)) {
            diagnostics.error(listener.address.at,
                              "listener " + in_quotes(listener.name.value) + " at " +
                                  listener.address.value.text() + " collides with listener " +
                                  in_quotes(first->name.value) + " at " +
                                  first->address.value.text() + " on " +
                                  line_of(first->address.at) + "; give it another port or address");
        }
        if (listener.scope.value == contract::ListenerScope::kTunnel && !config.wireguard) {
            diagnostics.error(listener.scope.at,
                              "\"scope\" is \"tunnel\", but there is no tunnel; "
                              "add [wireguard], or write \"any\"");
        }
    }
    if (!config.listeners.empty() && config.certificates.empty()) {
        diagnostics.error(config.listeners.front().at,
                          "a listener speaks TLS and needs a certificate; add [[certificates]]");
    }
}

// The name whose certificate answers a host: itself, or the wildcard of its first label.
std::string wildcard_of(std::string_view host) {
    const size_t dot = host.find('.');
    return dot == std::string_view::npos ? std::string() : "*" + std::string(host.substr(dot));
}

std::map<std::string_view, Position> check_certificates(const Config& config,
                                                        Diagnostics& diagnostics) {
    std::map<std::string_view, Position> hosts;
    for (const Certificate& certificate : config.certificates) {
        for (const Located<std::string>& host : certificate.hosts) {
            const auto [first, fresh] = hosts.emplace(host.value, host.at);
            if (fresh) continue;
            diagnostics.error(host.at, "host " + in_quotes(host.value) +
                                           " already has the certificate on " +
                                           line_of(first->second) + "; name it in one of them");
        }
    }
    return hosts;
}

void check_routes(const Config& config, Diagnostics& diagnostics) {
    check_names(config.routes, "route", diagnostics);
    const auto certified = check_certificates(config, diagnostics);
    std::set<std::string_view> backends;
    for (const Backend& backend : config.backends)
        backends.insert(backend.name.value);
    std::map<std::pair<std::string_view, std::string_view>, const Route*> seen;
    for (const Route& route : config.routes) {
        const std::string& backend = route.backend.value;
        if (!backend.empty() && !backends.contains(backend)) {
            diagnostics.error(route.backend.at,
                              "route " + in_quotes(route.name.value) + " names the backend " +
                                  in_quotes(backend) +
                                  ", which does not exist; add it to [[backends]], "
                                  "or correct the name");
        }
        for (const Located<std::string>& host : route.hosts) {
            const std::pair<std::string_view, std::string_view> claim(host.value,
                                                                      route.path_prefix.value);
            const auto [first, fresh] = seen.emplace(claim, &route);
            if (!fresh && first->second != &route && !route.path_prefix.value.empty()) {
                diagnostics.error(host.at, "route " + in_quotes(route.name.value) + " for " +
                                               in_quotes(host.value) + " and path " +
                                               in_quotes(route.path_prefix.value) +
                                               " is never reached; route " +
                                               in_quotes(first->second->name.value) + " on " +
                                               line_of(first->second->at) + " takes both");
            }
            if (!certified.contains(host.value) && !certified.contains(wildcard_of(host.value)) &&
                !config.certificates.empty()) {
                diagnostics.warning(host.at, "no certificate names the host " +
                                                 in_quotes(host.value) +
                                                 "; clients that ask for it are refused until one "
                                                 "of [[certificates]] does");
            }
        }
        if (route.auth && route.auth->value == contract::AuthMode::kTailscaleOnly &&
            !config.wireguard) {
            diagnostics.warning(route.auth->at, "route " + in_quotes(route.name.value) +
                                                    " is \"tailscale-only\", but there is no "
                                                    "[wireguard]; everyone gets 403");
        }
    }
}

void check_backends(const Config& config, Diagnostics& diagnostics) {
    check_names(config.backends, "backend", diagnostics);
    std::set<std::string_view> used;
    for (const Route& route : config.routes)
        used.insert(route.backend.value);
    for (const Backend& backend : config.backends) {
        const std::string& name = backend.name.value;
        if (!name.empty() && !used.contains(name)) {
            diagnostics.warning(backend.name.at, "no route uses the backend " + in_quotes(name));
        }
        const bool complete = backend.servers.size() == backend.servers_written;
        const bool idle = std::all_of(backend.servers.begin(), backend.servers.end(),
                                      [](const auto& server) { return server.value.weight == 0; });
        if (!backend.servers.empty() && complete && idle) {
            diagnostics.error(backend.at, "every server of the backend " + in_quotes(name) +
                                              " has weight 0; give one of them more");
        }
    }
}

}  // namespace

void check(const Config& config, Diagnostics& diagnostics) {
    if (config.wireguard) check_wireguard(*config.wireguard, diagnostics);
    check_listeners(config, diagnostics);
    check_routes(config, diagnostics);
    check_backends(config, diagnostics);
    if (config.listeners.empty() && !config.wireguard && !diagnostics.has_errors()) {
        diagnostics.warning({},
                            "there is neither [wireguard] nor [[listeners]]; the node will do "
                            "nothing");
    }
}

}  // namespace sluice::config
