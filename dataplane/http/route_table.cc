#include "dataplane/http/route_table.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "dataplane/base/check.h"

namespace sluice::http {

namespace {

// FNV-1a: taken byte by byte, so that the hash of each prefix is met on the way to the next one.
constexpr uint64_t kHashStart = 0xcbf29ce484222325;
uint64_t hash_byte(uint64_t hash, char byte) {
    return (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
}
uint64_t hash_text(uint64_t hash, std::string_view text) {
    for (const char c : text)
        hash = hash_byte(hash, c);
    return hash;
}
uint64_t hash_start_of(uint32_t host) {
    return (kHashStart ^ host) * 0x9e3779b97f4a7c15;
}
// The low bits choose the slot, and FNV leaves them the weakest.
size_t slot_of(uint64_t hash, size_t slots) {
    return (hash ^ (hash >> 32)) & (slots - 1);
}

// "/a/b/" is "/a/b", "/" is "".
std::string_view without_last_slash(std::string_view prefix) {
    while (!prefix.empty() && prefix.back() == '/')
        prefix.remove_suffix(1);
    return prefix;
}

// The families must not interleave, or a range of the one would hide those of the other.
auto by_family(const IpAddress& address) {
    return std::tie(address.family, address.bytes);
}

std::pair<IpAddress, IpAddress> range_of(const IpPrefix& prefix) {
    const IpAddress first = prefix.masked().address;
    IpAddress last = first;
    for (unsigned bit = prefix.length; bit < last.bits(); ++bit)
        last.bytes[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
    return {first, last};
}

std::vector<std::pair<IpAddress, IpAddress>> ranges_of(const std::vector<IpPrefix>& prefixes) {
    std::vector<std::pair<IpAddress, IpAddress>> ranges;
    for (const IpPrefix& prefix : prefixes)
        ranges.push_back(range_of(prefix));
    std::ranges::sort(ranges, [](const auto& a, const auto& b) {
        return std::tuple(by_family(a.first), by_family(a.second)) <
               std::tuple(by_family(b.first), by_family(b.second));
    });
    // Of two prefixes that overlap one holds the other, and the larger one comes first or begins
    // with the smaller one.
    std::vector<std::pair<IpAddress, IpAddress>> merged;
    for (const auto& range : ranges) {
        if (!merged.empty() && merged.back().first.family == range.first.family &&
            merged.back().second.bytes >= range.first.bytes) {
            merged.back().second = std::max(merged.back().second, range.second);
        } else {
            merged.push_back(range);
        }
    }
    return merged;
}

size_t count_conditions(const contract::RouteConfig& route) {
    return route.headers.size() + (route.methods.empty() ? 0 : 1) + (route.clients.empty() ? 0 : 1);
}

}  // namespace

RouteTable::RouteTable(const std::vector<contract::RouteConfig>& routes) {
    size_t names = 1;
    for (const contract::RouteConfig& route : routes)
        names += route.hosts.size();
    hosts_.resize(std::bit_ceil(names * 2));
    paths_.resize(std::bit_ceil(names * 4));  // each path may have a second reading

    // The best first, so that those that share host and path come to stand in their order.
    std::vector<uint32_t> order(routes.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, [&routes](uint32_t a, uint32_t b) {
        const auto rank = [&routes](uint32_t index) {
            return std::pair(routes[index].priority.value_or(0), count_conditions(routes[index]));
        };
        return rank(a) > rank(b);
    });
    for (const uint32_t index : order)
        add_route(routes[index], index);
}

void RouteTable::add_route(const contract::RouteConfig& route, uint32_t index) {
    Candidate candidate{.route = index,
                        .next = kEmpty,
                        .priority = route.priority.value_or(0),
                        .conditions = static_cast<uint32_t>(count_conditions(route)),
                        .place = kEmpty};
    if (candidate.conditions > 0) {
        candidate.place = static_cast<uint32_t>(conditions_.size());
        conditions_.push_back({.methods = route.methods,
                               .headers = route.headers,
                               .clients = ranges_of(route.clients),
                               .any_client = route.clients.empty()});
    }
    const bool exact = route.path.has_value();
    const std::string& written = exact ? *route.path : route.path_prefix;
    std::string storage(written.size(), '\0');
    std::string generous_storage(written.size(), '\0');
    // In the spelling in which requests arrive here; or as it is, and then nothing matches it.
    const NormalPath path =
        normalise_path(written, storage, generous_storage).value_or(NormalPath{written, written});
    for (const std::string& name : route.hosts) {
        HostSlot& host = add_host(name);
        add_path(host, path.path, exact, candidate);
        if (path.generous != path.path) add_path(host, path.generous, exact, candidate);
    }
}

RouteTable::Text RouteTable::keep(std::string_view text) {
    const Text kept{static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(text.size())};
    texts_ += text;
    return kept;
}

RouteTable::HostSlot& RouteTable::add_host(std::string_view host) {
    const uint64_t hash = hash_text(kHashStart, host);
    for (size_t i = slot_of(hash, hosts_.size());; i = (i + 1) & (hosts_.size() - 1)) {
        HostSlot& slot = hosts_[i];
        if (slot.id == kEmpty) {
            slot = {.hash = hash,
                    .name = keep(host),
                    .id = hosts_count_++,
                    .deepest = 0,
                    .has_exact_paths = false};
            return slot;
        }
        if (slot.hash == hash && view(slot.name) == host) return slot;
    }
}

void RouteTable::add_path(HostSlot& host, std::string_view path, bool exact,
                          const Candidate& candidate) {
    if (exact) {
        host.has_exact_paths = true;
    } else {
        path = without_last_slash(path);
        const auto depth = static_cast<uint32_t>(std::ranges::count(path, '/'));
        host.deepest = std::max(host.deepest, depth);
    }
    const uint64_t hash = hash_text(hash_start_of(host.id), path);
    size_t i = slot_of(hash, paths_.size());
    while (paths_[i].host != kEmpty && !(paths_[i].hash == hash && paths_[i].host == host.id &&
                                         paths_[i].exact == exact && view(paths_[i].path) == path))
        i = (i + 1) & (paths_.size() - 1);
    PathSlot& slot = paths_[i];
    if (slot.host == kEmpty) {
        slot = {.hash = hash,
                .path = keep(path),
                .host = host.id,
                .exact = exact,
                .first = kEmpty,
                .last = kEmpty};
    } else if (candidates_[slot.last].place == kEmpty) {
        return;  // that one takes all that would come to this one
    }
    const auto added = static_cast<uint32_t>(candidates_.size());
    candidates_.push_back(candidate);
    (slot.first == kEmpty ? slot.first : candidates_[slot.last].next) = added;
    slot.last = added;
}

const RouteTable::HostSlot* RouteTable::find_host(std::string_view host) const {
    const uint64_t hash = hash_text(kHashStart, host);
    for (size_t i = slot_of(hash, hosts_.size());; i = (i + 1) & (hosts_.size() - 1)) {
        const HostSlot& slot = hosts_[i];
        if (slot.id == kEmpty) return nullptr;
        if (slot.hash == hash && view(slot.name) == host) return &slot;
    }
}

const RouteTable::PathSlot* RouteTable::find_path(uint64_t hash, uint32_t host,
                                                  std::string_view path, bool exact) const {
    for (size_t i = slot_of(hash, paths_.size());; i = (i + 1) & (paths_.size() - 1)) {
        const PathSlot& slot = paths_[i];
        if (slot.host == kEmpty) return nullptr;
        if (slot.hash == hash && slot.host == host && slot.exact == exact &&
            view(slot.path) == path)
            return &slot;
    }
}

bool RouteTable::Conditions::hold(const RouteFacts& facts) const {
    if (!methods.empty() && std::ranges::find(methods, facts.method) == methods.end()) return false;
    for (const contract::HeaderMatch& header : headers) {
        const bool found = std::ranges::any_of(facts.fields, [&](const wire::Http1Field& field) {
            return wire::equals_ignoring_case(field.name, header.name) &&
                   (!header.value || field.value == *header.value);
        });
        if (!found) return false;
    }
    if (any_client) return true;
    // The last range that does not begin behind the address.
    const auto behind =
        std::ranges::upper_bound(clients, by_family(facts.client), {},
                                 [](const auto& range) { return by_family(range.first); });
    if (behind == clients.begin()) return false;
    const auto& [first, last] = *std::prev(behind);
    return facts.client.family == first.family && facts.client.bytes <= last.bytes;
}

void RouteTable::consider(const PathSlot* slot, Search& search) const {
    if (slot == nullptr) return;
    for (uint32_t i = slot->first; i != kEmpty; i = candidates_[i].next) {
        const Candidate& candidate = candidates_[i];
        const Rank rank{.priority = candidate.priority,
                        .host = search.host_rank,
                        .exact_path = slot->exact,
                        .path_size = slot->path.size,
                        .conditions = candidate.conditions,
                        .route = candidate.route};
        // Those that follow are no better.
        if (search.best && !rank.better_than(*search.best)) return;
        if (candidate.place == kEmpty || conditions_[candidate.place].hold(search.facts)) {
            search.best = rank;
            return;
        }
    }
}

void RouteTable::search_host(const HostSlot& host, std::string_view path, Search& search) const {
    uint64_t hash = hash_start_of(host.id);
    consider(find_path(hash, host.id, {}, false), search);
    size_t end = 0;
    for (uint32_t depth = 0; depth < host.deepest && end < path.size(); ++depth) {
        hash = hash_byte(hash, path[end++]);  // the slash that begins the segment
        while (end < path.size() && path[end] != '/')
            hash = hash_byte(hash, path[end++]);
        consider(find_path(hash, host.id, path.substr(0, end), false), search);
    }
    if (!host.has_exact_paths) return;
    hash = hash_text(hash, path.substr(end));
    consider(find_path(hash, host.id, path, true), search);
}

std::optional<uint32_t> RouteTable::match(std::string_view host, std::string_view path,
                                          const RouteFacts& facts) const {
    Search search{.facts = facts, .host_rank = 2, .best = {}};
    if (const HostSlot* exact = find_host(host)) search_host(*exact, path, search);
    const size_t dot = host.find('.');
    // A label and a star are seldom of one length, so the wildcard's name is made.
    char name[2 + 256];
    if (dot != std::string_view::npos && dot > 0 && host.size() - dot < sizeof name) {
        const std::string_view rest = host.substr(dot);
        name[0] = '*';
        std::ranges::copy(rest, name + 1);
        search.host_rank = 1;
        if (const HostSlot* wildcard = find_host({name, rest.size() + 1}))
            search_host(*wildcard, path, search);
    }
    search.host_rank = 0;
    if (const HostSlot* any = find_host("*")) search_host(*any, path, search);
    if (!search.best) return std::nullopt;
    return search.best->route;
}

std::expected<uint32_t, RouteTable::Miss> RouteTable::match(std::string_view host,
                                                            const NormalPath& path,
                                                            const RouteFacts& facts) const {
    // Both readings meet the same conditions, because none of them depends on the path.
    const std::optional<uint32_t> route = match(host, path.path, facts);
    if (path.path != path.generous && match(host, path.generous, facts) != route)
        return std::unexpected(Miss::kAmbiguous);
    if (!route) return std::unexpected(Miss::kNoRoute);
    return *route;
}

}  // namespace sluice::http
