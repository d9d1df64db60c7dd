// What the invariants remember of the run so far: sessions, and one node's dealings with one peer,
// reconstructed from the datagrams alone. No key and no inside of a Device is looked at.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "tests/sim/sim_network.h"

namespace sluice::sim {

inline constexpr uint32_t kNoSession = UINT32_MAX;

// One direction of a session: what its sender has encrypted and its receiver accepted.
struct Flow {
    std::optional<uint64_t> last_sent;
    std::vector<bool> accepted;
    bool note_accepted(uint64_t counter);  // false: it had been already
    bool was_accepted(uint64_t counter) const {
        return counter < accepted.size() && accepted[counter];
    }
};

// Begins with the response that a responder sends; becomes usable to the initiator when it accepts
// that response, and to the responder when it accepts the first data.
struct Session {
    uint32_t initiator = kNobody;
    uint32_t responder = kNobody;
    uint32_t initiator_epoch = 0;
    uint32_t responder_epoch = 0;
    uint32_t responder_index = 0;  // chosen by the responder
    uint64_t initiation = 0;
    // Both ends' ephemeral keys: with the static ones they make the session's keys, and they are
    // sent in the clear.
    std::array<uint8_t, 64> ephemerals{};
    uint32_t same_keys = kNoSession;  // the first session with these keys; itself, if all is well
    bool second_mac = false;
    bool established = false;
    bool confirmed = false;
    Instant created_by_initiator{};
    Instant created_by_responder{};
    Flow from_initiator;
    Flow from_responder;

    Flow& flow_from(uint32_t node) { return node == initiator ? from_initiator : from_responder; }
    Instant created_by(uint32_t node) const {
        return node == initiator ? created_by_initiator : created_by_responder;
    }
    uint32_t epoch_of(uint32_t node) const {
        return node == initiator ? initiator_epoch : responder_epoch;
    }
};

// One node's dealings with one peer. Times are long ago (zero) when it never happened.
struct Dealings {
    uint32_t epoch = 0;  // grows when the node forgets the peer: restart, removal
    uint64_t last_initiation = 0;
    bool initiation_open = false;  // the last initiation has not been answered yet
    Instant initiation_at{};
    Instant attempt_at{};            // initiation or response sent, or no buffer was there for it
    Instant series_since{};          // first of the open initiations in a row
    uint64_t greatest_accepted = 0;  // initiation of the peer
    Instant greatest_made_at{};      // that one
    Instant accepted_at{};
    Instant keys_since{};  // the last handshake message made or session begun
    std::optional<Instant> unanswered_since;
    uint32_t newest_session = kNoSession;
    CookieNote cookie;  // the last one that the peer gave and the node took
    // Since the last handshake:
    bool new_preshared_key = false;
    bool new_private_key = false;
    // Sessions with smaller numbers are of an earlier private key: they only receive.
    uint32_t first_sendable = 0;

    void forget();
};

// What a node that counts handshake messages must think of its load: more than 64 with a valid
// first MAC in 100 ms, and for a second from then on.
class LoadMirror {
  public:
    bool count(Instant now);
    Instant started{};  // the node forgot the secret of its cookies when it did

  private:
    Instant window_began_ = Instant::min();
    Instant loaded_until_ = Instant::min();
    uint32_t messages_ = 0;
};

// Bytes between a node and one outer address that has not proven itself.
struct Account {
    uint64_t received = 0;
    uint64_t sent = 0;
    bool proven = false;
};

class Ledger {
  public:
    explicit Ledger(size_t nodes)
        : nodes_(nodes), dealings_(nodes * nodes), accounts_(nodes), loads_(nodes) {}

    Dealings& dealings(uint32_t node, uint32_t peer) { return dealings_[node * nodes_ + peer]; }
    const Dealings& dealings(uint32_t node, uint32_t peer) const {
        return dealings_[node * nodes_ + peer];
    }
    Session& session(uint32_t number) { return sessions_[number]; }
    size_t session_count() const { return sessions_.size(); }
    // The new session's number. Its responder may send under `initiator_index` from now on.
    uint32_t open(const Session& session, uint32_t initiator_index);
    void establish(uint32_t number, Instant now);
    // Which session a node means when it sends data to this receiver index.
    std::optional<uint32_t> sending_session(uint32_t node, uint32_t receiver_index) const;
    std::map<Endpoint, Account>& accounts(uint32_t node) { return accounts_[node]; }
    LoadMirror& load(uint32_t node) { return loads_[node]; }
    void node_restarted(uint32_t node, Instant now);
    void private_key_changed(uint32_t node);

  private:
    static uint64_t key(uint32_t node, uint32_t index) { return uint64_t{node} << 32 | index; }

    size_t nodes_;
    std::vector<Dealings> dealings_;
    std::vector<Session> sessions_;
    std::unordered_map<uint64_t, uint32_t> by_receiver_index_;
    // The first session of each pair of ephemeral keys, whoever restarted since.
    std::map<std::array<uint8_t, 64>, uint32_t> by_ephemerals_;
    std::vector<std::map<Endpoint, Account>> accounts_;
    std::vector<LoadMirror> loads_;
};

}  // namespace sluice::sim
