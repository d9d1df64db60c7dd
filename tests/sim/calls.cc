// Everything that goes into a Device and comes out of it passes here, and is judged.
#include <cstdio>

#include "tests/sim/allocation_watch.h"
#include "tests/sim/world.h"

namespace sluice::sim {

using namespace std::chrono_literals;

template <typename Act>
DropReason World::call(SimNode& node, CallKind kind, const Datagram* datagram, Act act) {
    const bool starved = safety_phase_ && kind != CallKind::kConfigure &&
                         dice_.chance(0.02 * plan_.weight(Fault::kNoBuffer));
    node.sink().begin(starved);
    const Now now = node.now(clock_.now());
    std::array<uint64_t, kDropReasonCount> drops_before;
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        drops_before[i] = node.drops().value(static_cast<DropReason>(i));
    }
    const uint64_t allocations_before = allocations_so_far();
    const DropReason result = act(now);
    const uint64_t allocations =
        allocations_so_far() - allocations_before - node.sink().own_allocations();
    if (node.sink().refusals() > 0) coverage_.injected(Fault::kNoBuffer);
    if (kind == CallKind::kConfigure) node.learn_peer_ids(nodes_);
    node.take_states();
    coverage_.dropped(result);

    const bool counted = result == DropReason::kNone ||
                         node.drops().value(result) > drops_before[static_cast<size_t>(result)];
    log_.mix(static_cast<uint64_t>(clock_.elapsed().count()));
    log_.mix(uint64_t{node.number()} << 16 | static_cast<uint64_t>(kind) << 8 |
             static_cast<uint64_t>(result));
    const Call made{.kind = kind,
                    .node = node,
                    .now = now,
                    .datagram = datagram,
                    .result = result,
                    .counted = counted,
                    .allocations = allocations};
    try {
        const std::vector<Origin>& origins = invariants_->check(made);
        describe(node, kind, datagram, result, origins);
        dispatch_output(node, origins);
    } catch (const Violation&) {
        describe(node, kind, datagram, result, {});
        throw;
    }
    if (kind == CallKind::kReceive) note_deliveries(node);
    schedule_tick(node);
    return result;
}

void World::dispatch_output(SimNode& node, const std::vector<Origin>& origins) {
    for (size_t i = 0; i < origins.size(); ++i) {
        const Emitted& emitted = node.sink().datagrams()[i];
        const Bytes bytes = node.sink().bytes(emitted.offset, emitted.size);
        log_.mix(bytes);
        const Endpoint& to = emitted.path.remote;
        overheard_.to = to;
        overheard_.origin = origins[i];
        overheard_.bytes.assign(bytes.begin(), bytes.end());
        if (captured_ != nullptr && origins[i].kind == MessageKind::kData) {
            overheard_.from = network_.attachment(node.number()).primary;
            captured_->push_back(overheard_);
            continue;
        }
        overheard_.from =
            network_.transmit(node.number(), to, emitted.tos, bytes, origins[i], clock_.mono());
        if (safety_phase_) {
            attacker_.overhear(overheard_, plan_, clock_.mono());
        }
    }
}

void World::note_deliveries(SimNode& node) {
    for (const Received& received : node.sink().inner()) {
        const auto number = parcels_.number_of(node.sink().bytes(received.offset, received.size));
        const Parcel& parcel = parcels_.at(*number);
        Conversation* said = conversation(parcel.from, parcel.to);
        if (said != nullptr) {
            said->newest_delivered = std::max(said->newest_delivered, parcel.sent_at);
        }
    }
}

void World::note_lured(const SimNode& node, const Endpoint& from) {
    if (!network_.is_attacker(from)) return;
    for (size_t i = 0; i < node.peers().size(); ++i) {
        const bool moved = node.earlier_states()[i].endpoint != node.states()[i].endpoint;
        if (moved && node.states()[i].endpoint == from) coverage_.done(Deed::kEndpointLured);
    }
}

namespace {

std::string text_of_origin(const Origin& origin) {
    const std::string maker = origin.node == kNobody ? "nobody" : std::to_string(origin.node);
    const std::string whose = (origin.intact ? " of node " : " (damaged) of node ") + maker;
    switch (origin.kind) {
        case MessageKind::kNoise:
            return "a forged message";
        case MessageKind::kInitiation:
            return "initiation " + std::to_string(origin.number) + whose;
        case MessageKind::kResponse:
            return "response of session " + std::to_string(origin.number) + whose;
        case MessageKind::kCookie:
            return "cookie reply" + whose;
        case MessageKind::kData:
            return "data " + std::to_string(origin.counter) + " of session " +
                   std::to_string(origin.number) + whose;
    }
    return {};
}

}  // namespace

