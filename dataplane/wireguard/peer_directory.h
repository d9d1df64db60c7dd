// Which peer a public key or an inner address belongs to, and which worker owns that peer: what all
// devices of one node have to agree on. The table of allowed IPs is one for all peers, whoever owns
// them: a device that knew only its own peers' prefixes would let a peer with 10.0.0.0/8 send from
// 10.1.0.0/16 of another worker's peer.
//
// Thread: filled by one, then only read, by any. Memory: add() and reserve() allocate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/wireguard/allowed_ips.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

class PeerDirectory {
  public:
    // `own_key`: a peer with this key takes a number but is found by nobody, because a tunnel to
    // ourselves would only go round in circles.
    explicit PeerDirectory(const PublicKey& own_key) : own_key_(own_key) {}

    void reserve(size_t peers, size_t v4_prefixes, size_t v6_prefixes);
    // The next peer; numbers count up from 0. Precondition: its key was not added before.
    PeerId add(const PublicKey& key, std::span<const IpPrefix> allowed_ips, uint32_t worker);
    // When all are in: from then on addresses are found.
    void finish() { allowed_ips_.finish(); }
    bool finished() const { return allowed_ips_.finished(); }

    size_t size() const { return workers_.size(); }
    std::optional<PeerId> find(const PublicKey& key) const;
    // By longest prefix; 4 or 16 bytes. kNoPeer: nobody's.
    PeerId find(Bytes address) const { return allowed_ips_.find(address); }
    // Precondition: peer < size().
    uint32_t worker_of(PeerId peer) const { return workers_[peer]; }

  private:
    struct KeyHash {
        // Keys come from the settings, so nobody outside can make them collide.
        size_t operator()(const PublicKey& key) const { return load_native<size_t>(key.data()); }
    };

    PublicKey own_key_;
    AllowedIps allowed_ips_;
    std::unordered_map<PublicKey, PeerId, KeyHash> by_key_;
    std::vector<uint16_t> workers_;  // by PeerId
};

}  // namespace sluice::wireguard
