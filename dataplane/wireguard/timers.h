// The five things that may become due for one peer, behind one timer of the worker's wheel.
// Most deadlines move with every packet. Moving one later is a store and nothing else: the wheel's
// timer stays where it is, fires once too early, and is set anew from what is then the earliest. So
// a packet does not touch the wheel, and an idle peer costs nothing.
// Thread: one. Never allocates.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/base/timer_wheel.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

struct Peer;

enum class PeerTimer : uint8_t {
    kRetryHandshake,       // an initiation was not answered
    kNewHandshake,         // data was sent and nothing came back
    kKeepalive,            // data was received and nothing was sent
    kPersistentKeepalive,  // nothing went either way for as long as configured
    kZeroKeys,             // no new session for long
};
inline constexpr size_t kPeerTimerCount = 5;

class PeerTimersHandler {
  public:
    virtual ~PeerTimersHandler() = default;
    // Something may be due. take_if_due() tells what; rearm() follows.
    virtual void on_peer_timers(Peer& peer, Now now) = 0;
};

class PeerTimers final : private Timer {
  public:
    PeerTimers(TimerWheel& wheel, PeerTimersHandler& handler, Peer& peer)
        : wheel_(wheel), handler_(handler), peer_(peer) {
        due_.fill(kNever);
    }

    void arm(PeerTimer timer, Instant at) {
        due_[static_cast<size_t>(timer)] = at;
        if (at < deadline()) wheel_.set(*this, at);
    }
    void disarm(PeerTimer timer) { due_[static_cast<size_t>(timer)] = kNever; }
    bool armed(PeerTimer timer) const { return due_[static_cast<size_t>(timer)] != kNever; }
    bool take_if_due(PeerTimer timer, Instant now) {
        if (due_[static_cast<size_t>(timer)] > now) return false;
        disarm(timer);
        return true;
    }
    // Sets the wheel's timer to the earliest deadline.
    void rearm() { wheel_.set(*this, *std::min_element(due_.begin(), due_.end())); }

  private:
    void on_timer(Now now) override { handler_.on_peer_timers(peer_, now); }

    TimerWheel& wheel_;
    PeerTimersHandler& handler_;
    Peer& peer_;
    std::array<Instant, kPeerTimerCount> due_;
};

}  // namespace sluice::wireguard
