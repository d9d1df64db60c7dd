// WireGuard, both roles, as a state machine: a datagram, an inner packet or the time goes in,
// datagrams and inner packets come out. No socket, no clock, no entropy of its own.
// Not its job: moving bytes, coalescing, choosing ports, reading configuration.
//
// Thread: one; an object is owned by one worker.
// Memory: nothing is allocated outside the constructor and configure(), but for what the
// cryptographic library takes for a handshake.
// Failure: what arrives from outside is either accepted or dropped with a named reason, which is
// returned and counted; there is no other error.
// Source: "WireGuard: Next Generation Kernel Network Tunnel" (the paper), Noise revision 34
// (IKpsk2), RFC 6479 (replay window), RFC 6040 (ECN).
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/time.h"

namespace sluice::wireguard {

using PublicKey = std::array<uint8_t, 32>;

// A peer's place in the settings that count: valid until the next configure().
using PeerId = uint32_t;
inline constexpr PeerId kNoPeer = UINT32_MAX;

class PeerDirectory;

struct PeerSettings {
    PublicKey public_key{};
    Secret<32> preshared_key;  // zero: none
    std::vector<IpPrefix> allowed_ips;
    std::optional<Endpoint> endpoint;
    uint16_t persistent_keepalive_s = 0;  // 0: off
};

struct DeviceSettings {
    Secret<32> private_key;
    uint16_t mtu = 1420;  // of the inner interface: padding never makes a packet larger than this
    std::vector<PeerSettings> peers;
};

// Where a device's results go. Each buffer is asked for, filled, and given back before the next one
// is asked for. Called only from inside Device's functions.
class DeviceOutput {
  public:
    // Room for a datagram of up to `size` bytes towards `path`; at least `size` long, or empty when
    // there is none, and then the datagram is dropped as kNoSendBuffer. `tos` is the outer IP
    // header's DSCP and ECN byte.
    virtual MutableBytes datagram_buffer(size_t size, const Path& path, uint8_t tos) = 0;
    // The first `size` bytes of that buffer are the datagram.
    virtual void datagram_ready(size_t size) = 0;

    // Room for an inner packet of up to `size` bytes from `peer`. May be empty as above.
    virtual MutableBytes inner_buffer(size_t size, PeerId peer) = 0;
    // The first `size` bytes are one authenticated IP packet, whose source is among the peer's
    // allowed IPs. `congestion_experienced`: the outer header said CE; the inner header says so,
    // too, already (RFC 6040).
    virtual void inner_ready(size_t size, bool congestion_experienced) = 0;
    // The buffer was written but holds nothing (authentication failed, a keepalive, not allowed).
    virtual void inner_abandoned() = 0;

    // The datagram that is being received belongs to a peer of this worker, whose device wants it
    // through receive_from_worker(). Only with several workers.
    virtual void belongs_to(uint32_t worker) = 0;

  protected:
    ~DeviceOutput() = default;
};

// A peer as it is now, for status and for the invariants that tests check.
struct PeerState {
    PublicKey public_key{};
    Endpoint endpoint;          // unset: unknown
    WallTime last_handshake{};  // zero: none completed
    uint64_t received_bytes = 0;
    uint64_t sent_bytes = 0;
    size_t staged_packets = 0;
    bool can_send = false;            // a session exists that may encrypt now
    bool holds_key_material = false;  // any session or handshake secret of this peer is in memory
    Instant session_created{};        // of the session used for sending; meaningful if can_send
    bool session_initiator = false;
    uint64_t session_send_counter = 0;
};

class Device {
  public:
    struct Options {
        uint32_t worker = 0;
        uint32_t workers = 1;  // at most kWorkersMax
    };

    // The top bits of every receiver index are the worker that owns the session, so that any
    // worker, and the kernel, can tell whose a message is without a table. So many bits:
    static constexpr uint32_t worker_bits(uint32_t workers) {
        return static_cast<uint32_t>(std::bit_width(workers - 1));
    }
    // One byte of the index; 24 bits stay random.
    static constexpr uint32_t kWorkersMax = 256;

    // `random` outlives the device.
    Device(Options options, Random& random, DropCounters& drops, Now now);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // Makes the device what `settings` says, for the peers that `directory` gives to this worker:
    // peers that are not in it go, with their sessions and keys; those that stay keep sessions and,
    // unless the settings' endpoint changed, their learned endpoint; a changed preshared key counts
    // from the next handshake on. Precondition (checked by who made the settings): no two peers
    // share a key or an allowed prefix; the directory was made of these settings' peers, in their
    // order.
    void configure(const DeviceSettings& settings, std::shared_ptr<const PeerDirectory> directory,
                   Now now, DeviceOutput& out);
    // The same with all peers on this worker.
    void configure(const DeviceSettings& settings, Now now, DeviceOutput& out);

    // One UDP payload. `datagram` may be overwritten. Returns kNone when it was accepted, or when
    // out.belongs_to() said whose it is; then it was not written to.
    DropReason receive(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                       DeviceOutput& out);
    // A datagram that another worker's device said is this one's. It is not passed on again, and an
    // initiation has been admitted already: asking twice would ask for two cookies.
    DropReason receive_from_worker(MutableBytes datagram, const Path& path, uint8_t tos, Now now,
                                   DeviceOutput& out);

    // Which peer an inner packet goes to (cryptokey routing, longest prefix of its destination).
    // The peer may be another worker's.
    std::expected<PeerId, DropReason> route(Bytes inner_packet) const;
    uint32_t worker_of(PeerId peer) const;
    std::optional<PeerId> peer_by_address(const IpAddress& inner_address) const;
    std::optional<PeerId> peer_by_key(const PublicKey& key) const;

    // Encrypts one inner IP packet to a peer, or stages a copy and starts a handshake if there is
    // no session. Up to 128 packets wait; then the oldest is dropped. The peer is this worker's.
    DropReason send(PeerId peer, Bytes inner_packet, Now now, DeviceOutput& out);

    // Fires what is due. Call at or after next_deadline(); kNever: nothing pending.
    void tick(Now now, DeviceOutput& out);
    Instant next_deadline() const;

    const PublicKey& public_key() const;
    uint64_t handshakes_completed() const;
    std::vector<PeerId> peers() const;  // this worker's
    PeerState peer_state(PeerId peer) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::wireguard
