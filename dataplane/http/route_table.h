// Which route takes a request: host, then the longest path prefix by whole segments.
//
// An exact host goes before a wildcard; where no path of it matches, the wildcard is asked too.
// "/a" and "/a/" as prefixes are the same and match "/a", "/a/" and "/a/b", never "/ab". Paths are
// compared case by case, hosts arrive in lower case.
//
// Cost: one hash look-up for the host, and one for each segment of the path down to the depth of
// that host's deepest prefix; the number of routes does not matter. Only lengths and bytes of the
// snapshot's own routes are stored, so no request can make look-ups slower.
// Memory: three arrays, made by the constructor. Thread: any, immutable after construction.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/contract/snapshot.h"
#include "dataplane/http/path.h"

namespace sluice::http {

class RouteTable {
  public:
    explicit RouteTable(const std::vector<contract::RouteConfig>& routes);

    // Index of the route. Of two routes for one host and prefix, the first counts.
    std::optional<uint32_t> match(std::string_view host, std::string_view path) const;

    enum class Miss : uint8_t {
        kNoRoute,
        kAmbiguous,  // the two readings of the path lead to different routes
    };
    std::expected<uint32_t, Miss> match(std::string_view host, const NormalPath& path) const;

  private:
    struct Text {
        uint32_t begin = 0;
        uint32_t size = 0;
    };
    struct HostSlot {
        uint64_t hash = 0;
        Text name;
        uint32_t id = kEmpty;
        uint32_t deepest = 0;  // most segments that a prefix of it has
    };
    struct PrefixSlot {
        uint64_t hash = 0;  // of host id and prefix
        Text prefix;        // without a slash at the end; "" is "/"
        uint32_t host = kEmpty;
        uint32_t route = 0;
    };
    static constexpr uint32_t kEmpty = UINT32_MAX;

    std::string_view view(Text text) const { return {texts_.data() + text.begin, text.size}; }
    Text keep(std::string_view text);
    const HostSlot* find_host(std::string_view host) const;
    const PrefixSlot* find_prefix(uint64_t hash, uint32_t host, std::string_view prefix) const;
    std::optional<uint32_t> match_host(const HostSlot& host, std::string_view path) const;
    HostSlot& add_host(std::string_view host);
    void add_prefix(HostSlot& host, std::string_view prefix, uint32_t route);

    std::string texts_;
    std::vector<HostSlot> hosts_;       // open addressing, at most half full
    std::vector<PrefixSlot> prefixes_;  // the same
    uint32_t hosts_count_ = 0;
};

}  // namespace sluice::http
