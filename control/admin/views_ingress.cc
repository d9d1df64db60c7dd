// The views of what serves HTTP: routes, backends, certificates.
#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "control/admin/views.h"
#include "control/admin/views_json.h"

namespace sluice::admin {

namespace {

std::string_view name_of(contract::AuthMode mode) {
    switch (mode) {
        case contract::AuthMode::kPublic:
            return "public";
        case contract::AuthMode::kTailscaleOnly:
            return "tailscale-only";
        case contract::AuthMode::kTailscaleBypass:
            return "tailscale-bypass";
        case contract::AuthMode::kMtlsStrict:
            return "mtls-strict";
    }
    return "unknown";
}

std::string_view name_of(contract::Balance balance) {
    return balance == contract::Balance::kLeastConnections ? "least-connections"
                                                           : "weighted-round-robin";
}

// Where a redirect leads, as a template: "308 https://HOST/PATH" with what stays in capitals.
std::string redirect_text(const contract::Redirect& redirect) {
    std::string text = std::to_string(redirect.status) + " ";
    text += redirect.scheme ? *redirect.scheme : "SCHEME";
    text += "://" + (redirect.host ? *redirect.host : "HOST");
    if (redirect.port) text += ":" + std::to_string(*redirect.port);
    return text + (redirect.path ? *redirect.path : "/PATH");
}

// What must hold beyond host and path, one line each, for people.
Json conditions_json(const contract::RouteConfig& route) {
    Json conditions = Json::array();
    std::string methods;
    for (const std::string& method : route.methods)
        methods += (methods.empty() ? "" : ", ") + method;
    if (!methods.empty()) conditions.push_back(methods);
    for (const contract::HeaderMatch& header : route.headers)
        conditions.push_back(header.name + (header.value ? ": " + *header.value : ": any"));
    for (const IpPrefix& client : route.clients)
        conditions.push_back("from " + client.text());
    return conditions;
}

// Empty: the route can let somebody pass.
std::string_view closed_because(const contract::RouteConfig& route,
                                const contract::Snapshot& snapshot) {
    if (!route.client_certificate) return {};
    return snapshot.tls.trusts[route.client_certificate->trust]->fault;
}

Json route_json(const contract::RouteConfig& route, const contract::Snapshot& snapshot,
                uint64_t requests) {
    const std::string_view closed = closed_because(route, snapshot);
    const auto& certificate = route.client_certificate;
    return {
        {"name", route.name},
        {"hosts", route.hosts},
        {"path_prefix", route.path ? Json() : Json(route.path_prefix)},
        {"path", route.path ? Json(*route.path) : Json()},
        {"conditions", conditions_json(route)},
        {"priority", route.priority.value_or(0)},
        {"auth", name_of(route.auth)},
        {"forward_auth",
         route.forward_auth ? Json(snapshot.forward_auths[*route.forward_auth].name) : Json()},
        {"client_ca", certificate ? Json(snapshot.tls.trusts[certificate->trust]->name) : Json()},
        {"closed_because", closed.empty() ? Json() : Json(closed)},
        {"redirect", route.redirect ? Json(redirect_text(*route.redirect)) : Json()},
        {"backend", route.redirect ? Json() : Json(snapshot.backends[route.backend].name)},
        {"requests", requests},
    };
}

// How much is wrong in a state, as contract::ServerReport names them.
int badness(std::string_view state) {
    static constexpr std::array<std::string_view, 4> kStates = {"serving", "recovering", "ejected",
                                                                "unhealthy"};
    const auto found = std::find(kStates.begin(), kStates.end(), state);
    return found == kStates.end() ? 0 : static_cast<int>(found - kStates.begin()) + 1;
}

// Workers see the same servers, and add up.
using ServerTotals =
    std::map<std::pair<std::string_view, std::string_view>, contract::ServerReport>;

ServerTotals totals_of(const std::vector<contract::WorkerReport>& reports) {
    ServerTotals totals;
    for (const contract::WorkerReport& report : reports) {
        for (const contract::ServerReport& server : report.servers) {
            contract::ServerReport& total = totals[{server.backend, server.url}];
            total.requests += server.requests;
            total.failures += server.failures;
            total.idle_connections += server.idle_connections;
            total.active_requests += server.active_requests;
            // Each worker judges by itself; the one that thinks worst of it is heard.
            if (badness(server.state) <= badness(total.state)) continue;
            total.state = server.state;
            total.reason = server.reason;
            total.since = server.since;
            total.address = server.address;
        }
    }
    return totals;
}

// One CA over all workers.
Json anchor_json(const contract::AnchorReport& anchor) {
    return {
        {"subject", anchor.subject},
        {"fingerprint", anchor.fingerprint},
        {"not_after", time_json(anchor.not_after)},
        {"proofs", anchor.proofs},
        {"last_proof", time_json(anchor.last_proof)},
    };
}

Json anchors_json(const Picture& picture, std::string_view trust) {
    std::vector<contract::AnchorReport> merged;
    for (const contract::WorkerReport& report : picture.reports) {
        for (const contract::AnchorReport& anchor : report.anchors) {
            if (anchor.trust != trust) continue;
            const auto same = std::find_if(merged.begin(), merged.end(), [&](const auto& known) {
                return known.fingerprint == anchor.fingerprint;
            });
            if (same == merged.end()) {
                merged.push_back(anchor);
                continue;
            }
            same->proofs += anchor.proofs;
            same->last_proof = std::max(same->last_proof, anchor.last_proof);
        }
    }
    Json json = Json::array();
    for (const contract::AnchorReport& anchor : merged)
        json.push_back(anchor_json(anchor));
    return json;
}

Json client_cas_json(const Picture& picture) {
    Json cas = Json::array();
    for (const auto& trust : picture.snapshot.tls.trusts) {
        cas.push_back({
            {"name", trust->name},
            {"fault", trust->fault.empty() ? Json() : Json(trust->fault)},
            {"anchors", anchors_json(picture, trust->name)},
        });
    }
    return cas;
}

// Null: the certificate has no OCSP response.
Json staple_json(const Picture& picture, const contract::CertificateConfig& certificate) {
    if (certificate.ocsp_response.empty() || certificate.hosts.empty()) return nullptr;
    Json json;
    uint64_t sent = 0;
    for (const contract::WorkerReport& report : picture.reports) {
        for (const contract::StapleReport& staple : report.staples) {
            if (staple.host != certificate.hosts.front()) continue;
            sent += staple.sent;
            json = {
                {"usable", staple.usable},
                {"reason", staple.reason.empty() ? Json() : Json(staple.reason)},
                {"next_update", time_json(staple.next_update)},
                {"sent", sent},
            };
        }
    }
    return json;
}

}  // namespace

std::string routes_json(const Picture& picture) {
    std::map<std::string_view, uint64_t> requests;
    for (const contract::WorkerReport& report : picture.reports) {
        for (const contract::RouteReport& route : report.routes) {
            requests[route.name] += route.requests;
        }
    }
    Json routes = Json::array();
    for (const contract::RouteConfig& route : picture.snapshot.routes)
        routes.push_back(route_json(route, picture.snapshot, requests[route.name]));
    return text_of({{"routes", routes}});
}

std::string backends_json(const Picture& picture) {
    ServerTotals totals = totals_of(picture.reports);
    Json backends = Json::array();
    for (const contract::BackendConfig& backend : picture.snapshot.backends) {
        Json servers = Json::array();
        for (const contract::ServerConfig& server : backend.servers) {
            const contract::ServerReport& total = totals[{backend.name, server.url}];
            servers.push_back({
                {"url", server.url},
                {"weight", server.weight},
                {"requests", total.requests},
                {"failures", total.failures},
                {"idle_connections", total.idle_connections},
                {"active_requests", total.active_requests},
                {"address", total.address.is_set() ? Json(total.address.text()) : Json()},
                {"state", total.state.empty() ? Json() : Json(total.state)},
                {"reason", total.reason.empty() ? Json() : Json(total.reason)},
                {"since", time_json(total.since)},
            });
        }
        const bool h2 = backend.protocol == contract::UpstreamProtocol::kHttp2;
        backends.push_back({
            {"name", backend.name},
            {"balance", name_of(backend.balance)},
            {"protocol", h2 ? "h2" : "http/1.1"},
            {"sticky", backend.sticky.has_value()},
            {"health_path", backend.health ? Json(backend.health->path) : Json()},
            {"servers", servers},
        });
    }
    return text_of({{"backends", backends}});
}

std::string certs_json(const Picture& picture) {
    Json certificates = Json::array();
    for (const auto& certificate : picture.snapshot.tls.certificates) {
        const int64_t seconds_left = seconds_of(certificate->not_after - picture.now);
        certificates.push_back({
            {"hosts", certificate->hosts},
            {"not_after", time_json(certificate->not_after)},
            {"seconds_left", seconds_left},
            {"ocsp", staple_json(picture, *certificate)},
        });
    }
    return text_of({{"certificates", certificates}, {"client_cas", client_cas_json(picture)}});
}

}  // namespace sluice::admin
