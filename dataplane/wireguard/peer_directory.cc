#include "dataplane/wireguard/peer_directory.h"

namespace sluice::wireguard {

void PeerDirectory::reserve(size_t peers, size_t v4_prefixes, size_t v6_prefixes) {
    by_key_.reserve(peers);
    workers_.reserve(peers);
    allowed_ips_.reserve(v4_prefixes, v6_prefixes);
}

PeerId PeerDirectory::add(const PublicKey& key, std::span<const IpPrefix> allowed_ips,
                          uint32_t worker) {
    const auto id = static_cast<PeerId>(workers_.size());
    workers_.push_back(static_cast<uint16_t>(worker));
    if (key == own_key_) return id;
    by_key_.emplace(key, id);
    for (const IpPrefix& prefix : allowed_ips)
        allowed_ips_.insert(prefix, id);
    return id;
}

std::optional<PeerId> PeerDirectory::find(const PublicKey& key) const {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return {};
    return found->second;
}

}  // namespace sluice::wireguard
