#include "control/config/check.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "control/config/check_parts.h"

namespace sluice::config {

namespace {

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
        if (listener.scope.value == contract::ListenerScope::kTunnel &&
            !listener.proxy_protocol_from.empty()) {
            diagnostics.error(listener.proxy_protocol_from.front().at,
                              "\"scope\" is \"tunnel\", and a connection with a PROXY header "
                              "never counts as one from the tunnel; remove one of them");
        }
    }
    const auto tls = std::find_if(
        config.listeners.begin(), config.listeners.end(), [](const Listener& listener) {
            return listener.protocol.value == contract::ListenerProtocol::kHttps;
        });
    if (tls != config.listeners.end() && config.certificates.empty()) {
        diagnostics.error(tls->at,
                          "a listener speaks TLS and needs a certificate; add [[certificates]]");
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
        // The backends of [[forward_auth]] are named like this, and status shows both.
        if (name.starts_with("forward-auth:")) {
            diagnostics.error(backend.name.at,
                              "names that begin with \"forward-auth:\" belong to "
                              "[[forward_auth]]; take another");
        }
        const bool complete = backend.servers.size() == backend.servers_written;
        const bool idle =
            std::all_of(backend.servers.begin(), backend.servers.end(),
                        [](const auto& server) { return server.settings.weight == 0; });
        if (!backend.servers.empty() && complete && idle) {
            diagnostics.error(backend.at, "every server of the backend " + in_quotes(name) +
                                              " has weight 0; give one of them more");
        }
    }
}

}  // namespace

std::string line_of(Position at) {
    return "line " + std::to_string(at.line);
}

void check(const Config& config, Diagnostics& diagnostics) {
    if (config.wireguard) check_wireguard(*config.wireguard, diagnostics);
    check_listeners(config, diagnostics);
    check_names(config.forward_auths, "service", diagnostics);
    check_routes(config, diagnostics);
    check_backends(config, diagnostics);
    if (config.listeners.empty() && !config.wireguard && !diagnostics.has_errors()) {
        diagnostics.warning({},
                            "there is neither [wireguard] nor [[listeners]]; the node will do "
                            "nothing");
    }
}

}  // namespace sluice::config
