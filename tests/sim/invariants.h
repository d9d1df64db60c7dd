// The judge: looks at every call of a Device from outside (what went in, what came out, PeerState
// before and after) and throws a Violation when something happened that must never happen.
// It says who made each datagram, which is how later arrivals of it are known for what they are.
// Thread: one. Source: the WireGuard paper, sections 5 and 6; the list is invariants.def.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "tests/sim/coverage.h"
#include "tests/sim/ledger.h"
#include "tests/sim/parcels.h"
#include "tests/sim/sim_node.h"

namespace sluice::sim {

enum class Invariant : uint8_t {
#define X(enumerator, name, sentence) enumerator,
#include "tests/sim/invariants.def"
#undef X
};

struct InvariantText {
    std::string_view name;
    std::string_view sentence;
};

inline constexpr auto kInvariantTexts = std::to_array<InvariantText>({
#define X(enumerator, name, sentence) {name, sentence},
#include "tests/sim/invariants.def"
#undef X
});

inline InvariantText text_of(Invariant invariant) {
    return kInvariantTexts[static_cast<size_t>(invariant)];
}

struct Violation {
    Invariant invariant;
    uint32_t node = kNobody;
    std::string detail;
};

enum class CallKind : uint8_t { kReceive, kSend, kTick, kConfigure };

struct Call {
    CallKind kind = CallKind::kTick;
    SimNode& node;
    Now now;
    const Datagram* datagram = nullptr;  // as it came in, for kReceive
    DropReason result = DropReason::kNone;
    bool counted = true;  // the drop counter of the result went up
    uint64_t allocations = 0;
};

class Invariants {
  public:
    Invariants(size_t nodes, Parcels& parcels, Coverage& coverage)
        : ledger_(nodes), parcels_(parcels), coverage_(coverage) {}

    // After each call. The origin of each datagram in the node's sink, in order.
    const std::vector<Origin>& check(const Call& call);
    // After a call that applied the settings that were in force already.
    void check_unchanged(SimNode& node);
    // What must hold though nothing happens to the node.
    void check_idle(SimNode& node, Instant now);

    void node_restarted(uint32_t node, Instant now) { ledger_.node_restarted(node, now); }
    void private_key_changed(uint32_t node) { ledger_.private_key_changed(node); }
    void peer_removed(uint32_t node, uint32_t peer) { ledger_.dealings(node, peer).forget(); }
    Dealings& dealings(uint32_t node, uint32_t peer) { return ledger_.dealings(node, peer); }
    Ledger& ledger() { return ledger_; }

  private:
    // What an arriving datagram is to the node that it reached.
    struct Claim {
        bool genuine = false;  // made by a peer, for this node's present sessions, unaltered
        bool fresh = false;    // and not accepted before
        bool accepted = false;
        bool first_mac = false;  // a handshake message with a valid first MAC
        bool perhaps = false;    // no buffer: the node may or may not have taken it in
        uint32_t session = kNoSession;
    };

    void begin(const Call& call);
    Claim claim_of(const Call& call);
    void check_receive(const Call& call, const Claim& claim);
    void check_refused(const Call& call, const Claim& claim);
    void check_honest(const Call& call, const Claim& claim);
    void check_admitted(const Call& call, Claim& claim);
    void note_initiation(const Call& call);
    void note_response(const Call& call, const Claim& claim);
    void note_data(const Call& call, const Claim& claim);
    void check_delivered(const Call& call, uint32_t from);

    Origin check_emitted(const Call& call, const Claim& claim, const Emitted& emitted, Bytes bytes);
    Origin emitted_initiation(const Call& call, const Emitted& emitted, Bytes bytes);
    Origin emitted_response(const Call& call, const Claim& claim, const Emitted& emitted,
                            Bytes bytes);
    Origin emitted_cookie(const Call& call, const Emitted& emitted, Bytes bytes);
    Origin emitted_data(const Call& call, const Emitted& emitted, Bytes bytes);
    void note_second_mac(Origin& origin, Bytes message) const;
    void check_amount(const Call& call, const Emitted& emitted);
    void check_address(const Call& call, uint32_t peer, const Emitted& emitted);

    void check_peers(const Call& call, const Claim& claim);
    void check_endpoint(const Call& call, const Claim& claim, size_t index);
    void check_times(SimNode& node, size_t index, Instant now);

    [[noreturn]] void fail(Invariant invariant, std::string detail) const;

    Ledger ledger_;
    Parcels& parcels_;
    Coverage& coverage_;
    std::vector<Origin> origins_;
    uint32_t node_ = kNobody;                // of the call that is looked at
    bool responded_ = false;                 // in this call
    size_t emitted_bytes_ = 0;               // in this call
    std::vector<uint32_t> must_have_tried_;  // peers to which an old session was used in this call
    uint64_t initiations_ = 0;
};

}  // namespace sluice::sim
