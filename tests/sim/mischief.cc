// Faults that come at times of their own: to links, to nodes, and by the attacker.
#include <algorithm>

#include "tests/sim/world.h"

namespace sluice::sim {

using namespace std::chrono_literals;

void World::begin_mischief() {
    for (size_t i = 0; i < kFaultCount; ++i) {
        const auto fault = static_cast<Fault>(i);
        if (!strikes_at_times(fault) || !plan_.on(fault)) continue;
        events_.push(clock_.mono() + plan_.interval(fault, dice_), EventKind::kMischief,
                     static_cast<uint32_t>(i));
    }
}

// `detail` of a flood counts the waves that are still to come.
void World::strike(const Event& event) {
    if (!safety_phase_) return;
    const auto fault = static_cast<Fault>(event.subject);
    Duration next = plan_.interval(fault, dice_);
    uint32_t detail = 0;
    log_.line(clock_.mono(), 0,
              [&] { return "(fault: " + std::string(kFaultTexts[event.subject].name) + ")"; });
    switch (fault) {
        case Fault::kClog:
        case Fault::kPartition:
            strike_link(fault);
            break;
        case Fault::kRebind:
        case Fault::kRoam:
        case Fault::kRestart:
        case Fault::kPause:
        case Fault::kClockJump:
        case Fault::kReconfigure:
        case Fault::kNewPresharedKey:
        case Fault::kNewPrivateKey:
        case Fault::kRemovePeer:
            strike_node(fault);
            break;
        case Fault::kBurst:
            burst();
            break;
        case Fault::kStranger:
            stranger_calls();
            break;
        case Fault::kWindowStorm:
            window_storm();
            break;
        case Fault::kFlood:
            coverage_.injected(fault);
            if (event.detail == 0) flood_target_ = any_node().number();
            attacker_.flood(flood_target_, clock_.mono());
            // A wave a second or so keeps a node under load.
            detail = event.detail == 0 ? flood_waves() : event.detail - 1;
            if (detail > 0) next = 900ms;
            break;
        default:
            attacker_.strike(fault, clock_.mono());
            break;
    }
    events_.push(clock_.mono() + next, EventKind::kMischief, event.subject, detail);
}

// Some floods last as long as a session does before it is renewed, so that honest handshakes of all
// kinds meet them.
uint32_t World::flood_waves() {
    const bool longest = dice_.below(24) == 0;
    return static_cast<uint32_t>(longest ? dice_.between(60, 150) : dice_.between(1, 12));
}

void World::strike_link(Fault fault) {
    SimNode& node = any_node();
    const uint32_t peer = any_peer(node).node;
    log_.line(clock_.mono(), node.number(), [&] {
        return "(fault: " + std::string(kFaultTexts[static_cast<size_t>(fault)].name) +
               " on the way to node " + std::to_string(peer) + ")";
    });
    if (fault == Fault::kClog) {
        network_.clog(node.number(), peer, clock_.mono() + dice_.about(Duration(1250ms)));
        return;
    }
    const Instant until = clock_.mono() + dice_.about(Duration(25s));
    network_.cut(node.number(), peer, until);
    if (dice_.below(3) == 0) network_.cut(peer, node.number(), until);
}

void World::strike_node(Fault fault) {
    SimNode& node = any_node();
    const bool mobile = !network_.attachment(node.number()).fixed;
    log_.line(clock_.mono(), node.number(), [&] {
        return "(fault: " + std::string(kFaultTexts[static_cast<size_t>(fault)].name) + ")";
    });
    switch (fault) {
        case Fault::kRebind:
            if (!mobile) return;
            network_.rebind(node.number());
            break;
        case Fault::kRoam:
            if (!mobile) return;
            network_.roam(node.number());
            break;
        case Fault::kRestart:
            if (!awake(node)) return;
            restart(node, dice_.below(2) == 0 ? Duration::zero() : dice_.about(Duration(5s)));
            return;
        case Fault::kPause:
            if (!awake(node)) return;
            pause(node, dice_.about(Duration(50s)) + 1ms);
            break;
        case Fault::kClockJump:
            if (!awake(node) || node.clock_is_wrong(clock_.mono())) return;
            node.wall_jump =
                dice_.between(Duration(1h), Duration(87600h)) * (dice_.below(2) == 0 ? 1 : -1);
            node.wrong_until = clock_.mono() + dice_.about(Duration(60s));
            break;
        case Fault::kReconfigure:
            if (!awake(node)) return;
            configure(node, true);
            break;
        case Fault::kNewPresharedKey:
            return new_preshared_key();
        case Fault::kNewPrivateKey:
            if (!awake(node)) return;
            return new_private_key(node);
        case Fault::kRemovePeer:
            if (!awake(node)) return;
            remove_peer(node);
            break;
        default:
            return;
    }
    coverage_.injected(fault);
}

void World::restart(SimNode& node, Duration down) {
    coverage_.injected(Fault::kRestart);
    coverage_.done(Deed::kRestart);
    log_.line(clock_.mono(), node.number(), [] { return std::string("dies"); });
    node.up = false;
    node.forget_tick();
    ++node.restarts;
    // A node that starts with a wrong clock is locked out by its own earlier timestamps, or by
    // these later: nobody can help that, so it starts with a right one.
    node.wrong_until = Instant::min();
    invariants_->node_restarted(node.number(), clock_.mono());
    events_.push(clock_.mono() + down, EventKind::kBoot, node.number());
}

void World::pause(SimNode& node, Duration time) {
    node.paused_until = clock_.mono() + time;
    events_.push(node.paused_until, EventKind::kResume, node.number());
}

// The first thing a process does when it goes on is to serve its timers. A handshake that it was
// about to try again may have run out of time meanwhile; then only new data begins another.
void World::resume(SimNode& node) {
    if (!awake(node)) return;
    for (const SimPeer& peer : node.peers()) {
        invariants_->dealings(node.number(), peer.node).unanswered_since.reset();
    }
    node.forget_tick();
    tick(node);
    if (node.settings_pending) configure(node, false);
    node.settings_pending = false;
}

void World::new_preshared_key() {
    SimNode& node = any_node();
    SimPeer& there = any_peer(node);
    SimNode& other = *nodes_[there.node];
    if (!awake(node) || !awake(other)) return;
    SimPeer& here = *other.peer(node.number());
    if (!there.present || !here.present) return;
    dice_.fill(there.preshared_key.span());
    here.preshared_key = there.preshared_key;
    configure(node, false);
    configure(other, false);
    invariants_->dealings(node.number(), other.number()).new_preshared_key = true;
    invariants_->dealings(other.number(), node.number()).new_preshared_key = true;
    coverage_.injected(Fault::kNewPresharedKey);
}

// To the others it is another peer than before; its own sessions may still receive what is on its
// way.
void World::new_private_key(SimNode& node) {
    const auto knows_it = [&](const std::unique_ptr<SimNode>& other) {
        return other->peer(node.number()) != nullptr;
    };
    for (const auto& other : nodes_) {
        if (knows_it(other) && !awake(*other)) return;
    }
    coverage_.injected(Fault::kNewPrivateKey);
    node.change_keys(draw_key_pair(dice_));
    invariants_->private_key_changed(node.number());
    configure(node, false);
    for (const auto& other : nodes_) {
        if (!knows_it(other)) continue;
        invariants_->peer_removed(other->number(), node.number());
        invariants_->dealings(other->number(), node.number()).new_private_key = true;
        configure(*other, false);
    }
}

void World::remove_peer(SimNode& node) {
    SimPeer& peer = any_peer(node);
    if (!peer.present) return;
    peer.present = false;
    invariants_->peer_removed(node.number(), peer.node);
    configure(node, false);
    if (dice_.below(2) == 0) return restore_peer(node.number(), peer.node);
    events_.push(clock_.mono() + dice_.about(Duration(5s)), EventKind::kRestorePeer, node.number(),
                 peer.node);
}

void World::restore_peer(uint32_t number, uint32_t peer) {
    SimNode& node = *nodes_[number];
    node.peer(peer)->present = true;
    node.settings_pending = node.up && !awake(node);
    if (awake(node)) configure(node, false);
}

void World::burst() {
    SimNode& node = any_node();
    const SimPeer& peer = any_peer(node);
    coverage_.injected(Fault::kBurst);
    for (uint64_t i = dice_.between(130, 200); i > 0; --i) {
        send_parcel({.from = node.number(), .to = peer.node, .size = 60});
    }
}

void World::stranger_calls() {
    coverage_.injected(Fault::kStranger);
    send_parcel({.from = stranger_, .to = 0, .size = 60});
}

// So many packets in one session that the replay window moves past the first of them, then every
// counter around the window's edge again, and some for the first time.
void World::window_storm() {
    SimNode& node = any_node();
    const SimPeer& peer = any_peer(node);
    SimNode& other = *nodes_[peer.node];
    if (!awake(node) || !awake(other) || !peer.present) return;
    if (!node.device().peer_state(peer.id).can_send) return;
    std::vector<Datagram> storm;
    captured_ = &storm;
    for (int i = 0; i < 8400; ++i) {
        send_parcel({.from = node.number(), .to = peer.node, .size = Parcels::kSizeMin});
    }
    captured_ = nullptr;
    if (storm.empty()) return;
    coverage_.injected(Fault::kWindowStorm);
    const Endpoint to = network_.attachment(other.number()).primary;
    Instant at = clock_.mono() + 1ms;
    for (size_t i = 0; i < storm.size(); ++i) {
        if (i % 100 == 7) continue;  // kept back for later
        network_.inject(storm[i].from, to, storm[i].bytes, storm[i].origin, at += 2us);
    }
    const auto again = [&](size_t behind) {
        if (behind >= storm.size()) return;
        const Datagram& old = storm[storm.size() - 1 - behind];
        network_.inject(old.from, to, old.bytes, old.origin, at += 2us);
        coverage_.done(Deed::kWindowEdge);
    };
    for (size_t behind = 0; behind < 200; ++behind)
        again(behind);
    for (size_t behind = 8000; behind < 8300; ++behind)
        again(behind);
    for (size_t behind = 200; behind < 8000; behind += 93)
        again(behind);
}

}  // namespace sluice::sim
