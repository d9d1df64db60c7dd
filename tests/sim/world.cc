// Building a world out of a seed, and the loop that runs it.
#include "tests/sim/world.h"

#include "dataplane/base/check.h"
#include "tests/sim/world_loop.h"

namespace sluice::sim {

using namespace std::chrono_literals;

World::World(uint64_t seed, Duration fault_time, EventLog& log)
    : seed_(seed),
      dice_(seed),
      log_(log),
      network_(dice_, events_, coverage_),
      attacker_(dice_, network_, coverage_, nodes_),
      fault_time_(fault_time) {}

void World::run() {
    build();
    run_for(fault_time_);
    heal();
    switch (dice_.below(4)) {
        case 0:
            demand_restart();
            break;
        case 1:
            demand_peer_loss();
            break;
        case 2:
            demand_keepalive();
            break;
        default:
            demand_silence();
            break;
    }
    for (uint32_t i = 0; i < invariants_->ledger().session_count(); ++i) {
        if (!invariants_->ledger().session(i).confirmed) coverage_.done(Deed::kUnconfirmed);
    }
}

void World::build() {
    plan_ = FaultPlan(dice_);
    // Most seeds see a session through two or three renewals.
    if (fault_time_ == Duration::zero())
        fault_time_ = dice_.between(Duration(150s), Duration(600s));
    members_ = static_cast<uint32_t>(2 + dice_.about(Duration(1800ms)) / 1s);
    members_ = std::min(members_, 6u);
    const bool with_stranger = plan_.on(Fault::kStranger);
    if (with_stranger) stranger_ = members_;
    const uint32_t fixed = members_ > 2 ? static_cast<uint32_t>(dice_.between(1, 2)) : 1;
    for (uint32_t i = 0; i < members_ + (with_stranger ? 1 : 0); ++i) {
        nodes_.push_back(std::make_unique<SimNode>(i, draw_key_pair(dice_),
                                                   dice_.between(Duration(0s), Duration(1000h))));
        const bool is_fixed = i < fixed || (members_ == 2 && i == 1 && dice_.below(4) == 0);
        network_.attach(is_fixed, dice_.below(2) == 0);
    }
    network_.set_links(plan_);
    for (uint32_t a = 0; a < fixed; ++a) {
        for (uint32_t b = a + 1; b < members_; ++b) {
            // Every node has the first fixed one as a peer, and most others too.
            if (a == 0 || dice_.below(5) > 0) pair_up(a, b);
        }
    }
    if (with_stranger) {
        SimPeer& peer = nodes_[stranger_]->peers().emplace_back();
        peer.node = 0;
        peer.mac = &nodes_[0]->mac();
        peer.configured = network_.attachment(0).primary;
    }
    invariants_ = std::make_unique<Invariants>(nodes_.size(), parcels_, coverage_);
    for (const auto& node : nodes_) {
        events_.push(clock_.mono() + dice_.between(Duration(0s), Duration(1s)), EventKind::kBoot,
                     node->number());
    }
    events_.push(clock_.mono() + 1s, EventKind::kSweep);
    begin_traffic();
    begin_mischief();
}

// `a` is fixed: everybody knows its address. It may or may not have been told where `b` is.
void World::pair_up(uint32_t a, uint32_t b) {
    SimPeer at_a{.node = b, .mac = &nodes_[b]->mac()};
    SimPeer at_b{.node = a, .mac = &nodes_[a]->mac()};
    at_b.configured = network_.attachment(a).primary;
    if (network_.attachment(b).fixed || dice_.below(3) == 0) {
        at_a.configured = network_.attachment(b).primary;
    }
    if (dice_.below(2) == 0) {
        dice_.fill(at_a.preshared_key.span());
        at_b.preshared_key = at_a.preshared_key;
    }
    if (dice_.below(2) == 0) at_b.persistent_keepalive_s = 25;
    if (dice_.below(8) == 0) at_a.persistent_keepalive_s = 20;
    nodes_[a]->peers().push_back(at_a);
    nodes_[b]->peers().push_back(at_b);
}

bool World::handle_next() {
    if (events_.empty()) return false;
    const Event event = events_.pop();
    clock_.advance_to(event.at);
    switch (event.kind) {
        case EventKind::kArrival:
            arrive(event);
            break;
        case EventKind::kTick: {
            SimNode& node = *nodes_[event.subject];
            if (!node.up || event.at != node.tick_at) break;  // another one counts
            node.forget_tick();
            if (awake(node)) tick(node);
            break;
        }
        case EventKind::kTraffic:
            speak(event);
            break;
        case EventKind::kMischief:
            strike(event);
            break;
        case EventKind::kResume:
            resume(*nodes_[event.subject]);
            break;
        case EventKind::kBoot:
            boot(*nodes_[event.subject]);
            break;
        case EventKind::kRestorePeer:
            restore_peer(event.subject, event.detail);
            break;
        case EventKind::kSweep:
            for (const auto& node : nodes_) {
                if (awake(*node)) invariants_->check_idle(*node, clock_.mono());
            }
            events_.push(clock_.mono() + 1s, EventKind::kSweep);
            break;
        case EventKind::kWake:
            break;
    }
    return true;
}

void World::run_for(Duration time) {
    run_until(clock_.mono() + time, [] { return false; });
}

}  // namespace sluice::sim
