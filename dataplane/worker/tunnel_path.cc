#include "dataplane/worker/tunnel_path.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::worker {

namespace {

wireguard::DeviceSettings device_settings(const contract::WireguardConfig& config) {
    wireguard::DeviceSettings settings;
    settings.private_key = config.private_key;
    settings.mtu = config.mtu;
    settings.peers.reserve(config.peers.size());
    for (const contract::PeerConfig& peer : config.peers) {
        settings.peers.push_back({.public_key = peer.public_key,
                                  .preshared_key = peer.preshared_key,
                                  .allowed_ips = peer.allowed_ips,
                                  .endpoint = peer.endpoint,
                                  .persistent_keepalive_s = peer.persistent_keepalive_s});
    }
    return settings;
}

}  // namespace

TunnelPath::TunnelPath(io::Engine& engine, DropCounters& drops)
    : engine_(engine), drops_(drops), coalescer_(tunnel::Coalescer::Options{}) {}

Result<std::unique_ptr<TunnelPath>> TunnelPath::open(io::Engine& engine, io::TunQueue queue,
                                                     const contract::WireguardConfig& config,
                                                     Random& random, DropCounters& drops) {
    std::unique_ptr<TunnelPath> path(new TunnelPath(engine, drops));
    auto port = engine.open_datagram_port({.port = config.listen_port}, *path);
    if (!port) return std::unexpected(port.error());
    path->port_ = std::move(*port);
    path->listen_port_ = config.listen_port;
    auto tun = engine.attach(std::move(queue), *path);
    if (!tun) return std::unexpected(tun.error());
    path->tun_ = std::move(*tun);
    path->device_ = std::make_unique<wireguard::Device>(wireguard::Device::Options{}, random, drops,
                                                        engine.now());
    if (auto applied = path->apply(config); !applied) return std::unexpected(applied.error());
    return path;
}

Result<void> TunnelPath::apply(const contract::WireguardConfig& config) {
    Result<void> result;
    if (config.listen_port != listen_port_) {
        auto port = engine_.open_datagram_port({.port = config.listen_port}, *this);
        if (port) {
            port_ = std::move(*port);
            listen_port_ = config.listen_port;
            fwmark_ = 0;  // a new socket has none yet
        } else {
            result = std::unexpected(port.error());
        }
    }
    if (config.fwmark != fwmark_) {
        if (auto marked = port_->set_mark(config.fwmark); marked) {
            fwmark_ = config.fwmark;
        } else {
            result = std::move(marked);
        }
    }
    device_->configure(device_settings(config), engine_.now(), *this);
    names_.clear();
    for (const contract::PeerConfig& peer : config.peers) {
        const auto id = device_->peer_by_key(peer.public_key);
        if (!id) continue;
        if (names_.size() <= *id) names_.resize(*id + 1);
        names_[*id] = peer.name;
    }
    port_->flush();
    return result;
}

void TunnelPath::tick(Now now) {
    if (device_->next_deadline() > now.mono) return;
    device_->tick(now, *this);
    port_->flush();
}

void TunnelPath::on_datagrams(MutableBytes bytes, size_t segment_size, const Path& path,
                              uint8_t tos) {
    const Now now = engine_.now();
    // A datagram of 0 bytes is a datagram, too: it is counted as too short.
    do {
        const size_t size = std::min(segment_size, bytes.size());
        device_->receive(bytes.first(size), path, tos, now, *this);
        datagrams_received_.add();
        bytes = bytes.subspan(size);
    } while (!bytes.empty());
}

void TunnelPath::on_datagrams_end() {
    coalescer_.flush(*this);
    port_->flush();
}

void TunnelPath::on_tun_packet(const io::VirtioHeader& header, MutableBytes packet) {
    const auto peer = device_->route(packet);
    if (!peer) {
        drops_.add(peer.error());
        return;
    }
    const Now now = engine_.now();
    tunnel::Segmenter segmenter({.flags = header.flags,
                                 .gso_type = header.gso_type,
                                 .gso_size = header.gso_size,
                                 .checksum_start = header.checksum_start,
                                 .checksum_offset = header.checksum_offset},
                                packet);
    if (segmenter.malformed()) {
        drops_.add(DropReason::kTunOffloadMalformed);
        return;
    }
    while (const auto segment = segmenter.next())
        device_->send(*peer, *segment, now, *this);
}

void TunnelPath::on_tun_packets_end() {
    port_->flush();
}

MutableBytes TunnelPath::datagram_buffer(size_t size, const Path& path, uint8_t tos) {
    return port_->buffer(size, path, tos);
}

void TunnelPath::datagram_ready(size_t size) {
    port_->commit(size);
    datagrams_sent_.add();
}

MutableBytes TunnelPath::inner_buffer(size_t size, wireguard::PeerId) {
    return coalescer_.buffer(size, *this);
}

void TunnelPath::inner_ready(size_t size, bool) {
    coalescer_.commit(size, *this);
}

void TunnelPath::inner_abandoned() {
    coalescer_.abandon();
}

void TunnelPath::belongs_to(uint32_t) {
    SLUICE_CHECK(false);  // one worker owns all peers
}

void TunnelPath::on_packet(const tunnel::Offload& offload, uint16_t header_length, Bytes packet) {
    const io::VirtioHeader header{.flags = offload.flags,
                                  .gso_type = offload.gso_type,
                                  .header_length = header_length,
                                  .gso_size = offload.gso_size,
                                  .checksum_start = offload.checksum_start,
                                  .checksum_offset = offload.checksum_offset};
    const Bytes pieces[] = {packet};
    if (!tun_->write(header, pieces)) drops_.add(DropReason::kTunWriteFailed);
}

void TunnelPath::report(contract::WorkerReport& report) const {
    report.datagrams_received = datagrams_received_.value();
    report.datagrams_sent = datagrams_sent_.value();
    report.wireguard_handshakes = device_->handshakes_completed();
    report.wireguard_port = port_->local_port();
    for (const wireguard::PeerId id : device_->peers()) {
        const wireguard::PeerState state = device_->peer_state(id);
        report.peers.push_back({.name = id < names_.size() ? names_[id] : std::string(),
                                .public_key = state.public_key,
                                .endpoint = state.endpoint,
                                .last_handshake = state.last_handshake,
                                .received_bytes = state.received_bytes,
                                .sent_bytes = state.sent_bytes});
    }
    port_->report(report.offloads);
    report.offloads.push_back({.name = "inner_coalescing",
                               .state = "on",
                               .reason = "",
                               .uses = coalescer_.coalesced_packets()});
}

}  // namespace sluice::worker
