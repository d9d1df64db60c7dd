// What a route does with a request that it took: another path for the server, or another place for
// the client. Derived from a route's configuration once for each snapshot.
//
// What was routed is what is forwarded, minus strip_prefix and plus add_prefix, by whole segments.
// A path whose rest some server might read as leading out of the prefix ("/a/..%2fb" without "/a")
// is refused: it would be a path that this route was never asked about.
//
// Thread: any, immutable. Memory: a few strings each.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/contract/snapshot.h"
#include "dataplane/http/request_target.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

struct RewrittenPath {
    std::string_view prefix;    // goes before `path`; no slash at its end; or empty
    std::string_view path;      // of the request's own; begins with '/', or "*"
    std::string_view stripped;  // what was taken off; empty: nothing
};

class RouteAction {
  public:
    explicit RouteAction(const contract::RouteConfig& route);

    // The path for the server. `scratch` holds as many bytes as the path; the result does not point
    // there. An asterisk stays one.
    std::expected<RewrittenPath, wire::Http1Fault> rewrite(const RequestTarget& target,
                                                           std::span<char> scratch) const;

    // Headers that only an auth service may set: clients' own are removed. Lower case.
    std::vector<std::string> reserved;

  private:
    std::string strip_;  // normal spelling, no slash at the end; empty: nothing
    std::string add_;
};

// One for each route, with the names of `reserved`: for a route with forward-auth all that its
// service answers with, because a peer passes without asking it; for the other routes to that
// backend the same, because the backend believes them, except Authorization and Cookie, which
// clients send of their own.
std::vector<RouteAction> make_route_actions(const contract::Snapshot& snapshot);

// Where a redirect leads. Nothing: the request names no host and neither does the redirect.
std::optional<std::string> redirect_location(const contract::Redirect& redirect,
                                             const RequestTarget& target, bool encrypted);

}  // namespace sluice::http