void World::describe(const SimNode& node, CallKind kind, const Datagram* datagram,
                     DropReason result, const std::vector<Origin>& origins) {
    log_.line(clock_.mono(), node.number(), [&] {
        std::string text;
        switch (kind) {
            case CallKind::kReceive:
                text = "gets " + text_of_origin(datagram->origin) + ", " +
                       std::to_string(datagram->bytes.size()) + " bytes, from " +
                       datagram->from.text();
                break;
            case CallKind::kSend:
                text = "sends an inner packet";
                break;
            case CallKind::kTick:
                text = "serves its timers";
                break;
            case CallKind::kConfigure:
                text = "applies its settings";
                break;
        }
        text +=
            ": " + std::string(result == DropReason::kNone ? "done" : sluice::text_of(result).name);
        const Sink& sink = const_cast<SimNode&>(node).sink();
        if (!sink.inner().empty()) text += "; delivers an inner packet";
        for (size_t i = 0; i < sink.datagrams().size(); ++i) {
            const Emitted& emitted = sink.datagrams()[i];
            text += "; sends ";
            text += i < origins.size() ? text_of_origin(origins[i])
                                       : std::to_string(emitted.size) + " bytes";
            text += " to " + emitted.path.remote.text();
        }
        return text;
    });
}

void World::boot(SimNode& node) {
    if (node.up) return;
    node.up = true;
    node.forget_tick();
    const uint64_t seed = (seed_ * 1000003 + node.number()) * 1000003 + node.restarts;
    node.make_device(seed, clock_.now());
    log_.line(clock_.mono(), node.number(), [] { return std::string("starts"); });
    configure(node, false);
}

void World::configure(SimNode& node, bool same_settings) {
    const wireguard::DeviceSettings settings = node.settings(nodes_);
    call(node, CallKind::kConfigure, nullptr, [&](Now now) {
        node.device().configure(settings, now, node.sink());
        return DropReason::kNone;
    });
    if (same_settings) invariants_->check_unchanged(node);
}

void World::arrive(const Event& event) {
    const uint32_t slot = event.subject;
    if (!network_.is_current(slot, event.detail)) return;
    const auto where = network_.arrive(slot, clock_.mono());
    if (where) {
        SimNode& node = *nodes_[*where];
        if (node.up && !awake(node) && dice_.below(2) == 0) {
            // The kernel keeps it in the socket's buffer until the process goes on.
            return network_.hold_back(slot, node.paused_until);
        }
        if (awake(node)) {
            // A Device may send from within, which may move the network's slots.
            const Datagram datagram = network_.datagram(slot);
            receive_buffer_ = datagram.bytes;
            const Path path{datagram.from, {}, 0};
            call(node, CallKind::kReceive, &datagram, [&](Now now) {
                return node.device().receive(receive_buffer_, path, datagram.tos, now, node.sink());
            });
            note_lured(node, datagram.from);
        }
    }
    network_.release(slot);
}

void World::tick(SimNode& node) {
    if (node.device().next_deadline() <= clock_.mono()) {
        call(node, CallKind::kTick, nullptr, [&](Now now) {
            node.device().tick(now, node.sink());
            return DropReason::kNone;
        });
        // A deadline may stay in the same instant for a few turns (levels of a timer wheel), but
        // an event loop that is told "now" for ever never sleeps again.
        idle_ticks_ = node.device().next_deadline() <= clock_.mono() ? idle_ticks_ + 1 : 0;
        if (idle_ticks_ > 16) {
            throw Violation{Invariant::kTimerProgress, node.number(),
                            "the deadline stays in the past after tick()"};
        }
    }
    schedule_tick(node);
}

void World::schedule_tick(SimNode& node) {
    const Instant deadline = node.device().next_deadline();
    if (deadline >= node.tick_for) return;
    node.tick_for = deadline;
    node.tick_at = std::max(deadline, clock_.mono());
    if (safety_phase_ && plan_.on(Fault::kLateTick)) {
        coverage_.injected(Fault::kLateTick);
        node.tick_at += dice_.between(
            Duration(0), Duration(static_cast<int64_t>(20e6 * plan_.weight(Fault::kLateTick))));
    }
    events_.push(node.tick_at, EventKind::kTick, node.number());
}

void World::send_parcel(const Parcel& parcel) {
    SimNode& node = *nodes_[parcel.from];
    if (!awake(node)) return;
    const uint64_t number = parcels_.add(parcel);
    parcels_.at(number).sent_at = clock_.mono();
    const Bytes packet = parcels_.build(number);
    const SimPeer& peer = *node.peer(parcel.to);
    const auto routed = node.device().route(packet);
    const wireguard::PeerId expected = peer.present ? peer.id : wireguard::kNoPeer;
    if (routed.value_or(wireguard::kNoPeer) != expected) {
        throw Violation{Invariant::kRouting, node.number(), "an inner packet went astray"};
    }
    if (!routed) return;
    if (parcel.forged_source) coverage_.injected(Fault::kInnerSpoof);
    call(node, CallKind::kSend, nullptr,
         [&](Now now) { return node.device().send(*routed, packet, now, node.sink()); });
}

}  // namespace sluice::sim
