// Which route takes a request. All of a route's conditions must hold; of several routes that fit,
// the highest priority counts, then the most specific one:
//
//   host         exact, then "*.one.label", then "*"
//   path         exact, then the longest prefix by whole segments
//   conditions   the more the better: methods, each header, client addresses
//   file         what comes first
//
// "/a" and "/a/" as prefixes are the same and match "/a", "/a/" and "/a/b", never "/ab"; as exact
// paths they differ. Paths are compared case by case, hosts arrive in lower case.
//
// Cost: one hash look-up for each of the three kinds of host, and for each that is known one for
// each segment of the path down to that host's deepest prefix; the number of routes does not
// matter, unless they share host and path and differ in their other conditions: those are tried in
// order. Only lengths and bytes of the snapshot's own routes are stored, so no request can make
// look-ups slower. Memory: arrays, made by the constructor. Thread: any, immutable after
// construction.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "dataplane/base/ip.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/path.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

// What routes ask of a request besides its host and path.
struct RouteFacts {
    std::string_view method;
    std::span<const wire::Http1Field> fields;
    IpAddress client;
};

class RouteTable {
  public:
    explicit RouteTable(const std::vector<contract::RouteConfig>& routes);

    // Index of the route.
    std::optional<uint32_t> match(std::string_view host, std::string_view path,
                                  const RouteFacts& facts = {}) const;

    enum class Miss : uint8_t {
        kNoRoute,
        kAmbiguous,  // the two readings of the path lead to different routes
    };
    std::expected<uint32_t, Miss> match(std::string_view host, const NormalPath& path,
                                        const RouteFacts& facts = {}) const;

  private:
    static constexpr uint32_t kEmpty = UINT32_MAX;

    struct Text {
        uint32_t begin = 0;
        uint32_t size = 0;
    };
    struct HostSlot {
        uint64_t hash = 0;
        Text name;
        uint32_t id = kEmpty;
        uint32_t deepest = 0;  // most segments that a prefix of it has
        bool has_exact_paths = false;
    };
    // All routes for one host and path, the best first.
    struct PathSlot {
        uint64_t hash = 0;  // of host id and path
        Text path;          // a prefix is without a slash at the end; "" is "/"
        uint32_t host = kEmpty;
        bool exact = false;
        uint32_t first = kEmpty;  // in candidates_
        uint32_t last = kEmpty;
    };
    struct Candidate {
        uint32_t route = 0;
        uint32_t next = kEmpty;
        int32_t priority = 0;
        uint32_t conditions = 0;  // how many
        uint32_t place = kEmpty;  // in conditions_; kEmpty: none
    };
    struct Conditions {
        std::vector<std::string> methods;
        std::vector<contract::HeaderMatch> headers;
        // First and last address of each range, sorted, none overlaps.
        std::vector<std::pair<IpAddress, IpAddress>> clients;
        bool any_client = true;

        bool hold(const RouteFacts& facts) const;
    };
    // Greater is better.
    struct Rank {
        int32_t priority = 0;
        uint32_t host = 0;  // 2: exact, 1: wildcard, 0: any
        bool exact_path = false;
        uint32_t path_size = 0;
        uint32_t conditions = 0;
        uint32_t route = kEmpty;  // the lower the better

        bool better_than(const Rank& other) const {
            return std::tie(priority, host, exact_path, path_size, conditions, other.route) >
                   std::tie(other.priority, other.host, other.exact_path, other.path_size,
                            other.conditions, route);
        }
    };
    struct Search {
        const RouteFacts& facts;
        uint32_t host_rank = 0;
        std::optional<Rank> best;
    };

    std::string_view view(Text text) const { return {texts_.data() + text.begin, text.size}; }
    Text keep(std::string_view text);
    void add_route(const contract::RouteConfig& route, uint32_t index);
    HostSlot& add_host(std::string_view host);
    void add_path(HostSlot& host, std::string_view path, bool exact, const Candidate& candidate);
    const HostSlot* find_host(std::string_view host) const;
    const PathSlot* find_path(uint64_t hash, uint32_t host, std::string_view path,
                              bool exact) const;
    void search_host(const HostSlot& host, std::string_view path, Search& search) const;
    void consider(const PathSlot* slot, Search& search) const;

    std::string texts_;
    std::vector<HostSlot> hosts_;  // open addressing, at most half full
    std::vector<PathSlot> paths_;  // the same
    std::vector<Candidate> candidates_;
    std::vector<Conditions> conditions_;
    uint32_t hosts_count_ = 0;
};

}  // namespace sluice::http
