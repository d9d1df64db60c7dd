// What a node sends: is it a message of the protocol, at the right time, to the right place?
#include <algorithm>

#include "tests/sim/invariants.h"

namespace sluice::sim {

using namespace std::chrono_literals;

Origin Invariants::check_emitted(const Call& call, const Claim& claim, const Emitted& emitted,
                                 Bytes bytes) {
    check_amount(call, emitted);
    if (bytes.size() < 32) fail(Invariant::kWellFormed, "a datagram shorter than any message");
    Origin origin;
    switch (load_le32(bytes.data())) {
        case 1:
            origin = emitted_initiation(call, emitted, bytes);
            break;
        case 2:
            origin = emitted_response(call, claim, emitted, bytes);
            break;
        case 3:
            origin = emitted_cookie(call, emitted, bytes);
            break;
        case 4:
            origin = emitted_data(call, emitted, bytes);
            break;
        default:
            fail(Invariant::kWellFormed, "a datagram of no known type");
    }
    origin.node = node_;
    origin.intact = true;
    return origin;
}

// The answer to a handshake message that could come from anybody must never be larger than it, and
// nobody who has not proven himself gets more than he sent.
void Invariants::check_amount(const Call& call, const Emitted& emitted) {
    emitted_bytes_ += emitted.size;
    const bool is_reply = call.kind == CallKind::kReceive;
    if (is_reply && call.datagram->origin.kind == MessageKind::kInitiation &&
        emitted_bytes_ > call.datagram->bytes.size()) {
        fail(Invariant::kAmplification, "the answer to an initiation is larger than it");
    }
    const Endpoint& remote = emitted.path.remote;
    for (const SimPeer& peer : call.node.peers()) {
        if (peer.configured == remote) return;
    }
    Account& account = ledger_.accounts(node_)[remote];
    if (account.proven) return;
    account.sent += emitted.size;
    if (account.sent > account.received) {
        fail(Invariant::kAmplification, std::to_string(account.sent) + " bytes to " +
                                            remote.text() + ", which sent " +
                                            std::to_string(account.received));
    }
}

void Invariants::check_address(const Call& call, uint32_t peer, const Emitted& emitted) {
    for (size_t i = 0; i < call.node.peers().size(); ++i) {
        if (call.node.peers()[i].node != peer) continue;
        // While one call both sends and applies settings, both endpoints may be met.
        if (emitted.path.remote == call.node.states()[i].endpoint) return;
        if (call.kind == CallKind::kConfigure &&
            emitted.path.remote == call.node.earlier_states()[i].endpoint) {
            return;
        }
    }
    fail(Invariant::kEndpointFollows,
         "sent to " + emitted.path.remote.text() + ", which is not the peer's endpoint");
}

Origin Invariants::emitted_initiation(const Call& call, const Emitted& emitted, Bytes bytes) {
    Origin origin{.kind = MessageKind::kInitiation};
    for (const SimPeer& peer : call.node.peers()) {
        if (peer.present && peer.mac->valid(bytes)) origin.target = peer.node;
    }
    if (origin.target == kNobody) {
        fail(Invariant::kWellFormed, "an initiation whose first MAC is for no peer");
    }
    check_address(call, origin.target, emitted);
    Dealings& with = ledger_.dealings(node_, origin.target);
    const Instant now = call.now.mono;
    if (now - with.initiation_at < 5s) {
        fail(Invariant::kInitiationPace, "two initiations to one peer within 5 s");
    }
    if (with.unanswered_since && now - *with.unanswered_since >= 15s) {
        coverage_.done(Deed::kDeadPeer);
    }
    // A new series begins when the one before was answered or given up. After 90 s of asking, only
    // new data begins another.
    if (!with.initiation_open || now - with.initiation_at > 6s) {
        if (with.initiation_open && with.initiation_at - with.series_since > 80s) {
            coverage_.done(Deed::kGaveUp);
        }
        with.series_since = now;
    }
    with.last_initiation = origin.number = ++initiations_;
    origin.epoch = with.epoch;
    origin.made_at = now;
    origin.wrong_clock = call.node.clock_is_wrong(now);
    with.initiation_open = true;
    with.initiation_at = with.attempt_at = with.keys_since = now;
    with.unanswered_since.reset();
    note_second_mac(origin, bytes);
    return origin;
}

// Zero: there is no cookie to make it with.
void Invariants::note_second_mac(Origin& origin, Bytes message) const {
    const Bytes mac = message.last(16);
    origin.second_mac = std::any_of(mac.begin(), mac.end(), [](uint8_t byte) { return byte != 0; });
    if (origin.second_mac) origin.cookie = ledger_.dealings(node_, origin.target).cookie;
}

Origin Invariants::emitted_response(const Call& call, const Claim& claim, const Emitted& emitted,
                                    Bytes bytes) {
    if (call.kind != CallKind::kReceive || !claim.accepted || responded_ || bytes.size() != 92 ||
        call.datagram->origin.kind != MessageKind::kInitiation) {
        fail(Invariant::kWellFormed, "a response to no initiation, or of a wrong length");
    }
    responded_ = true;
    const Origin& initiation = call.datagram->origin;
    const uint32_t initiator_index = load_le32(call.datagram->bytes.data() + 4);
    check_address(call, initiation.node, emitted);
    if (emitted.path.remote != call.datagram->from) {
        fail(Invariant::kEndpointFollows, "a response to somebody who did not ask");
    }
    if (load_le32(bytes.data() + 8) != initiator_index ||
        !call.node.peer(initiation.node)->mac->valid(bytes)) {
        fail(Invariant::kWellFormed, "a response with a wrong index or first MAC");
    }
    Dealings& with = ledger_.dealings(node_, initiation.node);
    with.attempt_at = with.keys_since = call.now.mono;
    Session session;
    session.initiator = initiation.node;
    session.responder = node_;
    session.initiator_epoch = initiation.epoch;
    session.responder_epoch = with.epoch;
    session.responder_index = load_le32(bytes.data() + 4);
    session.initiation = initiation.number;
    std::copy_n(call.datagram->bytes.begin() + 8, 32, session.ephemerals.begin());
    std::copy_n(bytes.begin() + 12, 32, session.ephemerals.begin() + 32);
    session.second_mac = initiation.second_mac;
    session.created_by_responder = call.now.mono;
    Origin origin{.kind = MessageKind::kResponse, .target = initiation.node};
    origin.number = ledger_.open(session, initiator_index);
    note_second_mac(origin, bytes);
    return origin;
}

Origin Invariants::emitted_cookie(const Call& call, const Emitted& emitted, Bytes bytes) {
    const bool asked = call.kind == CallKind::kReceive &&
                       call.result == DropReason::kCookieReplied && bytes.size() == 64 &&
                       emitted.path.remote == call.datagram->from &&
                       load_le32(bytes.data() + 4) == load_le32(call.datagram->bytes.data() + 4);
    if (!asked) fail(Invariant::kWellFormed, "a cookie reply that nobody asked for");
    coverage_.done(Deed::kCookieReply);
    const Origin& asker = call.datagram->origin;
    Origin origin{.kind = MessageKind::kCookie, .target = asker.intact ? asker.node : kNobody};
    origin.cookie = {.giver = node_, .given_to = emitted.path.remote, .given_at = call.now.mono};
    return origin;
}

Origin Invariants::emitted_data(const Call& call, const Emitted& emitted, Bytes bytes) {
    const uint32_t receiver_index = load_le32(bytes.data() + 4);
    const uint64_t counter = load_le64(bytes.data() + 8);
    const auto number = ledger_.sending_session(node_, receiver_index);
    if (!number) fail(Invariant::kNonceReuse, "data for a session that was never agreed on");
    Session& session = ledger_.session(*number);
    const uint32_t peer = session.initiator == node_ ? session.responder : session.initiator;
    Dealings& with = ledger_.dealings(node_, peer);
    if (session.epoch_of(node_) != with.epoch) {
        fail(Invariant::kNonceReuse, "data in a session that the node should have forgotten");
    }
    if (*number < with.first_sendable) {
        fail(Invariant::kKeyChange, "data in session " + std::to_string(*number));
    }
    const Instant now = call.now.mono;
    const Duration age = now - session.created_by(node_);
    if (age > 180s) fail(Invariant::kSessionAge, "data sent in a session older than 180 s");
    if (session.responder == node_ && !session.confirmed) {
        fail(Invariant::kResponderWaits, "the responder sent data first");
    }
    // Of the keys, which more than one session would have if chance failed.
    Flow& keys = ledger_.session(session.same_keys).flow_from(node_);
    if (keys.last_sent && counter <= *keys.last_sent) {
        fail(Invariant::kNonceReuse,
             "counter " + std::to_string(counter) + " encrypts again" +
                 (session.same_keys == *number
                      ? ""
                      : ", with the keys of session " + std::to_string(session.same_keys)));
    }
    keys.last_sent = session.flow_from(node_).last_sent = counter;
    check_address(call, peer, emitted);
    const size_t inner = bytes.size() - 32;
    if (inner % 16 != 0 && inner != Parcels::kSizeMax) {
        fail(Invariant::kWellFormed, "data that is not padded to 16 bytes");
    }
    if (inner > Parcels::kSizeMax) fail(Invariant::kWellFormed, "data padded beyond the MTU");
    if (inner > 0 && !with.unanswered_since) with.unanswered_since = now;
    if (session.initiator == node_ && with.newest_session == *number && age > 120s) {
        coverage_.done(Deed::kAgedInitiator);
        must_have_tried_.push_back(peer);
    }
    return {.kind = MessageKind::kData, .target = peer, .number = *number, .counter = counter};
}

}  // namespace sluice::sim
