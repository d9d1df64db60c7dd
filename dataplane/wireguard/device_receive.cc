// What comes in: from the cheapest check to the dearest, so that a forged datagram costs as little
// as can be.
#include "dataplane/wire/ip_packet.h"
#include "dataplane/wire/wireguard_message.h"
#include "dataplane/wireguard/device_impl.h"
#include "dataplane/wireguard/ecn.h"

namespace sluice::wireguard {

DropReason Device::receive(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                           DeviceOutput& out) {
    return impl_->receive(datagram, path, tos, now, out, Impl::From::kNetwork);
}

DropReason Device::receive_from_worker(MutableBytes datagram, const Path& path, uint8_t tos,
                                       Now now, DeviceOutput& out) {
    return impl_->receive(datagram, path, tos, now, out, Impl::From::kWorker);
}

DropReason Device::Impl::receive(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                                 DeviceOutput& out, From from) {
    latest = now.mono;
    const auto dispatch = [&]() -> DropReason {
        const auto type = wire::classify(datagram);
        if (!type) return type.error();
        if (*type == wire::WireguardType::kInitiation) {
            return receive_initiation(datagram, path, now, out, from);
        }
        if (from == From::kNetwork) {
            const uint32_t worker = owner_of(wire::receiver_of(*type, datagram));
            if (worker != options.worker) {
                if (worker >= options.workers) return DropReason::kReceiverIndexUnknown;
                out.belongs_to(worker);
                return DropReason::kNone;
            }
        }
        switch (*type) {
            case wire::WireguardType::kInitiation:
                break;
            case wire::WireguardType::kResponse:
                return receive_response(datagram, path, now, out);
            case wire::WireguardType::kCookieReply:
                return receive_cookie_reply(datagram, now);
            case wire::WireguardType::kData:
                return receive_data(datagram, path, tos, now, out);
        }
        return DropReason::kDatagramBadType;
    };
    const DropReason reason = dispatch();
    if (reason != DropReason::kNone) drops.add(reason);
    return reason;
}

// May be no worker at all, because who sends writes what it likes.
uint32_t Device::Impl::owner_of(uint32_t receiver_index) const {
    const uint32_t bits = worker_bits(options.workers);
    return bits == 0 ? options.worker : receiver_index >> (32 - bits);
}

// The price of a handshake message's elliptic curves is paid only for a sender that knows our
// public key and, under load, has shown that it is where it says it is.
DropReason Device::Impl::admit_handshake(Bytes message, uint32_t sender, const Path& path, Now now,
                                         DeviceOutput& out) {
    if (!cookies.mac1_is_valid(message)) return DropReason::kMac1Invalid;
    if (!load.count(now.mono)) return DropReason::kNone;
    if (cookies.mac2_is_valid(message, path.remote, now.mono)) {
        return limiter.admit(path.remote.address, now.mono) ? DropReason::kNone
                                                            : DropReason::kHandshakeRateLimited;
    }
    const wire::CookieReply reply =
        cookies.reply_to(message, sender, path.remote, random, now.mono);
    const MutableBytes buffer = out.datagram_buffer(wire::CookieReply::kSize, path, kHandshakeTos);
    if (buffer.size() < wire::CookieReply::kSize) return DropReason::kNoSendBuffer;
    wire::write(reply, buffer.first<wire::CookieReply::kSize>());
    out.datagram_ready(wire::CookieReply::kSize);
    return DropReason::kCookieReplied;
}

DropReason Device::Impl::receive_initiation(MutableBytes datagram, const Path& path, Now now,
                                            DeviceOutput& out, From from) {
    const wire::HandshakeInitiation message = wire::read_initiation(datagram);
    if (from == From::kNetwork) {
        const DropReason admitted = admit_handshake(datagram, message.sender, path, now, out);
        if (admitted != DropReason::kNone) return admitted;
    }

    ResponderHandshake handshake;
    const auto key = handshake.consume_initiation(own_key, message);
    if (!key) return DropReason::kHandshakeInvalid;
    const auto known = directory->find(*key);
    if (!known) return DropReason::kHandshakeUnknownPeer;
    if (peers[*known] == nullptr) {
        // Who it claims to be is told by its owner, who computes all of this again; passing on half
        // a handshake would save one curve operation in two minutes.
        if (from == From::kWorker) return DropReason::kHandshakeUnknownPeer;
        out.belongs_to(directory->worker_of(*known));
        return DropReason::kNone;
    }
    Peer& peer = *peers[*known];
    const auto timestamp = handshake.authenticate(identity_of(peer), message);
    if (!timestamp) return DropReason::kHandshakeInvalid;
    if (*timestamp <= peer.remote_timestamp) return DropReason::kHandshakeReplayed;
    if (peer.last_initiation_accepted + kInitiationInterval > now.mono) {
        return DropReason::kHandshakeFlood;
    }
    peer.remote_timestamp = *timestamp;
    peer.last_initiation_accepted = now.mono;
    peer.path = path;
    peer.received_bytes += datagram.size();
    respond(peer, handshake, message.sender, now, out);
    on_authenticated_received(peer, now);
    return DropReason::kNone;
}

DropReason Device::Impl::receive_response(MutableBytes datagram, const Path& path, Now now,
                                          DeviceOutput& out) {
    const wire::HandshakeResponse message = wire::read_response(datagram);
    const DropReason admitted = admit_handshake(datagram, message.sender, path, now, out);
    if (admitted != DropReason::kNone) return admitted;

    const IndexTable::Entry* entry = indices.find(message.receiver);
    if (entry == nullptr || entry->session != nullptr) return DropReason::kHandshakeUnexpected;
    Peer& peer = *entry->peer;
    const auto keys = peer.handshake.consume_response(own_key, identity_of(peer), message);
    if (!keys) return DropReason::kHandshakeInvalid;

    // The session goes on under the index that the initiation had.
    const uint32_t local_index = peer.handshake_index;
    clear_handshake(peer);
    make_session(peer, *keys, local_index, message.sender, true, now);
    peer.path = path;
    peer.received_bytes += datagram.size();
    on_authenticated_received(peer, now);
    on_session_made(peer, now);
    on_handshake_complete(peer, now);
    // The responder may not send before it has heard that we hold the keys, so it hears it at once.
    if (peer.staged.count > 0) {
        send_staged(peer, now, out);
    } else {
        send_keepalive(peer, now, out);
    }
    return DropReason::kNone;
}

// Moves nothing but the cookie: a reply comes from whoever is under load, not from an endpoint.
DropReason Device::Impl::receive_cookie_reply(Bytes datagram, Now now) {
    const wire::CookieReply reply = wire::read_cookie_reply(datagram);
    const IndexTable::Entry* entry = indices.find(reply.receiver);
    if (entry == nullptr) return DropReason::kCookieUnexpected;
    return entry->peer->macs.consume(reply, now.mono);
}

DropReason Device::Impl::receive_data(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                                      DeviceOutput& out) {
    const wire::DataHeader header = wire::read_data_header(datagram);
    const IndexTable::Entry* entry = indices.find(header.receiver);
    if (entry == nullptr || entry->session == nullptr) return DropReason::kReceiverIndexUnknown;
    Session& session = *entry->session;
    Peer& peer = *entry->peer;
    if (!session.can_receive(now.mono, header.counter)) return DropReason::kSessionExpired;
    // Saves the decryption of what would be thrown away; it counts only after authentication.
    if (!session.window.would_accept(header.counter)) return DropReason::kDataReplayed;

    const Bytes sealed = datagram.subspan(wire::DataHeader::kSize);
    const size_t sealed_size = sealed.size() - crypto::kTagSize;
    const bool keepalive = sealed_size == 0;
    const MutableBytes buffer = keepalive ? MutableBytes{} : out.inner_buffer(sealed_size, peer.id);
    if (buffer.size() < sealed_size) {
        if (!buffer.empty()) out.inner_abandoned();
        return DropReason::kNoSendBuffer;
    }
    const MutableBytes inner = buffer.first(sealed_size);
#ifdef SLUICE_PLANTED_BUG_ENDPOINT_UNAUTHENTICATED
    // PLANTED BUG, in no product: anyone who has seen an index can move the peer's endpoint.
    peer.path = path;
#endif
    if (!session.receive_key.open(header.counter, {}, sealed, inner)) {
        if (!keepalive) out.inner_abandoned();
        return DropReason::kDataInvalid;
    }
    session.window.accept(header.counter);

    // The packet is handed over before anything is sent in consequence, because a result that was
    // begun has to be finished before the next one.
    DropReason reason = DropReason::kNone;
    if (!keepalive) {
        size_t size = 0;
        reason = check_inner(peer, inner, tos, size);
        if (reason == DropReason::kNone) {
            out.inner_ready(size, (tos & kEcnMask) == kEcnCongestionExperienced);
        } else {
            out.inner_abandoned();
        }
    }

    if (peer.path != path) peer.path = path;
    peer.received_bytes += datagram.size();
    const bool refresh = !peer.refreshed_on_receive && session.send_allowed &&
                         &session == peer.sessions.current.get() &&
                         session.is_old_for_receiving(now.mono);
    // What came in is noted before anything goes out in consequence: the timers must see the answer
    // as the later of the two, or nothing would notice that it was lost.
    on_authenticated_received(peer, now);
    if (!keepalive) on_data_received(peer, now);
    if (&session == peer.sessions.next.get()) confirm_session(peer, now, out);
    if (refresh) {
        peer.refreshed_on_receive = true;
        initiate(peer, Attempt::kFirst, now, out);
    }
    return reason;
}

// Whether an authentic packet may come out of the tunnel; `size` is what is left without padding.
DropReason Device::Impl::check_inner(const Peer& peer, MutableBytes inner, uint8_t tos,
                                     size_t& size) const {
    const auto packet = wire::parse_ip_packet(inner);
    if (!packet) return DropReason::kInnerMalformed;
    if (directory->find(packet->source) != peer.id) return DropReason::kInnerSourceNotAllowed;
    const auto traffic_class = decapsulated_traffic_class(packet->traffic_class, tos);
    if (!traffic_class) return DropReason::kInnerCongestion;
    if (*traffic_class != packet->traffic_class) wire::set_traffic_class(inner, *traffic_class);
    size = packet->size;
    return DropReason::kNone;
}

// The first authentic data message of a session that we answered for: the initiator has the keys.
void Device::Impl::confirm_session(Peer& peer, Now now, DeviceOutput& out) {
    SessionSlots& slots = peer.sessions;
    end_session(slots.previous);
    slots.previous = std::move(slots.current);
    slots.current = std::move(slots.next);
    on_handshake_complete(peer, now);
    send_staged(peer, now, out);
}

}  // namespace sluice::wireguard
