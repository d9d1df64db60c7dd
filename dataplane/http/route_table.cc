#include "dataplane/http/route_table.h"

#include <algorithm>
#include <bit>

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

}  // namespace

RouteTable::RouteTable(const std::vector<contract::RouteConfig>& routes) {
    size_t names = 1;
    for (const contract::RouteConfig& route : routes)
        names += route.hosts.size();
    hosts_.resize(std::bit_ceil(names * 2));
    prefixes_.resize(std::bit_ceil(names * 4));  // each prefix may have a second reading

    std::string storage;
    std::string generous_storage;
    for (uint32_t i = 0; i < routes.size(); ++i) {
        const std::string& prefix = routes[i].path_prefix;
        storage.resize(prefix.size());
        generous_storage.resize(prefix.size());
        // In the spelling in which requests arrive here; or as it is, and then nothing matches it.
        const NormalPath path =
            normalise_path(prefix, storage, generous_storage).value_or(NormalPath{prefix, prefix});
        for (const std::string& name : routes[i].hosts) {
            HostSlot& host = add_host(name);
            add_prefix(host, path.path, i);
            if (path.generous != path.path) add_prefix(host, path.generous, i);
        }
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
            slot = {hash, keep(host), hosts_count_++, 0};
            return slot;
        }
        if (slot.hash == hash && view(slot.name) == host) return slot;
    }
}

void RouteTable::add_prefix(HostSlot& host, std::string_view prefix, uint32_t route) {
    prefix = without_last_slash(prefix);
    const uint64_t hash = hash_text(hash_start_of(host.id), prefix);
    for (size_t i = slot_of(hash, prefixes_.size());; i = (i + 1) & (prefixes_.size() - 1)) {
        PrefixSlot& slot = prefixes_[i];
        if (slot.host == kEmpty) {
            slot = {hash, keep(prefix), host.id, route};
            break;
        }
        if (slot.hash == hash && slot.host == host.id && view(slot.prefix) == prefix) return;
    }
    const auto depth = static_cast<uint32_t>(std::ranges::count(prefix, '/'));
    host.deepest = std::max(host.deepest, depth);
}

const RouteTable::HostSlot* RouteTable::find_host(std::string_view host) const {
    const uint64_t hash = hash_text(kHashStart, host);
    for (size_t i = slot_of(hash, hosts_.size());; i = (i + 1) & (hosts_.size() - 1)) {
        const HostSlot& slot = hosts_[i];
        if (slot.id == kEmpty) return nullptr;
        if (slot.hash == hash && view(slot.name) == host) return &slot;
    }
}

const RouteTable::PrefixSlot* RouteTable::find_prefix(uint64_t hash, uint32_t host,
                                                      std::string_view prefix) const {
    for (size_t i = slot_of(hash, prefixes_.size());; i = (i + 1) & (prefixes_.size() - 1)) {
        const PrefixSlot& slot = prefixes_[i];
        if (slot.host == kEmpty) return nullptr;
        if (slot.hash == hash && slot.host == host && view(slot.prefix) == prefix) return &slot;
    }
}

std::optional<uint32_t> RouteTable::match_host(const HostSlot& host, std::string_view path) const {
    uint64_t hash = hash_start_of(host.id);
    const PrefixSlot* longest = find_prefix(hash, host.id, {});
    size_t end = 0;
    for (uint32_t depth = 0; depth < host.deepest && end < path.size(); ++depth) {
        hash = hash_byte(hash, path[end++]);  // the slash that begins the segment
        while (end < path.size() && path[end] != '/')
            hash = hash_byte(hash, path[end++]);
        if (const PrefixSlot* found = find_prefix(hash, host.id, path.substr(0, end)))
            longest = found;
    }
    if (longest == nullptr) return std::nullopt;
    return longest->route;
}

std::optional<uint32_t> RouteTable::match(std::string_view host, std::string_view path) const {
    if (const HostSlot* exact = find_host(host)) {
        if (const auto route = match_host(*exact, path)) return route;
    }
    const size_t dot = host.find('.');
    if (dot == std::string_view::npos || dot == 0) return std::nullopt;
    // A label and a star are seldom of one length, so the wildcard's name is made.
    char name[2 + 256];
    const std::string_view rest = host.substr(dot);
    if (rest.size() > sizeof name - 1) return std::nullopt;
    name[0] = '*';
    std::ranges::copy(rest, name + 1);
    const HostSlot* wildcard = find_host({name, rest.size() + 1});
    return wildcard == nullptr ? std::nullopt : match_host(*wildcard, path);
}

std::expected<uint32_t, RouteTable::Miss> RouteTable::match(std::string_view host,
                                                            const NormalPath& path) const {
    const std::optional<uint32_t> route = match(host, path.path);
    if (path.path != path.generous && match(host, path.generous) != route)
        return std::unexpected(Miss::kAmbiguous);
    if (!route) return std::unexpected(Miss::kNoRoute);
    return *route;
}

}  // namespace sluice::http
