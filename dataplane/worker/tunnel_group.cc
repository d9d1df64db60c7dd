#include "dataplane/worker/tunnel_group.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"
#include "dataplane/wire/wireguard_message.h"

namespace sluice::worker {

namespace {

// At 10 Gbit/s a worker that is busy for a millisecond finds 1.2 MB waiting; so 2 MB each while
// that is affordable. It is address space until it is used, but a system that counts address space
// (vm.overcommit_memory = 2) must hold all of them.
constexpr size_t kRingBytesMax = 2 << 20;
constexpr size_t kAllRingsBytes = 512 << 20;

size_t ring_bytes(size_t rings) {
    return std::max(HandoverRing::kBytesMin,
                    std::bit_floor(std::min(kRingBytesMax, kAllRingsBytes / rings)));
}

// Messages that name their receiver go to the worker in the index's top bits, which are in its last
// byte (little endian). An initiation names nobody: it goes by its source's address, so
// that one worker counts, and limits, what one source asks for.
io::Steering steering_for(uint32_t workers) {
    const auto rule = [](wire::WireguardType type, uint8_t receiver_at) {
        io::Steering::Rule made{.first_bytes = {}, .offset = static_cast<uint8_t>(receiver_at + 3)};
        store_le32(made.first_bytes.data(), static_cast<uint32_t>(type));
        return made;
    };
    return {.rules = {rule(wire::WireguardType::kData, 4), rule(wire::WireguardType::kResponse, 8),
                      rule(wire::WireguardType::kCookieReply, 4)},
            .bits = wireguard::Device::worker_bits(workers)};
}

wireguard::DeviceSettings settings_of(const contract::WireguardConfig& config) {
    wireguard::DeviceSettings settings;
    settings.private_key = config.private_key;
    settings.mtu = config.mtu;
    settings.peers.reserve(config.peers.size());
    for (const contract::PeerConfig& peer : config.peers) {
        settings.peers.push_back({.public_key = peer.public_key,
                                  .preshared_key = peer.preshared_key,
                                  .allowed_ips = {},
                                  .endpoint = peer.endpoint,
                                  .persistent_keepalive_s = peer.persistent_keepalive_s});
    }
    return settings;
}

}  // namespace

TunnelGroup::TunnelGroup(uint32_t workers) : workers_(workers), wakers_(workers) {
    SLUICE_CHECK(workers > 0 && workers <= wireguard::Device::kWorkersMax);
    rings_.resize(size_t{workers} * workers);
    if (workers == 1) return;
    const size_t bytes = ring_bytes(size_t{workers} * (workers - 1));
    for (uint32_t from = 0; from < workers; ++from) {
        for (uint32_t to = 0; to < workers; ++to) {
            if (from != to) rings_[from * workers + to] = std::make_unique<HandoverRing>(bytes);
        }
    }
}

std::vector<uint32_t> TunnelGroup::assign_owners(const contract::WireguardConfig& config) const {
    constexpr uint32_t kNobody = UINT32_MAX;
    std::vector<uint32_t> owners;
    std::vector<size_t> load(workers_);
    for (const contract::PeerConfig& peer : config.peers) {
        const auto before = plan_ ? plan_->directory->find(peer.public_key) : std::nullopt;
        owners.push_back(before ? plan_->directory->worker_of(*before) : kNobody);
        if (before) ++load[owners.back()];
    }
    for (uint32_t& owner : owners) {
        if (owner != kNobody) continue;
        owner = static_cast<uint32_t>(std::ranges::min_element(load) - load.begin());
        ++load[owner];
    }
    return owners;
}

std::shared_ptr<const TunnelPlan> TunnelGroup::plan_for(
    const std::shared_ptr<const contract::Snapshot>& snapshot) {
    const std::lock_guard lock(mutex_);
    if (plan_ && plan_->snapshot == snapshot) return plan_;
    const contract::WireguardConfig& config = *snapshot->wireguard;
    auto directory = std::make_shared<wireguard::PeerDirectory>(config.public_key);
    size_t v4_prefixes = 0;
    size_t v6_prefixes = 0;
    for (const contract::PeerConfig& peer : config.peers) {
        for (const IpPrefix& prefix : peer.allowed_ips)
            ++(prefix.address.is_v4() ? v4_prefixes : v6_prefixes);
    }
    directory->reserve(config.peers.size(), v4_prefixes, v6_prefixes);
    const std::vector<uint32_t> owners = assign_owners(config);
    for (size_t i = 0; i < config.peers.size(); ++i)
        directory->add(config.peers[i].public_key, config.peers[i].allowed_ips, owners[i]);
    directory->finish();
    plan_ = std::make_shared<const TunnelPlan>(snapshot, settings_of(config), std::move(directory));
    return plan_;
}

Result<io::OpenedDatagramSocket> TunnelGroup::take_socket(const TunnelPlan& plan, uint32_t worker,
                                                          const io::DatagramPortOptions& options) {
    const std::lock_guard lock(mutex_);
    const uint64_t generation = plan.snapshot->generation;
    if (sockets_.generation != generation || sockets_.asked[worker]) {
        sockets_ = {.generation = generation,
                    .error = {},
                    .opened = {},
                    .asked = std::vector<bool>(workers_)};
        auto opened = io::open_datagram_sockets(options, workers_, steering_for(workers_));
        if (opened) {
            sockets_.opened = std::move(*opened);
        } else {
            sockets_.error = opened.error().message;
        }
    }
    sockets_.asked[worker] = true;
    if (!sockets_.error.empty()) return fail(sockets_.error);
    return std::move(sockets_.opened[worker]);
}

void TunnelGroup::join(uint32_t worker, io::Engine& engine) {
    const std::lock_guard lock(wakers_[worker].mutex);
    wakers_[worker].engine = &engine;
}

void TunnelGroup::leave(uint32_t worker) {
    const std::lock_guard lock(wakers_[worker].mutex);
    wakers_[worker].engine = nullptr;
}

void TunnelGroup::wake(uint32_t worker) {
    const std::lock_guard lock(wakers_[worker].mutex);
    if (wakers_[worker].engine != nullptr) wakers_[worker].engine->wake();
}

}  // namespace sluice::worker
