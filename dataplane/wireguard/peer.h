// All that a device knows about one peer.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/cookie.h"
#include "dataplane/wireguard/handshake.h"
#include "dataplane/wireguard/session.h"
#include "dataplane/wireguard/staged_packets.h"
#include "dataplane/wireguard/timers.h"
#include "dataplane/wireguard/timestamp.h"

namespace sluice::wireguard {

struct Peer {
    Peer(TimerWheel& wheel, PeerTimersHandler& handler) : timers(wheel, handler, *this) {}

    PeerId id = kNoPeer;
    RemoteIdentity identity;
    bool static_static_computed = false;
    MacWriter macs;

    // Where it was last heard of; before that, where the settings say.
    Path path;
    std::optional<Endpoint> configured_endpoint;
    uint16_t persistent_keepalive_s = 0;

    InitiatorHandshake handshake;
    uint32_t handshake_index = 0;                  // meaningful while the handshake is outstanding
    Instant handshake_began = Instant::min();      // the first try
    Instant last_handshake_sent = Instant::min();  // our last initiation or response
    Instant last_initiation_accepted = Instant::min();
    Timestamp own_timestamp{};
    Timestamp remote_timestamp{};

    SessionSlots sessions;
    StagedQueue staged;
    PeerTimers timers;
    bool another_keepalive = false;     // more data came while a keepalive was due
    bool refreshed_on_receive = false;  // once per session

    WallTime last_handshake{};
    uint64_t received_bytes = 0;
    uint64_t sent_bytes = 0;
};

}  // namespace sluice::wireguard
