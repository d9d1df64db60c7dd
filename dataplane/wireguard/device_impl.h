// The inside of Device, spread over device.cc (settings, questions), device_receive.cc (what
// comes), device_send.cc (what goes) and device_timers.cc (when).
#pragma once

#include <memory>
#include <vector>

#include "dataplane/base/timer_wheel.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/device.h"
#include "dataplane/wireguard/index_table.h"
#include "dataplane/wireguard/load_meter.h"
#include "dataplane/wireguard/peer.h"
#include "dataplane/wireguard/peer_directory.h"
#include "dataplane/wireguard/rate_limiter.h"

namespace sluice::wireguard {

struct Device::Impl final : PeerTimersHandler {
    Impl(Options options_in, Random& random_in, DropCounters& drops_in, Now now);
    ~Impl() override;

    // ---- device.cc ----
    void configure(const DeviceSettings& settings, std::shared_ptr<const PeerDirectory> next,
                   Now now, DeviceOutput& out);
    void set_private_key(const Secret<32>& key, Now now);
    void take_peers(const DeviceSettings& settings, const PeerDirectory& next);
    void forget(Peer& peer);
    std::unique_ptr<Peer> make_peer(const PublicKey& key);
    void configure_peer(Peer& peer, const PeerSettings& settings, Now now, DeviceOutput& out);
    Peer* find_peer(PeerId id) const { return id < peers.size() ? peers[id].get() : nullptr; }
    // Computes what both static keys agree on when it is first needed: at start with many peers,
    // doing it for all of them would take seconds.
    const RemoteIdentity& identity_of(Peer& peer);

    uint32_t new_index();
    Session& make_session(Peer& peer, const SessionKeys& keys, uint32_t local_index,
                          uint32_t remote_index, bool initiator, Now now);
    void end_session(SessionOwner& session);
    void end_sessions(Peer& peer);
    void clear_handshake(Peer& peer);

    // ---- device_receive.cc ----
    // Who has looked at a datagram before.
    enum class From { kNetwork, kWorker };
    DropReason receive(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                       DeviceOutput& out, From from);
    uint32_t owner_of(uint32_t receiver_index) const;
    DropReason receive_initiation(MutableBytes datagram, const Path& path, Now now,
                                  DeviceOutput& out, From from);
    DropReason receive_response(MutableBytes datagram, const Path& path, Now now,
                                DeviceOutput& out);
    DropReason receive_cookie_reply(Bytes datagram, Now now);
    DropReason receive_data(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                            DeviceOutput& out);
    DropReason admit_handshake(Bytes message, uint32_t sender, const Path& path, Now now,
                               DeviceOutput& out);
    DropReason check_inner(const Peer& peer, MutableBytes inner, uint8_t tos, size_t& size) const;
    void confirm_session(Peer& peer, Now now, DeviceOutput& out);

    // ---- device_send.cc ----
    DropReason send(PeerId id, Bytes packet, Now now, DeviceOutput& out);
    DropReason send_data(Peer& peer, Session& session, Bytes packet, uint8_t tos, Now now,
                         DeviceOutput& out);
    void send_keepalive(Peer& peer, Now now, DeviceOutput& out);
    void send_staged(Peer& peer, Now now, DeviceOutput& out);
    void drop_staged(Peer& peer);
    enum class Attempt { kFirst, kRetry };
    void initiate(Peer& peer, Attempt attempt, Now now, DeviceOutput& out);
    void respond(Peer& peer, ResponderHandshake& handshake, uint32_t remote_index, Now now,
                 DeviceOutput& out);
    bool send_message(Peer& peer, Bytes message, Now now, DeviceOutput& out);
    Session* sendable_session(Peer& peer, Now now) const;

    // ---- device_timers.cc: the rules of the paper's section 6, by event ----
    void on_peer_timers(Peer& peer, Now now) override;
    void on_handshake_not_answered(Peer& peer, Now now, DeviceOutput& out);
    void on_keepalive_due(Peer& peer, Now now, DeviceOutput& out);
    void on_persistent_keepalive_due(Peer& peer, Now now, DeviceOutput& out);
    void on_data_sent(Peer& peer, Now now);
    void on_data_received(Peer& peer, Now now);
    void on_authenticated_sent(Peer& peer, Now now);
    void on_authenticated_received(Peer& peer, Now now);
    void on_session_made(Peer& peer, Now now);
    void on_handshake_complete(Peer& peer, Now now);
    Duration jitter();

    Options options;
    Random& random;
    DropCounters& drops;
    // Only for jitter, which is no secret and may be wanted for every other packet: too often to
    // ask the system's entropy.
    SeededRandom jitter_random;
    TimerWheel wheel;
    Instant latest;                        // when the device was last called
    DeviceOutput* timer_output = nullptr;  // while tick() runs

    crypto::X25519Key own_key;
    Secret<32> private_key;
    uint16_t mtu = 1420;
    CookieChecker cookies;
    LoadMeter load;
    TimestampClock timestamp_clock;
    RateLimiter limiter;

    SessionPool sessions;                      // outlives the peers
    std::vector<std::unique_ptr<Peer>> peers;  // by PeerId; null: another worker's, or our own key
    std::shared_ptr<const PeerDirectory> directory;
    IndexTable indices;
    StagedPackets staged;
    uint64_t handshakes_completed = 0;
};

}  // namespace sluice::wireguard
