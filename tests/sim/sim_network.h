// The internet between the nodes: addresses that move, NATs that forget, links that lose, double,
// delay, alter and cut. Every datagram carries where it really came from, which no node sees but
// the invariants do. Not its job: what the bytes mean. Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "tests/sim/coverage.h"
#include "tests/sim/dice.h"
#include "tests/sim/faults.h"
#include "tests/sim/sim_clock.h"

namespace sluice::sim {

inline constexpr uint32_t kNobody = UINT32_MAX;

enum class MessageKind : uint8_t { kNoise, kInitiation, kResponse, kCookie, kData };

// A cookie: proof of an address, given to it by one node.
struct CookieNote {
    uint32_t giver = kNobody;  // nobody: none
    Endpoint given_to;
    Instant given_at{};
};

// Who really made a datagram's bytes, and which message of the protocol it is.
struct Origin {
    MessageKind kind = MessageKind::kNoise;
    uint32_t node = kNobody;
    uint32_t target = kNobody;  // the node it was made for
    uint64_t number = 0;        // of the initiation; the session, for responses and data
    uint64_t counter = 0;       // of data
    uint32_t epoch = 0;         // of an initiation: how often its maker had forgotten the peer
    bool intact = false;        // the bytes are those that were made
    Instant made_at{};          // an initiation
    bool wrong_clock = false;   // of an initiation: made while its maker's wall clock was wrong
    bool second_mac = false;    // it carries one, undamaged
    CookieNote cookie{};        // of a cookie reply; or what the second MAC was made with
};

// Flips one bit. The second MAC is looked at only under load, so a message with a damaged one is
// still its maker's; any other damage makes it nobody's.
void flip_bit(std::vector<uint8_t>& bytes, Origin& origin, uint64_t bit);

struct Datagram {
    Endpoint from;
    Endpoint to;
    uint8_t tos = 0;
    Origin origin;
    std::vector<uint8_t> bytes;
};

// What one node's router and provider do to its addresses.
struct Attachment {
    Endpoint primary;
    Endpoint alternate;  // of a fixed node: leads to it as well; unset: none
    bool fixed = true;   // never moves, no NAT
    bool nat = false;    // lets nothing in after 30 s without a datagram either way
    Instant last_use = Instant::min();
};

class SimNetwork {
  public:
    // RFC 4787 asks for two minutes; 30 s is what the strictest home routers keep. As in Linux, a
    // datagram that comes in through a mapping prolongs it too.
    static constexpr Duration kNatLifetime = std::chrono::seconds(30);

    SimNetwork(Dice& dice, EventQueue& events, Coverage& coverage)
        : dice_(dice), events_(events), coverage_(coverage) {}

    uint32_t attach(bool fixed, bool nat);
    size_t size() const { return attachments_.size(); }
    const Attachment& attachment(uint32_t node) const { return attachments_[node]; }
    // A new address, of either family; a new port of the same one.
    void roam(uint32_t node);
    void rebind(uint32_t node);
    // Whose address it is now, or nobody's. Does not ask whether a NAT would let it in.
    uint32_t owner(const Endpoint& endpoint) const;
    bool would_arrive(const Endpoint& endpoint, uint32_t node, Instant now) const;
    // The attacker's own addresses, by number; they belong to no node.
    static constexpr uint32_t kAttackerAddresses = 8;
    static Endpoint attacker_address(uint32_t number);
    static bool is_attacker(const Endpoint& endpoint);

    void set_links(const FaultPlan& plan);
    void heal();  // perfect links from now on; what is on the way is lost
    void clog(uint32_t from, uint32_t to, Instant until);
    void cut(uint32_t from, uint32_t to, Instant until);

    // From a node, with all that its NAT and the link do to it. Returns the source that the world
    // sees.
    Endpoint transmit(uint32_t node, const Endpoint& to, uint8_t tos, Bytes bytes,
                      const Origin& origin, Instant now);
    // From anywhere, with any source address, on a perfect link.
    void inject(const Endpoint& from, const Endpoint& to, Bytes bytes, const Origin& origin,
                Instant arrives);
    // A datagram reaches the end of its way. The node that gets it, if one does.
    std::optional<uint32_t> arrive(uint32_t slot, Instant now);
    Datagram& datagram(uint32_t slot) { return slots_[slot].datagram; }
    void hold_back(uint32_t slot, Instant until) {
        events_.push(until, EventKind::kArrival, slot, slots_[slot].flight);
    }
    void release(uint32_t slot);
    // Whether this arrival is still wanted: heal() loses what is on the way.
    bool is_current(uint32_t slot, uint32_t flight) const { return slots_[slot].flight == flight; }

  private:
    struct Link {
        LinkFaults faults;
        uint32_t in_flight = 0;
        Instant clogged_until = Instant::min();
        Instant cut_until = Instant::min();
    };
    struct Slot {
        Datagram datagram;
        uint32_t flight = 0;
        uint32_t link = kNobody;
        bool used = false;
    };

    Endpoint new_address(bool v4);
    Link& link(uint32_t from, uint32_t to) { return links_[from * attachments_.size() + to]; }
    uint32_t take_slot();
    void send_copy(Link& link, uint32_t link_index, const Datagram& datagram, Instant now);
    void damage(const Link& link, Datagram& datagram);

    Dice& dice_;
    EventQueue& events_;
    Coverage& coverage_;
    std::vector<Attachment> attachments_;
    std::vector<Link> links_;
    std::vector<Slot> slots_;
    std::vector<uint32_t> free_;
    Datagram scratch_;
    uint32_t addresses_ = 0;
};

}  // namespace sluice::sim
