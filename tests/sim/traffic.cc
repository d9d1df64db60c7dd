// Conversations: they talk for a while and then fall silent, so that keepalives, expiry and the
// renewal of sessions all get their turn.
#include "tests/sim/world.h"

namespace sluice::sim {

using namespace std::chrono_literals;

namespace {
constexpr Duration kSteadyInterval = 200ms;

Parcel draw_parcel(uint32_t from, uint32_t to, Dice& dice) {
    Parcel parcel{.from = from, .to = to};
    parcel.v4 = dice.below(2) == 0;
    // Small ones mostly; full ones for the edge of the MTU.
    const uint64_t kind = dice.below(16);
    uint64_t size = dice.between(Parcels::kSizeMin, 200);
    if (kind == 0) size = dice.between(Parcels::kSizeMin, Parcels::kSizeMax);
    if (kind == 1) size = Parcels::kSizeMax - dice.below(20);
    parcel.size = static_cast<uint16_t>(size);
    return parcel;
}
}  // namespace

void World::begin_traffic() {
    for (uint32_t from = 0; from < members_; ++from) {
        for (const SimPeer& peer : nodes_[from]->peers()) {
            Conversation said{.from = from, .to = peer.node};
            said.mean_interval = dice_.between(Duration(200ms), Duration(2s));
            said.talking = dice_.below(2) == 0;
            said.changes_at = clock_.mono() + dice_.about(Duration(20s));
            conversations_.push_back(said);
            events_.push(clock_.mono() + dice_.between(Duration(0s), Duration(5s)),
                         EventKind::kTraffic, static_cast<uint32_t>(conversations_.size() - 1), 0);
        }
    }
}

void World::speak(const Event& event) {
    Conversation& said = conversations_[event.subject];
    if (event.detail != said.generation) return;
    Duration next = kSteadyInterval;
    if (!said.steady) {
        if (clock_.mono() >= said.changes_at) {
            said.talking = !said.talking;
            const Duration mean = said.talking ? Duration(30s) : Duration(25s);
            said.changes_at = clock_.mono() + dice_.about(mean);
        }
        next = said.talking ? dice_.about(said.mean_interval) : said.changes_at - clock_.mono();
        next = std::max(next, Duration(1ms));
    }
    events_.push(clock_.mono() + next, EventKind::kTraffic, event.subject, event.detail);
    if (said.steady) {
        send_parcel({.from = said.from, .to = said.to, .size = 64});
    } else if (said.talking) {
        Parcel parcel = draw_parcel(said.from, said.to, dice_);
        parcel.forged_source = dice_.chance(0.05 * plan_.weight(Fault::kInnerSpoof));
        send_parcel(parcel);
    }
}

// The second phase: every conversation goes on at a steady pace, or none does.
void World::steady_traffic(bool on) {
    for (uint32_t i = 0; i < conversations_.size(); ++i) {
        conversations_[i].steady = on;
        ++conversations_[i].generation;
        if (!on) continue;
        events_.push(clock_.mono() + dice_.between(Duration(0s), kSteadyInterval),
                     EventKind::kTraffic, i, conversations_[i].generation);
    }
}

World::Conversation* World::conversation(uint32_t from, uint32_t to) {
    for (Conversation& said : conversations_) {
        if (said.from == from && said.to == to) return &said;
    }
    return nullptr;
}

}  // namespace sluice::sim
