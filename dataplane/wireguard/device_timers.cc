// When: the rules of the paper's section 6, one function per event.
#include <utility>

#include "dataplane/wireguard/device_impl.h"

namespace sluice::wireguard {

void Device::tick(Now now, DeviceOutput& out) {
    impl_->latest = now.mono;
    impl_->timer_output = &out;
    impl_->wheel.advance(now);
    impl_->timer_output = nullptr;
}

Instant Device::next_deadline() const {
    return impl_->wheel.next_deadline();
}

Duration Device::Impl::jitter() {
    return Duration(
        static_cast<int64_t>(jitter_random.below(static_cast<uint64_t>(kJitterMax.count()))));
}

void Device::Impl::on_peer_timers(Peer& peer, Now now) {
    DeviceOutput& out = *timer_output;
    if (peer.timers.take_if_due(PeerTimer::kRetryHandshake, now.mono)) {
        on_handshake_not_answered(peer, now, out);
    }
    if (peer.timers.take_if_due(PeerTimer::kNewHandshake, now.mono)) {
        // The way may have changed, our own address first of all.
        peer.path.local = {};
        peer.path.interface_index = 0;
        initiate(peer, Attempt::kFirst, now, out);
    }
    if (peer.timers.take_if_due(PeerTimer::kKeepalive, now.mono)) {
        on_keepalive_due(peer, now, out);
    }
    if (peer.timers.take_if_due(PeerTimer::kPersistentKeepalive, now.mono)) {
        on_persistent_keepalive_due(peer, now, out);
    }
    if (peer.timers.take_if_due(PeerTimer::kZeroKeys, now.mono)) {
        clear_handshake(peer);
        end_sessions(peer);
    }
    peer.timers.rearm();
}

void Device::Impl::on_handshake_not_answered(Peer& peer, Now now, DeviceOutput& out) {
    if (peer.handshake_began + kRekeyAttemptTime > now.mono) {
        peer.path.local = {};
        peer.path.interface_index = 0;
        initiate(peer, Attempt::kRetry, now, out);
        return;
    }
    // Given up. New data begins anew; until then nothing is kept that an answer could use.
    peer.timers.disarm(PeerTimer::kKeepalive);
    clear_handshake(peer);
    drop_staged(peer);
}

void Device::Impl::on_keepalive_due(Peer& peer, Now now, DeviceOutput& out) {
    send_keepalive(peer, now, out);
    if (std::exchange(peer.another_keepalive, false)) {
        peer.timers.arm(PeerTimer::kKeepalive, now.mono + kKeepaliveTimeout);
    }
}

void Device::Impl::on_persistent_keepalive_due(Peer& peer, Now now, DeviceOutput& out) {
    if (peer.persistent_keepalive_s == 0) return;
    send_keepalive(peer, now, out);
    // Sending sets the timer anew; if nothing could be sent, it must not end here. A peer without
    // an endpoint sets it when it is first heard.
    if (!peer.timers.armed(PeerTimer::kPersistentKeepalive) && peer.path.remote.is_set()) {
        peer.timers.arm(PeerTimer::kPersistentKeepalive,
                        now.mono + seconds(peer.persistent_keepalive_s));
    }
}

void Device::Impl::on_data_sent(Peer& peer, Now now) {
    if (peer.timers.armed(PeerTimer::kNewHandshake)) return;
    peer.timers.arm(PeerTimer::kNewHandshake, now.mono + kNewHandshakeTime + jitter());
}

void Device::Impl::on_data_received(Peer& peer, Now now) {
    if (peer.timers.armed(PeerTimer::kKeepalive)) {
        peer.another_keepalive = true;
    } else {
        peer.timers.arm(PeerTimer::kKeepalive, now.mono + kKeepaliveTimeout);
    }
}

void Device::Impl::on_authenticated_sent(Peer& peer, Now now) {
    peer.timers.disarm(PeerTimer::kKeepalive);
    if (peer.persistent_keepalive_s == 0) return;
    peer.timers.arm(PeerTimer::kPersistentKeepalive,
                    now.mono + seconds(peer.persistent_keepalive_s));
}

void Device::Impl::on_authenticated_received(Peer& peer, Now now) {
    peer.timers.disarm(PeerTimer::kNewHandshake);
    if (peer.persistent_keepalive_s == 0) return;
    peer.timers.arm(PeerTimer::kPersistentKeepalive,
                    now.mono + seconds(peer.persistent_keepalive_s));
}

void Device::Impl::on_session_made(Peer& peer, Now now) {
    peer.timers.arm(PeerTimer::kZeroKeys, now.mono + kZeroKeysTime);
}

void Device::Impl::on_handshake_complete(Peer& peer, Now now) {
    peer.timers.disarm(PeerTimer::kRetryHandshake);
    peer.refreshed_on_receive = false;
    peer.last_handshake = now.wall;
    ++handshakes_completed;
}

}  // namespace sluice::wireguard
