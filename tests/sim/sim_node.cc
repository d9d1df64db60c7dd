#include "tests/sim/sim_node.h"

#include "tests/sim/allocation_watch.h"

namespace sluice::sim {

Sink::Sink() {
    // Enough for a whole staging queue of full packets. If a call needs more, the sink grows, and
    // what it allocates for that is not held against the Device.
    arena_.resize(512 * 1024);
    datagrams_.reserve(512);
    inner_.reserve(16);
}

void Sink::begin(bool starved) {
    used_ = 0;
    lent_ = Lent::kNothing;
    starved_ = starved;
    refused_handshake_ = false;
    refusals_ = 0;
    own_allocations_ = 0;
    datagrams_.clear();
    inner_.clear();
}

MutableBytes Sink::lend(Lent what, size_t size) {
    const uint64_t before = allocations_so_far();
    if (lent_ != Lent::kNothing) misused("a buffer was asked for before the last was given back");
    if (used_ + size > arena_.size()) arena_.resize((used_ + size) * 2);
    if (datagrams_.size() == datagrams_.capacity()) datagrams_.reserve(datagrams_.size() * 2);
    if (inner_.size() == inner_.capacity()) inner_.reserve(inner_.size() * 2);
    own_allocations_ += allocations_so_far() - before;
    lent_ = what;
    lent_size_ = size;
    return MutableBytes(arena_).subspan(used_, size);
}

MutableBytes Sink::datagram_buffer(size_t size, const Path& path, uint8_t tos) {
    if (starved_) {
        ++refusals_;
        refused_handshake_ = refused_handshake_ || size == 148 || size == 92;
        return {};
    }
    const MutableBytes buffer = lend(Lent::kDatagram, size);
    datagrams_.push_back({path, tos, used_, 0});
    return buffer;
}

void Sink::datagram_ready(size_t size) {
    if (lent_ != Lent::kDatagram) return misused("datagram_ready without a buffer");
    if (size > lent_size_) return misused("a datagram longer than its buffer");
    lent_ = Lent::kNothing;
    datagrams_.back().size = size;
    used_ += size;
}

MutableBytes Sink::inner_buffer(size_t size, wireguard::PeerId peer) {
    if (starved_) {
        ++refusals_;
        return {};
    }
    const MutableBytes buffer = lend(Lent::kInner, size);
    inner_.push_back({peer, used_, 0});
    return buffer;
}

void Sink::inner_ready(size_t size, bool) {
    if (lent_ != Lent::kInner) return misused("inner_ready without a buffer");
    if (size > lent_size_) return misused("an inner packet longer than its buffer");
    lent_ = Lent::kNothing;
    inner_.back().size = size;
    used_ += size;
}

void Sink::belongs_to(uint32_t) {
    misused("a device without siblings knows of another worker");
}

void Sink::inner_abandoned() {
    if (lent_ != Lent::kInner) return misused("inner_abandoned without a buffer");
    lent_ = Lent::kNothing;
    inner_.pop_back();
}

SimPeer* SimNode::peer(uint32_t node) {
    for (SimPeer& peer : peers_) {
        if (peer.node == node) return &peer;
    }
    return nullptr;
}

IpAddress SimNode::inner_address(uint32_t node, bool v4, uint8_t host) {
    const auto net = static_cast<uint8_t>(node);
    if (v4) {
        const std::array<uint8_t, 4> bytes{10, 98, net, host};
        return IpAddress::v4(bytes.data());
    }
    const std::array<uint8_t, 16> bytes{0xfd, 0x98, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host};
    return IpAddress::v6(bytes.data());
}

void SimNode::make_device(uint64_t seed, Now world) {
    device_.reset();
    random_ = std::make_unique<SeededRandom>(seed);
    device_ = std::make_unique<wireguard::Device>(wireguard::Device::Options{}, *random_, drops_,
                                                  now(world));
}

wireguard::DeviceSettings SimNode::settings(
    const std::vector<std::unique_ptr<SimNode>>& nodes) const {
    wireguard::DeviceSettings settings;
    settings.private_key = keys_.secret;
    for (const SimPeer& peer : peers_) {
        if (!peer.present) continue;
        wireguard::PeerSettings& entry = settings.peers.emplace_back();
        entry.public_key = nodes[peer.node]->keys().public_key;
        entry.preshared_key = peer.preshared_key;
        entry.allowed_ips = {{inner_address(peer.node, true, 0), 24},
                             {inner_address(peer.node, false, 0), 64}};
        if (peer.configured.is_set()) entry.endpoint = peer.configured;
        entry.persistent_keepalive_s = peer.persistent_keepalive_s;
    }
    return settings;
}

void SimNode::learn_peer_ids(const std::vector<std::unique_ptr<SimNode>>& nodes) {
    for (SimPeer& peer : peers_) {
        peer.id =
            device_->peer_by_key(nodes[peer.node]->keys().public_key).value_or(wireguard::kNoPeer);
    }
}

void SimNode::take_states() {
    std::swap(states_, earlier_states_);
    states_.resize(peers_.size());
    earlier_states_.resize(peers_.size());
    for (size_t i = 0; i < peers_.size(); ++i) {
        states_[i] =
            peers_[i].id == wireguard::kNoPeer ? PeerState() : device_->peer_state(peers_[i].id);
    }
}

}  // namespace sluice::sim
