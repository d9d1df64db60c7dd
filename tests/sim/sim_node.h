// One node: a Device, and what a worker would be to it: settings, buffers, and a place for what
// comes out. A restart makes a new Device with the same keys.
// Not its job: deciding what is right; that is the invariants'. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "dataplane/base/random.h"
#include "dataplane/wireguard/device.h"
#include "tests/sim/key_material.h"
#include "tests/sim/sim_network.h"

namespace sluice::sim {

using wireguard::PeerState;

// A datagram or inner packet that a Device gave; its bytes lie in the sink until the next call.
struct Emitted {
    Path path;
    uint8_t tos = 0;
    size_t offset = 0;
    size_t size = 0;
};
struct Received {
    wireguard::PeerId peer = wireguard::kNoPeer;
    size_t offset = 0;
    size_t size = 0;
};

// Keeps everything of one call. Breaks off if the Device breaks the order of DeviceOutput.
class Sink final : public wireguard::DeviceOutput {
  public:
    Sink();
    // Forgets the last call. `starved`: has no buffers during the next one.
    void begin(bool starved);

    MutableBytes datagram_buffer(size_t size, const Path& path, uint8_t tos) override;
    void datagram_ready(size_t size) override;
    MutableBytes inner_buffer(size_t size, wireguard::PeerId peer) override;
    void inner_ready(size_t size, bool congestion_experienced) override;
    void inner_abandoned() override;
    void belongs_to(uint32_t worker) override;

    const std::vector<Emitted>& datagrams() const { return datagrams_; }
    const std::vector<Received>& inner() const { return inner_; }
    Bytes bytes(size_t offset, size_t size) const { return Bytes(arena_).subspan(offset, size); }
    bool refused_handshake() const { return refused_handshake_; }
    uint32_t refusals() const { return refusals_; }
    uint64_t own_allocations() const { return own_allocations_; }
    // What went wrong with the calls themselves; empty: nothing.
    const std::string& misuse() const { return misuse_; }

  private:
    enum class Lent : uint8_t { kNothing, kDatagram, kInner };
    MutableBytes lend(Lent what, size_t size);
    void misused(const char* how) { misuse_ = how; }

    std::vector<uint8_t> arena_;
    size_t used_ = 0;
    size_t lent_size_ = 0;
    Lent lent_ = Lent::kNothing;
    bool starved_ = false;
    bool refused_handshake_ = false;
    uint32_t refusals_ = 0;
    uint64_t own_allocations_ = 0;
    std::vector<Emitted> datagrams_;
    std::vector<Received> inner_;
    std::string misuse_;
};

// The other end of a tunnel, as one node has it configured.
struct SimPeer {
    uint32_t node = kNobody;
    const FirstMac* mac = nullptr;
    Secret<32> preshared_key{};
    Endpoint configured{};  // unset: not known
    uint16_t persistent_keepalive_s = 0;
    bool present = true;
    wireguard::PeerId id = wireguard::kNoPeer;
};

class SimNode {
  public:
    SimNode(uint32_t number, const KeyPair& keys, Duration wall_skew)
        : number_(number), keys_(keys), mac_(keys.public_key), wall_skew_(wall_skew) {}

    uint32_t number() const { return number_; }
    const KeyPair& keys() const { return keys_; }
    const FirstMac& mac() const { return mac_; }
    // Counts when this node and those that know it are configured again.
    void change_keys(const KeyPair& keys) {
        keys_ = keys;
        mac_ = FirstMac(keys.public_key);
    }
    // What its clocks read. A wall clock that jumped is set right again after a while.
    Now now(Now world) const {
        return {world.mono,
                world.wall + wall_skew_ + (clock_is_wrong(world.mono) ? wall_jump : Duration())};
    }
    bool clock_is_wrong(Instant now) const { return now < wrong_until; }
    std::vector<SimPeer>& peers() { return peers_; }
    const std::vector<SimPeer>& peers() const { return peers_; }
    SimPeer* peer(uint32_t node);

    // A new Device without peers; configure() gives them.
    void make_device(uint64_t seed, Now world);
    wireguard::DeviceSettings settings(const std::vector<std::unique_ptr<SimNode>>& nodes) const;
    // After configure(): asks the Device for its peers' numbers.
    void learn_peer_ids(const std::vector<std::unique_ptr<SimNode>>& nodes);
    wireguard::Device& device() { return *device_; }
    const DropCounters& drops() const { return drops_; }
    Sink& sink() { return sink_; }

    // The peers' states before and after the last call, in the order of peers().
    void take_states();
    const std::vector<PeerState>& states() const { return states_; }
    const std::vector<PeerState>& earlier_states() const { return earlier_states_; }

    bool up = false;
    Instant paused_until = Instant::min();
    Instant tick_at = kNever;   // of the tick event that counts; others are stale
    Instant tick_for = kNever;  // the deadline that it serves, maybe a little late
    void forget_tick() { tick_at = tick_for = kNever; }
    bool settings_pending = false;  // changed while it was paused
    uint32_t restarts = 0;
    Duration wall_jump{};
    Instant wrong_until = Instant::min();

    // The inner networks of a node: all of 10.98.N.0/24 and fd98:N::/64.
    static IpAddress inner_address(uint32_t node, bool v4, uint8_t host);

  private:
    uint32_t number_;
    KeyPair keys_;
    FirstMac mac_;
    Duration wall_skew_;
    std::vector<SimPeer> peers_;
    DropCounters drops_;
    std::unique_ptr<SeededRandom> random_;
    std::unique_ptr<wireguard::Device> device_;
    Sink sink_;
    std::vector<PeerState> states_;
    std::vector<PeerState> earlier_states_;
};

}  // namespace sluice::sim
