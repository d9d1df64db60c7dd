#include "tests/sim/invariants.h"

#include <algorithm>
#include <utility>

namespace sluice::sim {

using namespace std::chrono_literals;

namespace {

// Timers are served on the wheel's ticks of 4 ms and, with the fault on, up to 20 ms late.
constexpr Duration kLateness = 30ms;
constexpr Duration kJitter = 334ms;

// can_send is left out: it is about the present moment, and so changes without any event.
bool equal(const PeerState& a, const PeerState& b) {
    return a.public_key == b.public_key && a.endpoint == b.endpoint &&
           a.last_handshake == b.last_handshake && a.received_bytes == b.received_bytes &&
           a.sent_bytes == b.sent_bytes && a.staged_packets == b.staged_packets &&
           a.holds_key_material == b.holds_key_material && a.session_created == b.session_created &&
           a.session_initiator == b.session_initiator &&
           a.session_send_counter == b.session_send_counter;
}

// The message was authentic, and what was inside it was refused.
bool refused_inside(DropReason reason) {
    return reason == DropReason::kInnerMalformed || reason == DropReason::kInnerSourceNotAllowed ||
           reason == DropReason::kInnerTooLarge;
}

}  // namespace

void Invariants::fail(Invariant invariant, std::string detail) const {
    throw Violation{invariant, node_, std::move(detail)};
}

const std::vector<Origin>& Invariants::check(const Call& call) {
    begin(call);
    Claim claim;
    if (call.kind == CallKind::kReceive) {
        claim = claim_of(call);
        claim.first_mac = first_mac_offset(call.datagram->bytes) != 0 &&
                          call.node.mac().valid(call.datagram->bytes);
        check_admitted(call, claim);
        check_receive(call, claim);
    }
    if (!call.counted) fail(Invariant::kRefusalCounted, std::string(text_of(call.result).name));
    if (call.node.sink().refused_handshake()) {
        for (const SimPeer& peer : call.node.peers()) {
            // It tried, and holds what it needs for an answer, though nothing left it.
            Dealings& with = ledger_.dealings(node_, peer.node);
            with.attempt_at = with.keys_since = call.now.mono;
            with.unanswered_since.reset();
        }
    }
    for (const Emitted& emitted : call.node.sink().datagrams()) {
        const Bytes bytes = call.node.sink().bytes(emitted.offset, emitted.size);
        origins_.push_back(check_emitted(call, claim, emitted, bytes));
    }
    const bool response = claim.accepted && call.kind == CallKind::kReceive &&
                          call.datagram->origin.kind == MessageKind::kResponse;
    if (response && call.node.sink().refusals() == 0 &&
        !ledger_.session(claim.session).from_initiator.last_sent) {
        fail(Invariant::kInitiatorConfirms, "nothing was sent in the new session");
    }
    check_peers(call, claim);
    return origins_;
}

void Invariants::begin(const Call& call) {
    node_ = call.node.number();
    origins_.clear();
    must_have_tried_.clear();
    responded_ = false;
    emitted_bytes_ = 0;
    const Sink& sink = call.node.sink();
    if (!sink.misuse().empty()) fail(Invariant::kOutputOrder, sink.misuse());
    if (call.kind != CallKind::kConfigure && call.allocations > 0) {
        fail(Invariant::kNoAllocation, std::to_string(call.allocations) + " allocations");
    }
    if (call.kind != CallKind::kReceive && !sink.inner().empty()) {
        fail(Invariant::kDeliveredRight, "an inner packet without a datagram");
    }
    if (call.datagram != nullptr) {
        Account& account = ledger_.accounts(node_)[call.datagram->from];
        account.received += call.datagram->bytes.size();
    }
}

Invariants::Claim Invariants::claim_of(const Call& call) {
    const Origin& origin = call.datagram->origin;
    Claim claim;
    claim.accepted = call.result == DropReason::kNone || refused_inside(call.result);
    if (!origin.intact || origin.node == kNobody || call.node.peer(origin.node) == nullptr) {
        return claim;
    }
    const Dealings& with = ledger_.dealings(node_, origin.node);
    switch (origin.kind) {
        case MessageKind::kNoise:
            return claim;
        case MessageKind::kCookie:
            claim.genuine = claim.fresh = origin.target == node_;
            break;
        case MessageKind::kInitiation:
            claim.genuine = origin.target == node_ && call.node.peer(origin.node)->present;
            claim.fresh = claim.genuine && origin.number > with.greatest_accepted;
            break;
        case MessageKind::kResponse: {
            claim.session = static_cast<uint32_t>(origin.number);
            const Session& session = ledger_.session(claim.session);
            claim.genuine = session.initiator == node_ && session.initiator_epoch == with.epoch &&
                            session.initiation == with.last_initiation;
            claim.fresh = claim.genuine && with.initiation_open;
            break;
        }
        case MessageKind::kData: {
            claim.session = static_cast<uint32_t>(origin.number);
            Session& session = ledger_.session(claim.session);
            const bool ours =
                session.responder == node_ || (session.initiator == node_ && session.established);
            claim.genuine = ours && origin.node != node_ && session.epoch_of(node_) == with.epoch;
            claim.fresh =
                claim.genuine && !session.flow_from(origin.node).was_accepted(origin.counter);
            break;
        }
    }
    claim.perhaps = claim.fresh && call.result == DropReason::kNoSendBuffer;
    return claim;
}

void Invariants::check_receive(const Call& call, const Claim& claim) {
    const Origin& origin = call.datagram->origin;
    if (!claim.accepted && !claim.perhaps) return check_refused(call, claim);
    if (!claim.genuine) {
        fail(Invariant::kOnlyGenuine,
             "accepted a message that no peer made for this node's present sessions");
    }
    if (refused_inside(call.result) && origin.kind != MessageKind::kData) {
        fail(Invariant::kOnlyGenuine, "an inner packet in something that is not data");
    }
    if (origin.kind != MessageKind::kCookie) {
        ledger_.accounts(node_)[call.datagram->from].proven = true;
    }
    if (claim.perhaps && origin.kind != MessageKind::kResponse) {
        if (origin.kind == MessageKind::kInitiation) {
            ledger_.dealings(node_, origin.node).keys_since = call.now.mono;
        }
        return;
    }
    switch (origin.kind) {
        case MessageKind::kInitiation:
            if (!claim.fresh) fail(Invariant::kInitiationReplay, "an old initiation was accepted");
            note_initiation(call);
            break;
        case MessageKind::kResponse:
            if (!claim.fresh) fail(Invariant::kOnlyGenuine, "a response was accepted twice");
            note_response(call, claim);
            break;
        case MessageKind::kData:
            note_data(call, claim);
            break;
        case MessageKind::kCookie:
            ledger_.dealings(node_, origin.node).cookie = origin.cookie;
            break;
        case MessageKind::kNoise:
            break;
    }
}

// Under load a handshake message is looked at only if its second MAC proves its source: made with
// a cookie that this node gave to that very address and port, not long ago.
void Invariants::check_admitted(const Call& call, Claim& claim) {
    if (!claim.first_mac) return;
    const Datagram& datagram = *call.datagram;
    const bool loaded = ledger_.load(node_).count(call.now.mono);
    // What had no buffer then was the cookie reply, so the message itself was not looked at.
    if (loaded) claim.perhaps = false;
    const bool challenged = call.result == DropReason::kCookieReplied;
    if (!loaded) {
        if (challenged) fail(Invariant::kCookieBound, "a cookie was asked for without load");
        return;
    }
    const CookieNote& cookie = datagram.origin.cookie;
    const bool carries = datagram.origin.second_mac && cookie.giver == node_;
    const bool proven = carries && cookie.given_to == datagram.from &&
                        call.now.mono - cookie.given_at < 120s &&
                        cookie.given_at >= ledger_.load(node_).started;
    if (challenged || call.result == DropReason::kNoSendBuffer) {
        if (carries && cookie.given_to.address == datagram.from.address &&
            cookie.given_to.port != datagram.from.port) {
            coverage_.done(Deed::kCookieElsewhere);
        }
        return;
    }
    if (!proven) {
        fail(Invariant::kCookieBound, carries ? "a cookie given to " + cookie.given_to.text() +
                                                    " let in " + datagram.from.text()
                                              : "under load a message without a cookie was let in");
    }
    if (call.result == DropReason::kNone) coverage_.done(Deed::kCookieAccepted);
    if (call.result == DropReason::kHandshakeRateLimited) coverage_.done(Deed::kRateLimited);
}

// Whatever the reason, a refused datagram leaves no trace that its sender could see.
void Invariants::check_refused(const Call& call, const Claim& claim) {
    const Datagram& datagram = *call.datagram;
    const bool handshake = first_mac_offset(datagram.bytes) != 0;
    const bool replayed_initiation =
        claim.genuine && !claim.fresh && datagram.origin.kind == MessageKind::kInitiation;
    const Invariant broken = handshake && !claim.first_mac ? Invariant::kMacSilence
                             : replayed_initiation         ? Invariant::kInitiationReplay
                                                           : Invariant::kRefusalSilent;
    const Sink& sink = call.node.sink();
    if (!sink.inner().empty()) fail(Invariant::kOnlyGenuine, "a refused datagram was delivered");
    if (call.result == DropReason::kCookieReplied) {
        if (!claim.first_mac) fail(broken, "a cookie reply to a message without a valid first MAC");
        if (sink.datagrams().size() + sink.refusals() != 1) fail(broken, "not one cookie reply");
    } else if (!sink.datagrams().empty()) {
        fail(broken, "a refused datagram was answered");
    }
    if (call.result == DropReason::kSessionExpired) coverage_.done(Deed::kExpiredRefused);
    if (call.result == DropReason::kHandshakeFlood) coverage_.done(Deed::kInitiationTooSoon);
    if (claim.fresh && datagram.origin.kind == MessageKind::kData) check_honest(call, claim);
    // Timestamps show steps of 17 ms, so after a restart within that time two may be equal.
    if (call.result == DropReason::kHandshakeReplayed && claim.fresh &&
        datagram.origin.made_at >=
            ledger_.dealings(node_, datagram.origin.node).greatest_made_at + 20ms) {
        fail(Invariant::kHonestAccepted, "a peer is locked out by its own earlier timestamp");
    }
    // Something genuine that came too late may make a node tidy up; nothing else may.
    const bool may_tidy = claim.genuine && claim.fresh;
    for (size_t i = 0; i < call.node.peers().size(); ++i) {
        const PeerState& before = call.node.earlier_states()[i];
        const PeerState& after = call.node.states()[i];
        if (before.endpoint != after.endpoint) {
            fail(Invariant::kEndpointAuthenticated,
                 "a refused datagram moved the endpoint to " + after.endpoint.text());
        }
        if (!may_tidy && !equal(before, after)) fail(broken, "a refused datagram changed a peer");
    }
}

// Of a session that has not been replaced; what an older one still takes is the node's choice.
void Invariants::check_honest(const Call& call, const Claim& claim) {
    const Origin& origin = call.datagram->origin;
    Session& session = ledger_.session(claim.session);
    if (ledger_.dealings(node_, origin.node).newest_session != claim.session) return;
    if (call.now.mono - session.created_by(node_) >= 180s) return;
    if (origin.counter + 8000 < session.flow_from(origin.node).accepted.size()) return;
    fail(Invariant::kHonestAccepted,
         "honest data was refused: " + std::string(text_of(call.result).name));
}

void Invariants::note_initiation(const Call& call) {
    const Origin& origin = call.datagram->origin;
    Dealings& with = ledger_.dealings(node_, origin.node);
    if (call.now.mono - with.accepted_at < 20ms) {
        fail(Invariant::kInitiationRate, "two initiations accepted within 20 ms");
    }
    if (origin.wrong_clock) coverage_.done(Deed::kWrongClock);
    with.greatest_accepted = origin.number;
    with.greatest_made_at = origin.made_at;
    with.accepted_at = call.now.mono;
    with.keys_since = call.now.mono;
    with.unanswered_since.reset();
    if (with.initiation_open && call.now.mono - with.initiation_at < 1s) {
        coverage_.done(Deed::kSimultaneous);
    }
}

void Invariants::note_response(const Call& call, const Claim& claim) {
    Session& session = ledger_.session(claim.session);
    Dealings& with = ledger_.dealings(node_, session.responder);
    coverage_.done(Deed::kHandshake);
    if (session.second_mac) coverage_.done(Deed::kCookieUsed);
    if (with.newest_session != kNoSession) {
        const Session& last = ledger_.session(with.newest_session);
        if (call.now.mono - last.created_by(node_) < 180s) {
            coverage_.done(Deed::kRekey);
            if (session.second_mac) coverage_.done(Deed::kRekeyUnderLoad);
        }
    }
    if (std::exchange(with.new_preshared_key, false)) coverage_.done(Deed::kNewPresharedKeyUsed);
    if (std::exchange(with.new_private_key, false)) coverage_.done(Deed::kNewPrivateKeyUsed);
    ledger_.establish(claim.session, call.now.mono);
    with.initiation_open = false;
    with.series_since = Instant();
    with.keys_since = call.now.mono;
    with.unanswered_since.reset();
    with.newest_session = claim.session;
}

void Invariants::note_data(const Call& call, const Claim& claim) {
    const Origin& origin = call.datagram->origin;
    Session& session = ledger_.session(claim.session);
    Dealings& with = ledger_.dealings(node_, origin.node);
    Flow& flow = session.flow_from(origin.node);
    const Duration age = call.now.mono - session.created_by(node_);
    if (age > 180s) fail(Invariant::kSessionAge, "data accepted on a session older than 180 s");
    if (origin.counter + 1 < flow.accepted.size()) coverage_.done(Deed::kOutOfOrder);
    if (!flow.note_accepted(origin.counter)) {
        fail(Invariant::kDeliveredOnce,
             "counter " + std::to_string(origin.counter) + " accepted twice");
    }
    with.unanswered_since.reset();
    if (session.responder == node_ && !session.confirmed) {
        session.confirmed = true;
        coverage_.done(Deed::kResponderConfirmed);
        // If initiations crossed, a session of our own may be newer than the one confirmed here.
        if (with.newest_session == kNoSession ||
            ledger_.session(with.newest_session).created_by(node_) < session.created_by(node_)) {
            with.newest_session = claim.session;
        }
    } else if (with.newest_session != claim.session) {
        coverage_.done(Deed::kOldSession);
    }
    if (session.initiator == node_ && with.newest_session == claim.session && age > 165s) {
        coverage_.done(Deed::kLateReceive);
        must_have_tried_.push_back(origin.node);
    }
    check_delivered(call, origin.node);
}

void Invariants::check_delivered(const Call& call, uint32_t from) {
    const Sink& sink = call.node.sink();
    const bool keepalive = call.datagram->bytes.size() == 32;
    if (keepalive && call.result == DropReason::kNone) coverage_.done(Deed::kKeepalive);
    const size_t expected = !keepalive && call.result == DropReason::kNone ? 1 : 0;
    if (sink.inner().size() != expected) {
        fail(Invariant::kDeliveredRight,
             std::to_string(sink.inner().size()) + " inner packets delivered from one datagram");
    }
    for (const Received& received : sink.inner()) {
        const Bytes packet = sink.bytes(received.offset, received.size);
        if (received.peer != call.node.peer(from)->id) {
            fail(Invariant::kDeliveredRight, "delivered as another peer's");
        }
        const auto number = parcels_.number_of(packet);
        if (!number) fail(Invariant::kDeliveredRight, "delivered a packet that nobody sent");
        Parcel& parcel = parcels_.at(*number);
        const Bytes original = parcels_.build(*number);
        if (parcel.from != from || parcel.to != node_ || parcel.forged_source) {
            fail(Invariant::kDeliveredRight, "delivered a packet of another peer or address");
        }
        if (!std::equal(packet.begin(), packet.end(), original.begin(), original.end())) {
            fail(Invariant::kDeliveredRight, "delivered other bytes than were sent");
        }
        if (parcel.delivered) {
            fail(Invariant::kDeliveredOnce, "packet " + std::to_string(*number) + " again");
        }
        parcel.delivered = true;
        coverage_.done(Deed::kDelivery);
        if (!parcel.v4) coverage_.done(Deed::kDeliveryV6);
    }
}

void Invariants::check_peers(const Call& call, const Claim& claim) {
    for (size_t i = 0; i < call.node.peers().size(); ++i) {
        const PeerState& before = call.node.earlier_states()[i];
        const PeerState& after = call.node.states()[i];
        check_endpoint(call, claim, i);
        if (after.staged_packets > 128) {
            fail(Invariant::kStagedLimit, std::to_string(after.staged_packets) + " packets wait");
        }
        if (after.staged_packets == 128 && before.staged_packets < 128) {
            coverage_.done(Deed::kStagedFull);
        }
        const Dealings& with = ledger_.dealings(node_, call.node.peers()[i].node);
        if (before.holds_key_material && !after.holds_key_material &&
            call.now.mono - with.keys_since >= 539s) {
            coverage_.done(Deed::kErased);
        }
        check_times(call.node, i, call.now.mono);
    }
    for (const uint32_t peer : must_have_tried_) {
        const Dealings& with = ledger_.dealings(node_, peer);
        const Session& session = ledger_.session(with.newest_session);
        // Within the last 5 s if it sends; since the session came of age if it only receives.
        const bool recently = call.now.mono - with.attempt_at <= 5s;
        const bool since_aged =
            with.attempt_at > session.created_by(node_) + 120s && call.kind == CallKind::kReceive;
        if (!recently && !since_aged) {
            fail(Invariant::kRekeyAttempt, "an old session was used and no handshake begun");
        }
    }
}

void Invariants::check_endpoint(const Call& call, const Claim& claim, size_t index) {
    const uint32_t peer = call.node.peers()[index].node;
    const Endpoint& before = call.node.earlier_states()[index].endpoint;
    const Endpoint& after = call.node.states()[index].endpoint;
    const bool from_peer = call.kind == CallKind::kReceive && claim.genuine && claim.fresh &&
                           call.datagram->origin.node == peer &&
                           call.datagram->origin.kind != MessageKind::kCookie;
    if (from_peer && claim.accepted && after != call.datagram->from) {
        fail(Invariant::kEndpointFollows, "the endpoint stayed at " + after.text());
    }
    if (before == after || call.kind == CallKind::kConfigure) return;
    if (!from_peer || !(claim.accepted || claim.perhaps) || after != call.datagram->from) {
        fail(Invariant::kEndpointAuthenticated, "the endpoint moved to " + after.text());
    }
    if (before.is_set()) {
        coverage_.done(Deed::kRoamFollowed);
        if (before.address.family != after.address.family) coverage_.done(Deed::kFamilyChanged);
    }
}

void Invariants::check_times(SimNode& node, size_t index, Instant now) {
    const Dealings& with = ledger_.dealings(node.number(), node.peers()[index].node);
    // A handshake that nobody answered holds its secrets until it is given up: one retry later.
    const Duration erased_after = 540s + 5s + kJitter + kLateness;
    if (node.states()[index].holds_key_material && now - with.keys_since > erased_after) {
        fail(Invariant::kKeyErasure, "key material 540 s after the last handshake");
    }
    if (with.unanswered_since && now - *with.unanswered_since > 15s + kJitter + kLateness) {
        fail(Invariant::kDeadPeerNoticed, "data to node " +
                                              std::to_string(node.peers()[index].node) +
                                              " unanswered for 15 s and no handshake begun");
    }
}

void Invariants::check_unchanged(SimNode& node) {
    node_ = node.number();
    for (size_t i = 0; i < node.peers().size(); ++i) {
        if (!equal(node.earlier_states()[i], node.states()[i])) {
            fail(Invariant::kSettingsKept, "the same settings again changed a peer");
        }
    }
}

void Invariants::check_idle(SimNode& node, Instant now) {
    node_ = node.number();
    for (size_t i = 0; i < node.peers().size(); ++i)
        check_times(node, i, now);
}

}  // namespace sluice::sim
