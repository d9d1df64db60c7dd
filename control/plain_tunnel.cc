#include "control/plain_tunnel.h"

#include <algorithm>
#include <set>
#include <utility>

#include "control/node_tunnel.h"
#include "dataplane/base/check.h"

namespace sluice::control {

PlainTunnel::PlainTunnel(Node& node, const std::string& interface, LinkState link)
    : node_(node), link_(link), served_link_(link) {
    config_.interface = interface;
    node_.serve_only(served(config_, link_));
}

bool PlainTunnel::is_silent(const contract::WireguardConfig& config, const LinkState& link) {
    return !link.is_up || config.private_key.is_zero();
}

contract::WireguardConfig PlainTunnel::served(contract::WireguardConfig config,
                                              const LinkState& link) {
    config.mtu = link.mtu;
    if (is_silent(config, link)) config.peers.clear();
    return config;
}

void PlainTunnel::set_link(LinkState link) {
    link_ = link;
    follow();
}

void PlainTunnel::apply(contract::WireguardConfig config, std::function<void(int error)> done) {
    SLUICE_CHECK(!change_);
    change_ = Change{std::move(config), std::move(done)};
    follow();
}

void PlainTunnel::follow() {
    if (is_following_ || (!change_ && link_ == served_link_)) return;
    is_following_ = true;
    served_link_ = link_;
    const auto& wanted = change_ ? change_->config : config_;
    if (!is_served_ || !is_silent(wanted, served_link_)) {
        send();
        return;
    }
    node_.collect_reports([this, alive = std::weak_ptr(alive_)](CollectedReports collected) {
        if (alive.expired()) return;
        for (const contract::WorkerReport& report : collected.reports)
            remember(report.peers);
        send();
    });
}

void PlainTunnel::send() {
    const auto& wanted = change_ ? change_->config : config_;
    is_served_ = !is_silent(wanted, served_link_);
    node_.change_tunnel(served(wanted, served_link_),
                        [this, alive = std::weak_ptr(alive_)](const LoadOutcome& outcome) {
                            if (!alive.expired()) finish(outcome);
                        });
}

void PlainTunnel::finish(const LoadOutcome& outcome) {
    is_following_ = false;
    const int answer = answer_of(outcome);
    if (change_) {
        Change change = *std::exchange(change_, std::nullopt);
        if (answer != 0) {
            is_served_ = !is_silent(config_, served_link_);
        } else {
            config_ = std::move(change.config);
            forget_removed_peers();
        }
        change.done(answer);
    }
    follow();
}

void PlainTunnel::remember(const std::vector<contract::PeerReport>& peers) {
    std::map<contract::Key, Endpoint> learned;
    for (const contract::PeerReport& peer : peers) {
        contract::PeerReport& kept = remembered_[peer.public_key];
        kept.name = peer.name;
        kept.public_key = peer.public_key;
        kept.received_bytes += peer.received_bytes;
        kept.sent_bytes += peer.sent_bytes;
        kept.last_handshake = std::max(kept.last_handshake, peer.last_handshake);
        if (peer.endpoint.is_set()) learned.emplace(peer.public_key, peer.endpoint);
    }
    // Where a peer was heard from last is where it is looked for first, unless wg(8) has just said
    // otherwise.
    std::map<contract::Key, std::optional<Endpoint>> before;
    for (contract::PeerConfig& peer : config_.peers) {
        before.emplace(peer.public_key, peer.endpoint);
        const auto found = learned.find(peer.public_key);
        if (found != learned.end()) peer.endpoint = found->second;
    }
    if (!change_) return;
    for (contract::PeerConfig& peer : change_->config.peers) {
        const auto old = before.find(peer.public_key);
        const auto found = learned.find(peer.public_key);
        if (found == learned.end() || old == before.end()) continue;
        if (peer.endpoint == old->second) peer.endpoint = found->second;
    }
}

void PlainTunnel::forget_removed_peers() {
    std::set<contract::Key> present;
    for (const contract::PeerConfig& peer : config_.peers)
        present.insert(peer.public_key);
    std::erase_if(remembered_,
                  [&present](const auto& entry) { return !present.contains(entry.first); });
}

void PlainTunnel::report(Report done) {
    node_.collect_reports(
        [this, alive = std::weak_ptr(alive_), done = std::move(done)](CollectedReports collected) {
            if (alive.expired()) return;
            TunnelReport together = tunnel_report(std::move(collected));
            add_remembered(together.peers);
            done(together.port, std::move(together.peers));
        });
}

void PlainTunnel::add_remembered(std::vector<contract::PeerReport>& peers) const {
    std::set<contract::Key> live;
    for (contract::PeerReport& peer : peers) {
        live.insert(peer.public_key);
        const auto kept = remembered_.find(peer.public_key);
        if (kept == remembered_.end()) continue;
        peer.received_bytes += kept->second.received_bytes;
        peer.sent_bytes += kept->second.sent_bytes;
        peer.last_handshake = std::max(peer.last_handshake, kept->second.last_handshake);
    }
    for (const auto& [key, kept] : remembered_) {
        if (!live.contains(key)) peers.push_back(kept);
    }
}

}  // namespace sluice::control
