#include "tests/sim/ledger.h"

namespace sluice::sim {

bool Flow::note_accepted(uint64_t counter) {
    if (was_accepted(counter)) return false;
    if (counter >= accepted.size()) accepted.resize(counter + 1);
    accepted[counter] = true;
    return true;
}

void Dealings::forget() {
    const uint32_t next = epoch + 1;
    *this = Dealings();
    epoch = next;
}

uint32_t Ledger::open(const Session& session, uint32_t initiator_index) {
    const auto number = static_cast<uint32_t>(sessions_.size());
    sessions_.push_back(session);
    sessions_.back().same_keys = by_ephemerals_.emplace(session.ephemerals, number).first->second;
    by_receiver_index_[key(session.responder, initiator_index)] = number;
    return number;
}

void Ledger::establish(uint32_t number, Instant now) {
    Session& session = sessions_[number];
    session.established = true;
    session.created_by_initiator = now;
    by_receiver_index_[key(session.initiator, session.responder_index)] = number;
}

std::optional<uint32_t> Ledger::sending_session(uint32_t node, uint32_t receiver_index) const {
    const auto found = by_receiver_index_.find(key(node, receiver_index));
    if (found == by_receiver_index_.end()) return {};
    return found->second;
}

bool LoadMirror::count(Instant now) {
    if (window_began_ == Instant::min() || now - window_began_ >= std::chrono::milliseconds(100)) {
        window_began_ = now;
        messages_ = 0;
    }
    if (++messages_ > 64) loaded_until_ = now + std::chrono::seconds(1);
    return now < loaded_until_;
}

void Ledger::private_key_changed(uint32_t node) {
    for (uint32_t peer = 0; peer < nodes_; ++peer) {
        Dealings& with = dealings(node, peer);
        with.first_sendable = static_cast<uint32_t>(sessions_.size());
        with.newest_session = kNoSession;
        with.new_private_key = true;
        // The old handshake is forgotten, and the new identity need not wait for its pace.
        with.initiation_open = false;
        with.initiation_at = Instant();
    }
}

void Ledger::node_restarted(uint32_t node, Instant now) {
    for (uint32_t peer = 0; peer < nodes_; ++peer)
        dealings(node, peer).forget();
    accounts_[node].clear();
    loads_[node] = LoadMirror();
    loads_[node].started = now;
}

}  // namespace sluice::sim
