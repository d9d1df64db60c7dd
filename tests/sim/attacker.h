// Somebody who sees every datagram, keeps some, and can send any bytes from any address. He has no
// key but one of his own (the stranger's, which is a node), and he knows every public key.
// Thread: one.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/coverage.h"
#include "tests/sim/dice.h"
#include "tests/sim/faults.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_node.h"

namespace sluice::sim {

class Attacker {
  public:
    Attacker(Dice& dice, SimNetwork& network, Coverage& coverage,
             const std::vector<std::unique_ptr<SimNode>>& nodes)
        : dice_(dice), network_(network), coverage_(coverage), nodes_(nodes) {}

    // A datagram leaves a node. With the faults on, copies of it may overtake or follow it.
    void overhear(const Datagram& datagram, const FaultPlan& plan, Instant now);
    // One of the attacks that come at times.
    void strike(Fault fault, Instant now);
    // Part of a flood: enough to put a node under load, aimed at one node.
    void flood(uint32_t target, Instant now);

  private:
    // The last so many of one kind.
    struct Ring {
        explicit Ring(size_t size) : records(size) {}
        void put(const Datagram& datagram);
        std::vector<Datagram> records;
        size_t filled = 0;
        size_t next = 0;
    };

    Ring& ring(MessageKind kind);
    const Datagram* pick(MessageKind kind);
    const Datagram* pick_any();
    Endpoint any_source(const Datagram& record);
    Endpoint any_own_address() {
        return SimNetwork::attacker_address(
            static_cast<uint32_t>(dice_.below(SimNetwork::kAttackerAddresses)));
    }
    uint32_t any_node() { return static_cast<uint32_t>(dice_.below(nodes_.size())); }
    void send(const Endpoint& from, const Endpoint& to, Bytes bytes, const Origin& origin,
              Instant now);
    void use_second_mac(const Datagram& datagram, const FaultPlan& plan, Instant now);
    void replay(MessageKind kind, Instant now);
    void alter(const Datagram& record, Instant now);
    void garbage(Instant now);
    void forge_data(Instant now);
    void forge_handshake(uint32_t target, Instant now);
    void forge_cookie(Instant now);
    void spoil_mac(Instant now);

    Dice& dice_;
    SimNetwork& network_;
    Coverage& coverage_;
    const std::vector<std::unique_ptr<SimNode>>& nodes_;
    Ring data_{128};
    Ring initiations_{32};
    Ring responses_{32};
    Ring cookies_{8};
    std::vector<uint8_t> scratch_;
};

}  // namespace sluice::sim
