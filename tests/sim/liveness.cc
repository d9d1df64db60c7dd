// The second phase: nothing is wrong any more, so data must flow, and within a time that follows
// from the protocol's timers.
#include "tests/sim/world.h"
#include "tests/sim/world_loop.h"

namespace sluice::sim {

using namespace std::chrono_literals;

namespace {

constexpr Duration kJitter = 334ms;
// An initiation that is not answered is sent again after this.
constexpr Duration kRetry = 5s + kJitter;
// One end may think that a session lives which the other has lost. It notices when nothing comes
// back for 15 s (+ jitter) after data.
constexpr Duration kDeadPeer = 15s + kJitter;
// The steady packets' interval, a few ways there and back, and ticks.
constexpr Duration kWay = 600ms;

// After healing: a dead session is noticed; and up to three initiations in a row may fail: one was
// sent a moment before and was lost, one is answered with a cookie because the node was under load,
// one crosses the other end's own.
constexpr Duration kHealBound = kDeadPeer + 3 * kRetry + kWay;
constexpr Duration kRestartBound = 20s;

}  // namespace

void World::heal() {
    safety_phase_ = false;
    plan_ = FaultPlan();
    network_.heal();
    log_.line(clock_.mono(), 0, [] { return std::string("(everything heals)"); });
    for (const auto& node : nodes_) {
        node->paused_until = node->wrong_until = clock_.mono();
        boot(*node);
        resume(*node);
    }
    for (const auto& node : nodes_) {
        for (SimPeer& peer : node->peers()) {
            if (!peer.present) restore_peer(node->number(), peer.node);
        }
    }
    for (uint32_t i = 0; i < members_; ++i) {
        for (SimPeer& peer : nodes_[i]->peers()) {
            if (network_.attachment(peer.node).fixed) repair_endpoint(*nodes_[i], peer);
        }
    }
    steady_traffic(true);
    const Instant since = clock_.mono();
    demand_flow(Invariant::kLivenessHeal, since, kHealBound, kNobody);
    slowest_heal_ = clock_.mono() - since;
    coverage_.done(Deed::kHealed);
}

// If each end was lured to somewhere else, or moved while the other was, no packet can bring them
// together again: WireGuard leaves that to whoever knows the address. He sets it anew.
void World::repair_endpoint(SimNode& node, SimPeer& peer) {
    SimNode& fixed = *nodes_[peer.node];
    const Endpoint here = node.device().peer_state(peer.id).endpoint;
    const Endpoint there = fixed.device().peer_state(fixed.peer(node.number())->id).endpoint;
    if (network_.would_arrive(here, fixed.number(), clock_.mono())) return;
    if (network_.would_arrive(there, node.number(), clock_.mono())) return;
    const Attachment& attachment = network_.attachment(peer.node);
    peer.configured =
        peer.configured == attachment.primary ? attachment.alternate : attachment.primary;
    configure(node, false);
}

bool World::flows_since(uint32_t a, uint32_t b, Instant since) {
    return conversation(a, b)->newest_delivered >= since &&
           conversation(b, a)->newest_delivered >= since;
}

// Every pair (of `only_node`, unless nobody) delivers, in both directions, a packet that was sent
// after `since`.
void World::demand_flow(Invariant invariant, Instant since, Duration bound, uint32_t only_node) {
    const auto waiting_for = [&]() -> const Conversation* {
        for (const Conversation& said : conversations_) {
            if (only_node != kNobody && said.from != only_node && said.to != only_node) continue;
            if (!flows_since(said.from, said.to, since)) return &said;
        }
        return nullptr;
    };
    if (run_until(since + bound, [&] { return waiting_for() == nullptr; })) return;
    if (waiting_for() == nullptr) return;
    const Conversation& stuck = *waiting_for();
    throw Violation{invariant, stuck.from,
                    "nothing flows between node " + std::to_string(stuck.from) + " and node " +
                        std::to_string(stuck.to) + " after " + std::to_string(bound / 1ms) + " ms"};
}

void World::demand_restart() {
    SimNode& node = any_node();
    const Duration down = dice_.between(Duration(0s), Duration(2s));
    const Instant since = clock_.mono() + down;
    restart(node, down);
    demand_flow(Invariant::kLivenessRestart, since, kRestartBound, node.number());
    coverage_.done(Deed::kLivenessRestart);
}

void World::demand_peer_loss() {
    SimNode& node = any_node();
    const uint32_t peer = any_peer(node).node;
    const Instant since = clock_.mono();
    const Instant until = since + kDeadPeer + kWay;
    network_.cut(node.number(), peer, until);
    network_.cut(peer, node.number(), until);
    const auto noticed = [&] {
        return invariants_->dealings(node.number(), peer).initiation_at > since;
    };
    if (!run_until(until, noticed)) {
        throw Violation{Invariant::kLivenessPeerLoss, node.number(),
                        "no handshake with node " + std::to_string(peer) + " begun"};
    }
    coverage_.done(Deed::kLivenessPeerLoss);
    run_for(until - clock_.mono());
    demand_flow(Invariant::kLivenessHeal, until, kHealBound, kNobody);
}

void World::demand_keepalive() {
    SimNode* mobile = nullptr;
    uint32_t fixed = kNobody;
    for (uint32_t i = 0; i < members_; ++i) {
        if (!network_.attachment(i).nat) continue;
        for (const SimPeer& peer : nodes_[i]->peers()) {
            if (peer.persistent_keepalive_s == 0) continue;
            mobile = nodes_[i].get();
            fixed = peer.node;
        }
    }
    if (mobile == nullptr) return demand_restart();
    steady_traffic(false);
    const Endpoint mapping = network_.attachment(mobile->number()).primary;
    run_for(dice_.between(Duration(100s), Duration(250s)));
    // With a session this takes one way; without one a handshake comes first, and it may cross
    // the mobile end's own.
    const Instant since = clock_.mono();
    send_parcel({.from = fixed, .to = mobile->number(), .size = 64});
    const bool arrived = run_until(since + kRetry + kWay, [&] {
        return conversation(fixed, mobile->number())->newest_delivered >= since;
    });
    if (!arrived || network_.attachment(mobile->number()).primary != mapping) {
        throw Violation{Invariant::kLivenessKeepalive, mobile->number(),
                        "the mapping " + mapping.text() + " was not held"};
    }
    coverage_.done(Deed::kLivenessKeepalive);
}

// Nobody says anything any more. Sometimes nothing could arrive either.
void World::demand_silence() {
    // Handshakes that go on for 90 s, then the keys' whole life, then some.
    constexpr Duration kSilence = 15s + 90s + 540s + 15s;
    steady_traffic(false);
    const Instant since = clock_.mono();
    const bool cut = dice_.below(2) == 0;
    for (uint32_t a = 0; cut && a < nodes_.size(); ++a) {
        for (uint32_t b = 0; b < nodes_.size(); ++b)
            network_.cut(a, b, since + kSilence);
    }
    run_for(kSilence);
    for (uint32_t i = 0; i < members_; ++i) {
        for (const SimPeer& peer : nodes_[i]->peers()) {
            const SimPeer& back = *nodes_[peer.node]->peer(i);
            if (peer.persistent_keepalive_s > 0 || back.persistent_keepalive_s > 0) continue;
            if (nodes_[i]->device().peer_state(peer.id).holds_key_material) {
                throw Violation{Invariant::kKeyErasure, i, "keys kept through the silence"};
            }
        }
    }
}

}  // namespace sluice::sim
