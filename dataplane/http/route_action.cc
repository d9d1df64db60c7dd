#include "dataplane/http/route_action.h"

#include <algorithm>
#include <map>
#include <set>

#include "dataplane/http/path.h"

namespace sluice::http {

using wire::Http1Fault;

namespace {

// In the spelling in which requests arrive here, without slashes at the end.
std::string spell_prefix(const std::string& written) {
    std::string storage(written.size(), '\0');
    std::string generous(written.size(), '\0');
    const auto path = normalise_path(written, storage, generous);
    std::string prefix(path ? path->path : std::string_view(written));
    while (prefix.ends_with('/'))
        prefix.pop_back();
    return prefix;
}

uint16_t usual_port(std::string_view scheme) {
    return scheme == "https" ? 443 : 80;
}

}  // namespace

RouteAction::RouteAction(const contract::RouteConfig& route)
    : strip_(spell_prefix(route.strip_prefix)), add_(spell_prefix(route.add_prefix)) {}

std::expected<RewrittenPath, Http1Fault> RouteAction::rewrite(const RequestTarget& target,
                                                              std::span<char> scratch) const {
    RewrittenPath result{.prefix = {}, .path = target.sent, .stripped = {}};
    if ((strip_.empty() && add_.empty()) || target.sent == "*") return result;
    if (!strip_.empty() && is_below(target.sent, strip_)) {
        result.stripped = target.sent.substr(0, strip_.size());
        result.path = target.sent.substr(strip_.size());
        // As in the normal spelling: one slash at the beginning, or else the rest might be taken
        // for a host.
        while (result.path.starts_with("//"))
            result.path.remove_prefix(1);
        if (result.path.empty()) result.path = "/";
    }
    result.prefix = add_;
    if (const auto inside = read_generously(result.path, scratch); !inside)
        return std::unexpected(inside.error());
    return result;
}

std::vector<RouteAction> make_route_actions(const contract::Snapshot& snapshot) {
    std::map<uint32_t, std::set<std::string>> believed;  // by backend
    for (const contract::RouteConfig& route : snapshot.routes) {
        if (!route.forward_auth || route.redirect) continue;
        for (const std::string& name :
             snapshot.forward_auths[*route.forward_auth].response_headers) {
            if (name != "authorization" && name != "cookie") believed[route.backend].insert(name);
        }
    }
    std::vector<RouteAction> actions;
    actions.reserve(snapshot.routes.size());
    for (const contract::RouteConfig& route : snapshot.routes) {
        RouteAction& action = actions.emplace_back(route);
        std::set<std::string> names;
        if (const auto found = believed.find(route.backend); found != believed.end())
            names = found->second;
        if (route.forward_auth) {
            const auto& own = snapshot.forward_auths[*route.forward_auth].response_headers;
            names.insert(own.begin(), own.end());
        }
        action.reserved.assign(names.begin(), names.end());
    }
    return actions;
}

std::optional<std::string> redirect_location(const contract::Redirect& redirect,
                                             const RequestTarget& target, bool encrypted) {
    const std::string_view asked = encrypted ? "https" : "http";
    const std::string scheme = redirect.scheme.value_or(std::string(asked));
    const std::string host = redirect.host.value_or(std::string(target.authority.host));
    if (host.empty()) return std::nullopt;
    std::string location = scheme + "://" + host;
    // The port that was asked belongs to the scheme and the host that were asked.
    const bool same_place = scheme == asked && !redirect.host;
    const uint16_t port = redirect.port.value_or(
        same_place && target.authority.port != 0 ? target.authority.port : usual_port(scheme));
    if (port != usual_port(scheme)) location += ":" + std::to_string(port);
    location += redirect.path ? std::string_view(*redirect.path) : target.path.path;
    location += target.query;
    return location;
}

}  // namespace sluice::http
