// What goes out.
#include <algorithm>
#include <cstring>

#include "dataplane/wire/ip_packet.h"
#include "dataplane/wire/wireguard_message.h"
#include "dataplane/wireguard/device_impl.h"
#include "dataplane/wireguard/ecn.h"

namespace sluice::wireguard {

namespace {

// Padded so that lengths tell little, but never to more than fits the path. A packet that is larger
// than the MTU (it was lowered while the packet waited) goes as it is.
size_t padded_size(size_t size, size_t mtu) {
    const size_t padded = (size + kPaddingMultiple - 1) / kPaddingMultiple * kPaddingMultiple;
    return std::min(padded, std::max(size, mtu));
}

}  // namespace

DropReason Device::Impl::send(PeerId id, Bytes packet, Now now, DeviceOutput& out) {
    Peer* peer = find_peer(id);
    if (peer == nullptr) return DropReason::kInnerNoPeer;
    if (packet.size() > mtu) return DropReason::kInnerTooLarge;
    const auto header = wire::parse_ip_packet(packet);
    if (!header) return DropReason::kInnerMalformed;
    if (!peer->path.remote.is_set()) return DropReason::kInnerNoEndpoint;

    if (Session* session = sendable_session(*peer, now)) {
        const uint8_t tos = encapsulated_tos(header->traffic_class);
        return send_data(*peer, *session, packet, tos, now, out);
    }
    if (const size_t dropped = staged.push(peer->staged, packet)) {
        drops.add(DropReason::kStagedOverflow, dropped);
    }
    initiate(*peer, Attempt::kFirst, now, out);
    return DropReason::kNone;
}

Session* Device::Impl::sendable_session(Peer& peer, Now now) const {
    Session* session = peer.sessions.current.get();
    return session != nullptr && session->can_send(now.mono) ? session : nullptr;
}

// `packet` empty: a keepalive.
DropReason Device::Impl::send_data(Peer& peer, Session& session, Bytes packet, uint8_t tos, Now now,
                                   DeviceOutput& out) {
    const size_t padded = padded_size(packet.size(), mtu);
    const size_t size = wire::DataHeader::kSize + padded + crypto::kTagSize;
    const MutableBytes buffer = out.datagram_buffer(size, peer.path, tos);
    if (buffer.size() < size) return DropReason::kNoSendBuffer;

    const uint64_t counter = session.send_counter++;
    wire::write({.receiver = session.remote_index, .counter = counter},
                buffer.first<wire::DataHeader::kSize>());
    const MutableBytes sealed = buffer.subspan(wire::DataHeader::kSize, padded + crypto::kTagSize);
    Bytes plain = packet;
    if (padded != packet.size()) {
        // Small packets are copied to have room for the padding; full ones need none.
        std::memcpy(sealed.data(), packet.data(), packet.size());
        std::memset(sealed.data() + packet.size(), 0, padded - packet.size());
        plain = sealed.first(padded);
    }
    session.send_key.seal(counter, {}, plain, sealed);
    out.datagram_ready(size);

    peer.sent_bytes += size;
    on_authenticated_sent(peer, now);
    if (!packet.empty()) on_data_sent(peer, now);
    if (session.is_old_for_sending(now.mono)) initiate(peer, Attempt::kFirst, now, out);
    return DropReason::kNone;
}

// Without a session this asks for one; the handshake then confirms itself.
void Device::Impl::send_keepalive(Peer& peer, Now now, DeviceOutput& out) {
    if (Session* session = sendable_session(peer, now)) {
        const DropReason reason = send_data(peer, *session, {}, 0, now, out);
        if (reason != DropReason::kNone) drops.add(reason);
    } else {
        initiate(peer, Attempt::kFirst, now, out);
    }
}

void Device::Impl::send_staged(Peer& peer, Now now, DeviceOutput& out) {
    while (peer.staged.count > 0) {
        Session* session = sendable_session(peer, now);
        if (session == nullptr) return initiate(peer, Attempt::kFirst, now, out);
        const Bytes packet = staged.front(peer.staged);
        const auto header = wire::parse_ip_packet(packet);
        const uint8_t tos = header ? encapsulated_tos(header->traffic_class) : 0;
        const DropReason reason = send_data(peer, *session, packet, tos, now, out);
        if (reason != DropReason::kNone) drops.add(reason);
        staged.pop(peer.staged);
    }
}

void Device::Impl::drop_staged(Peer& peer) {
    if (const size_t dropped = staged.clear(peer.staged)) {
        drops.add(DropReason::kStagedExpired, dropped);
    }
}

void Device::Impl::initiate(Peer& peer, Attempt attempt, Now now, DeviceOutput& out) {
    if (!peer.path.remote.is_set()) return;
    const bool too_soon = peer.last_handshake_sent + kRekeyTimeout > now.mono;
    if (attempt == Attempt::kFirst) {
        // Something new wants to go out, so the time to give up begins anew.
        peer.handshake_began = now.mono;
        if (too_soon) {
            // What stops us may be an answer of ours that was lost: nothing else would try again.
            if (!peer.timers.armed(PeerTimer::kRetryHandshake)) {
                peer.timers.arm(PeerTimer::kRetryHandshake,
                                peer.last_handshake_sent + kRekeyTimeout + jitter());
            }
            return;
        }
    }
    wire::HandshakeInitiation message;
    const Timestamp timestamp = next_timestamp(timestamp_clock.read(now), peer.own_timestamp);
    clear_handshake(peer);
    message.sender = new_index();
    if (!peer.handshake.create_initiation(own_key, identity_of(peer), timestamp, random, message)) {
        // Its public key is a point of low order: no session with it will ever be.
        drop_staged(peer);
        return;
    }
    peer.own_timestamp = timestamp;
    peer.handshake_index = message.sender;
    indices.set(message.sender, &peer, nullptr);
    peer.last_handshake_sent = now.mono;

    std::array<uint8_t, wire::HandshakeInitiation::kSize> bytes;
    wire::write(message, bytes);
    peer.macs.sign(bytes, now.mono);
    send_message(peer, bytes, now, out);
    peer.timers.arm(PeerTimer::kRetryHandshake, now.mono + kRekeyTimeout + jitter());
}

void Device::Impl::respond(Peer& peer, ResponderHandshake& handshake, uint32_t remote_index,
                           Now now, DeviceOutput& out) {
    wire::HandshakeResponse message;
    message.sender = new_index();
    message.receiver = remote_index;
    const auto keys = handshake.create_response(identity_of(peer), random, message);
    if (!keys) return;
    make_session(peer, *keys, message.sender, remote_index, false, now);
    peer.last_handshake_sent = now.mono;

    std::array<uint8_t, wire::HandshakeResponse::kSize> bytes;
    wire::write(message, bytes);
    peer.macs.sign(bytes, now.mono);
    on_session_made(peer, now);
    send_message(peer, bytes, now, out);
}

// A handshake message that finds no buffer is lost as it may be on its way; the timers know that.
bool Device::Impl::send_message(Peer& peer, Bytes message, Now now, DeviceOutput& out) {
    const MutableBytes buffer = out.datagram_buffer(message.size(), peer.path, kHandshakeTos);
    if (buffer.size() < message.size()) {
        drops.add(DropReason::kNoSendBuffer);
        return false;
    }
    std::memcpy(buffer.data(), message.data(), message.size());
    out.datagram_ready(message.size());
    peer.sent_bytes += message.size();
    on_authenticated_sent(peer, now);
    return true;
}

}  // namespace sluice::wireguard
