// What a tunnel's peers and addresses must keep to among themselves.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "control/config/check_parts.h"

namespace sluice::config {

namespace {

struct Claim {
    IpPrefix prefix;  // masked
    const Located<IpPrefix>* written;
    const Peer* peer;
};

// Two prefixes are either apart or one holds the other, so after sorting, everything that a prefix
// holds follows it directly: one pass with a stack of what is still open finds all overlaps.
void check_allowed_ips(const Wireguard& wireguard, Diagnostics& diagnostics) {
    std::vector<Claim> claims;
    for (const Peer& peer : wireguard.peers) {
        for (const Located<IpPrefix>& prefix : peer.allowed_ips) {
            claims.push_back({prefix.value.masked(), &prefix, &peer});
        }
    }
    std::sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
        return std::tie(a.prefix, a.written->at) < std::tie(b.prefix, b.written->at);
    });
    std::vector<const Claim*> open;
    for (const Claim& claim : claims) {
        while (!open.empty() && !open.back()->prefix.contains(claim.prefix.address)) {
            open.pop_back();
        }
        // Who has 0.0.0.0/0 has what nobody else has, which is what everybody means by it. Any
        // other prefix inside another peer's is more likely a mistake.
        const bool inside_default =
            !open.empty() && open.back()->prefix.length == 0 && claim.prefix.length > 0;
        if (!open.empty() && open.back()->peer != claim.peer && !inside_default) {
            const Claim* first = open.back();
            const Claim* second = &claim;
            if (second->written->at < first->written->at) std::swap(first, second);
            diagnostics.error(second->written->at,
                              "allowed IPs " + second->written->value.text() + " of peer " +
                                  in_quotes(second->peer->name.value) + " overlap " +
                                  first->written->value.text() + " of peer " +
                                  in_quotes(first->peer->name.value) + " on " +
                                  line_of(first->written->at) +
                                  "; an address can belong to one peer only");
        }
        open.push_back(&claim);
    }
}

void check_peer(const Peer& peer, const Wireguard& wireguard, Diagnostics& diagnostics) {
    for (const Located<IpPrefix>& prefix : peer.allowed_ips) {
        for (const Located<IpPrefix>& own : wireguard.addresses) {
            if (prefix.value.length == 0 || !prefix.value.contains(own.value.address)) continue;
            diagnostics.error(
                prefix.at, "allowed IPs " + prefix.value.text() + " of peer " +
                               in_quotes(peer.name.value) + " hold the node's own tunnel address " +
                               own.value.address.text() + "; give the peer addresses of its own");
        }
    }
    const contract::Key zero{};
    if (peer.public_key.at.line > 0 && peer.public_key.value == zero) {
        diagnostics.error(peer.public_key.at,
                          "the public key is all zeros; write what `wg pubkey` printed for it");
    }
}

}  // namespace

void check_wireguard(const Wireguard& wireguard, Diagnostics& diagnostics) {
    check_names(wireguard.peers, "peer", diagnostics);
    std::map<contract::Key, const Peer*> keys;
    for (const Peer& peer : wireguard.peers) {
        check_peer(peer, wireguard, diagnostics);
        if (peer.public_key.at.line == 0) continue;
        const auto [first, fresh] = keys.emplace(peer.public_key.value, &peer);
        if (fresh) continue;
        diagnostics.error(peer.public_key.at, "peer " + in_quotes(peer.name.value) +
                                                  " has the public key of peer " +
                                                  in_quotes(first->second->name.value) + " on " +
                                                  line_of(first->second->public_key.at) +
                                                  "; every device needs a key pair of its own");
    }
    check_allowed_ips(wireguard, diagnostics);
    // 1280: RFC 8200 section 5, the least that an IPv6 link may have.
    const auto v6 = std::find_if(wireguard.addresses.begin(), wireguard.addresses.end(),
                                 [](const auto& own) { return own.value.address.is_v6(); });
    if (v6 != wireguard.addresses.end() && wireguard.mtu.value < 1280) {
        diagnostics.error(wireguard.mtu.at, "\"mtu\" is " + std::to_string(wireguard.mtu.value) +
                                                ", but IPv6 inside the tunnel (" +
                                                v6->value.text() + ") needs at least 1280");
    }
    std::set<IpAddress> seen;
    for (const Located<IpPrefix>& own : wireguard.addresses) {
        if (seen.insert(own.value.address).second) continue;
        diagnostics.error(own.at, "the address " + own.value.address.text() +
                                      " stands in \"addresses\" twice; remove one");
    }
}

}  // namespace sluice::config
