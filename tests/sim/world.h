// A whole network of nodes in one thread, from one seed. First the faults are on, and after every
// event the invariants are checked (safety); then everything heals, and data must flow in time
// (liveness); then one end restarts, or vanishes, or a NAT is left to its keepalives, or all is
// quiet until every key is gone. Thread: one. Failure: run() throws a Violation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tests/sim/attacker.h"
#include "tests/sim/coverage.h"
#include "tests/sim/dice.h"
#include "tests/sim/event_log.h"
#include "tests/sim/faults.h"
#include "tests/sim/invariants.h"
#include "tests/sim/parcels.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_node.h"

namespace sluice::sim {

class World {
  public:
    // `fault_time` zero: drawn from the seed.
    World(uint64_t seed, Duration fault_time, EventLog& log);

    void run();

    const Coverage& coverage() const { return coverage_; }
    Duration elapsed() const { return clock_.elapsed(); }
    Duration slowest_heal() const { return slowest_heal_; }

  private:
    // What one node has to say to another: packets while it talks, nothing while it is quiet.
    struct Conversation {
        uint32_t from = kNobody;
        uint32_t to = kNobody;
        bool talking = false;
        bool steady = false;  // in the second phase: a small packet every 200 ms
        Instant changes_at{};
        Duration mean_interval{};
        uint32_t generation = 0;     // of the traffic event that counts
        Instant newest_delivered{};  // when the newest packet that has arrived was sent
    };

    // ---- world.cc: building, and the loop ----
    void build();
    void pair_up(uint32_t a, uint32_t b);
    bool handle_next();
    template <typename Done>
    bool run_until(Instant end, Done done);
    void run_for(Duration time);

    // ---- calls.cc: what goes into a Device, and what comes out ----
    template <typename Act>
    DropReason call(SimNode& node, CallKind kind, const Datagram* datagram, Act act);
    void dispatch_output(SimNode& node, const std::vector<Origin>& origins);
    void note_deliveries(SimNode& node);
    void note_lured(const SimNode& node, const Endpoint& from);
    void describe(const SimNode& node, CallKind kind, const Datagram* datagram, DropReason result,
                  const std::vector<Origin>& origins);
    void boot(SimNode& node);
    void configure(SimNode& node, bool same_settings);
    void arrive(const Event& event);
    void tick(SimNode& node);
    void schedule_tick(SimNode& node);
    void send_parcel(const Parcel& parcel);
    bool awake(const SimNode& node) const { return node.up && node.paused_until <= clock_.mono(); }

    // ---- traffic.cc: conversations ----
    void begin_traffic();
    void speak(const Event& event);
    void steady_traffic(bool on);
    Conversation* conversation(uint32_t from, uint32_t to);

    // ---- mischief.cc: faults that come at times ----
    void begin_mischief();
    void strike(const Event& event);
    uint32_t flood_waves();
    void strike_link(Fault fault);
    void strike_node(Fault fault);
    void restart(SimNode& node, Duration down);
    void pause(SimNode& node, Duration time);
    void resume(SimNode& node);
    void new_preshared_key();
    void new_private_key(SimNode& node);
    void remove_peer(SimNode& node);
    void restore_peer(uint32_t node, uint32_t peer);
    void burst();
    void stranger_calls();
    void window_storm();

    // ---- liveness.cc: the second phase ----
    void heal();
    void repair_endpoint(SimNode& mobile, SimPeer& peer);
    bool flows_since(uint32_t a, uint32_t b, Instant since);
    void demand_flow(Invariant invariant, Instant since, Duration bound, uint32_t only_node);
    void demand_restart();
    void demand_peer_loss();
    void demand_keepalive();
    void demand_silence();

    SimNode& any_node() { return *nodes_[dice_.below(members_)]; }
    SimPeer& any_peer(SimNode& node) { return node.peers()[dice_.below(node.peers().size())]; }

    uint64_t seed_;
    Dice dice_;
    EventLog& log_;
    Coverage coverage_;
    FaultPlan plan_;
    SimClock clock_;
    EventQueue events_;
    SimNetwork network_;
    Parcels parcels_;
    std::vector<std::unique_ptr<SimNode>> nodes_;
    uint32_t members_ = 0;  // nodes_ without the stranger
    uint32_t stranger_ = kNobody;
    std::unique_ptr<Invariants> invariants_;
    Attacker attacker_;
    std::vector<Conversation> conversations_;
    Duration fault_time_;
    Duration slowest_heal_{};
    std::vector<uint8_t> receive_buffer_;
    Datagram overheard_;
    bool safety_phase_ = true;
    uint32_t flood_target_ = 0;
    // During a window storm a node's datagrams are kept here instead of being sent.
    std::vector<Datagram>* captured_ = nullptr;
    uint32_t idle_ticks_ = 0;
};

}  // namespace sluice::sim
