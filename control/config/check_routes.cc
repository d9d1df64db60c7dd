// What routes must keep to among themselves, and whether what they name is there.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/config/check_parts.h"

namespace sluice::config {

namespace {

using contract::AuthMode;

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

bool speaks(const Config& config, contract::ListenerProtocol protocol) {
    return std::any_of(
        config.listeners.begin(), config.listeners.end(),
        [protocol](const Listener& listener) { return listener.protocol.value == protocol; });
}

// All conditions of a route but its hosts, in one text: equal texts, equal conditions, in whatever
// order they were written. Lengths keep two conditions from reading like one.
std::string conditions_of(const Route& route) {
    std::vector<std::string> parts;
    for (const std::string& method : route.methods)
        parts.push_back("m" + method);
    for (const contract::HeaderMatch& header : route.headers)
        parts.push_back("h" + header.name + (header.value ? "=" + *header.value : ""));
    for (const auto& client : route.clients)
        parts.push_back("c" + client.value.masked().text());
    std::sort(parts.begin(), parts.end());
    std::string text = route.path ? "p" + route.path->value : "P" + route.path_prefix.value;
    for (const std::string& part : parts)
        text += "\n" + std::to_string(part.size()) + ":" + part;
    return text;
}

int32_t priority_of(const Route& route) {
    return route.priority ? route.priority->value : 0;
}

using Claims = std::map<std::pair<std::string_view, std::string>, const Route*>;

// Of two routes that take the same requests, one gets none. With the same priority that is a
// mistake; with different ones it may be meant, as a page for a day of maintenance is.
void check_reached(const Route& route, const Located<std::string>& host,
                   const std::string& conditions, Claims& claims, Diagnostics& diagnostics) {
    const auto [first, fresh] =
        claims.emplace(std::pair<std::string_view, std::string>(host.value, conditions), &route);
    const Route* const other = first->second;
    if (fresh || other == &route) return;
    const bool below = priority_of(route) <= priority_of(*other);
    const Route& hidden = below ? route : *other;
    const Route& taker = below ? *other : route;
    const bool plain = route.methods.empty() && route.headers.empty() && route.clients.empty();
    const std::string& path = route.path ? route.path->value : route.path_prefix.value;
    const std::string message =
        "route " + in_quotes(hidden.name.value) + " for " + in_quotes(host.value) + " and path " +
        in_quotes(path) + " is never reached; route " + in_quotes(taker.name.value) + " on " +
        line_of(taker.at) + (plain ? " takes both" : " takes both, under the same conditions");
    if (priority_of(route) == priority_of(*other)) {
        diagnostics.error(host.at, message);
    } else {
        diagnostics.warning(hidden.at, message);
    }
    if (!below) first->second = &route;
}

void check_host(const Config& config, const Located<std::string>& host,
                const std::map<std::string_view, Position>& certified, Diagnostics& diagnostics) {
    if (host.value == "*" || config.certificates.empty() ||
        !speaks(config, contract::ListenerProtocol::kHttps)) {
        return;
    }
    if (certified.contains(host.value) || certified.contains(wildcard_of(host.value))) return;
    diagnostics.warning(host.at, "no certificate names the host " + in_quotes(host.value) +
                                     "; clients that ask for it are refused until one "
                                     "of [[certificates]] does");
}

void check_forward_auth(const Route& route, const std::set<std::string_view>& services,
                        Diagnostics& diagnostics) {
    const bool bypass = route.auth->value == AuthMode::kTailscaleBypass;
    const std::string& service = route.forward_auth.value;
    if (bypass && route.forward_auth.at.line == 0) {
        diagnostics.error(route.auth->at,
                          "route " + in_quotes(route.name.value) +
                              " is \"tailscale-bypass\" and needs \"forward_auth\", the name of "
                              "one of [[forward_auth]]");
    }
    if (route.forward_auth.at.line == 0) return;
    if (!bypass) {
        diagnostics.error(route.forward_auth.at,
                          "\"forward_auth\" is asked only with auth = \"tailscale-bypass\"; "
                          "remove it, or change \"auth\"");
    } else if (!services.contains(service)) {
        diagnostics.error(route.forward_auth.at,
                          "route " + in_quotes(route.name.value) + " names the service " +
                              in_quotes(service) +
                              ", which does not exist; add it to [[forward_auth]], or correct "
                              "the name");
    }
}

void check_client_certificate(const Config& config, const Route& route, Diagnostics& diagnostics) {
    const ClientCa& own = route.client_ca;
    if (route.auth->value != AuthMode::kMtlsStrict) {
        for (const Position at : {own.ca_file.at, own.crl_file.at, route.certificate_at}) {
            if (at.line == 0) continue;
            diagnostics.error(at,
                              "client certificates are asked for only with auth = "
                              "\"mtls-strict\"; remove this, or change \"auth\"");
        }
        return;
    }
    if (own.ca_file.at.line == 0 && config.tls.client_ca.ca_file.at.line == 0) {
        diagnostics.error(route.auth->at,
                          "route " + in_quotes(route.name.value) +
                              " is \"mtls-strict\" and needs a CA; write \"client_ca_file\" here "
                              "or in [tls]");
    }
    if (own.ca_file.at.line > 0 && own.crl_file.at.line == 0 &&
        config.tls.client_ca.crl_file.at.line > 0 &&
        own.ca_file.value != config.tls.client_ca.ca_file.value) {
        diagnostics.warning(own.ca_file.at,
                            "route " + in_quotes(route.name.value) +
                                " has a CA of its own, for which tls.client_crl_file does not "
                                "count; write \"client_crl_file\" here, or nothing of this CA "
                                "can be revoked");
    }
    if (!config.listeners.empty() && !speaks(config, contract::ListenerProtocol::kHttps)) {
        diagnostics.warning(route.auth->at,
                            "route " + in_quotes(route.name.value) +
                                " is \"mtls-strict\", but no listener speaks https; nobody can "
                                "show a certificate");
    }
}

void check_auth(const Config& config, const Route& route,
                const std::set<std::string_view>& services, Diagnostics& diagnostics) {
    if (!route.auth) return;
    check_forward_auth(route, services, diagnostics);
    check_client_certificate(config, route, diagnostics);
    if (route.auth->value == AuthMode::kTailscaleOnly && !config.wireguard) {
        diagnostics.warning(route.auth->at, "route " + in_quotes(route.name.value) +
                                                " is \"tailscale-only\", but there is no "
                                                "[wireguard]; everyone gets 403");
    }
}

// By whole segments.
bool is_below(std::string_view path, std::string_view prefix) {
    return prefix == "/" || path == prefix ||
           (path.starts_with(prefix) && path[prefix.size()] == '/');
}

void check_strip_prefix(const Route& route, Diagnostics& diagnostics) {
    const std::string& strip = route.strip_prefix.value;
    const std::string& path = route.path ? route.path->value : route.path_prefix.value;
    if (strip.empty() || path.empty() || is_below(path, strip)) return;
    // "/a" of a route for "/" is on some of its requests; of a route for "/b" on none.
    if (!route.path && is_below(strip, path)) return;
    diagnostics.warning(route.strip_prefix.at, "no request of route " +
                                                   in_quotes(route.name.value) + " begins with " +
                                                   in_quotes(strip) + "; nothing is stripped");
}

}  // namespace

void check_routes(const Config& config, Diagnostics& diagnostics) {
    check_names(config.routes, "route", diagnostics);
    const auto certified = check_certificates(config, diagnostics);
    std::set<std::string_view> backends;
    for (const Backend& backend : config.backends)
        backends.insert(backend.name.value);
    std::set<std::string_view> services;
    for (const ForwardAuth& service : config.forward_auths)
        services.insert(service.name.value);
    Claims claims;
    for (const Route& route : config.routes) {
        const std::string& backend = route.backend.value;
        if (!backend.empty() && !backends.contains(backend)) {
            diagnostics.error(route.backend.at,
                              "route " + in_quotes(route.name.value) + " names the backend " +
                                  in_quotes(backend) +
                                  ", which does not exist; add it to [[backends]], "
                                  "or correct the name");
        }
        const std::string conditions = conditions_of(route);
        const bool readable = route.path || !route.path_prefix.value.empty();
        for (const Located<std::string>& host : route.hosts) {
            if (readable) check_reached(route, host, conditions, claims, diagnostics);
            check_host(config, host, certified, diagnostics);
        }
        check_auth(config, route, services, diagnostics);
        check_strip_prefix(route, diagnostics);
    }
}

}  // namespace sluice::config
