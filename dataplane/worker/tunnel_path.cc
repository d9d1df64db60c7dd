#include "dataplane/worker/tunnel_path.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "dataplane/worker/tunnel_offloads.h"

namespace sluice::worker {

namespace {

// What is taken from one ring before others get their turn: about a millisecond's work, as from the
// socket.
constexpr size_t kHandoverBytesPerTurn = 1 << 20;

// What stands in front of a record's bytes in a ring.
enum class RecordKind : uint8_t { kDatagram, kInnerPacket };
struct DatagramFacts {
    RecordKind kind = RecordKind::kDatagram;
    uint8_t tos = 0;
    Path path;
};
struct PacketFacts {
    RecordKind kind = RecordKind::kInnerPacket;
    io::VirtioHeader header;
};
static_assert(sizeof(DatagramFacts) + 65535 <= HandoverRing::kRecordBytesMax);
static_assert(std::is_trivially_copyable_v<DatagramFacts>);
static_assert(std::is_trivially_copyable_v<PacketFacts>);

template <typename Facts>
Facts facts_of(Bytes record) {
    Facts facts;
    std::memcpy(&facts, record.data(), sizeof facts);
    return facts;
}

}  // namespace

TunnelPath::TunnelPath(io::Engine& engine, TunnelGroup& group, uint32_t worker,
                       const contract::OffloadConfig& offloads, DropCounters& drops)
    : engine_(engine),
      group_(group),
      worker_(worker),
      drops_(drops),
      offloads_(offloads),
      tun_writer_(offloads, drops),
      coalescer_(tun_writer_.coalescer_options()) {
    to_wake_.reserve(group.workers());
}

TunnelPath::~TunnelPath() {
    group_.leave(worker_);
}

Result<std::unique_ptr<TunnelPath>> TunnelPath::open(io::Engine& engine,
                                                     std::optional<io::TunQueue>& queue,
                                                     TunnelGroup& group, uint32_t worker,
                                                     std::shared_ptr<const TunnelPlan> plan,
                                                     Random& random, DropCounters& drops) {
    std::unique_ptr<TunnelPath> path(
        new TunnelPath(engine, group, worker, plan->snapshot->offloads, drops));
    if (auto opened = path->open_port(*plan); !opened) return std::unexpected(opened.error());
    auto tun = engine.attach(std::move(*queue), *path);
    queue.reset();
    if (!tun) return std::unexpected(tun.error());
    path->tun_ = std::move(*tun);
    path->device_ = std::make_unique<wireguard::Device>(
        wireguard::Device::Options{.worker = worker, .workers = group.workers()}, random, drops,
        engine.now());
    if (auto applied = path->apply(std::move(plan)); !applied) {
        return std::unexpected(applied.error());
    }
    group.join(worker, engine);
    path->take_handed_over();  // what came before anybody could be woken
    return path;
}

Result<void> TunnelPath::open_port(const TunnelPlan& plan) {
    const auto options = datagram_port_options(offloads_, plan.config().listen_port);
    auto socket = group_.take_socket(plan, worker_, options);
    if (!socket) return std::unexpected(socket.error());
    auto port = engine_.attach(std::move(*socket), options, *this);
    if (!port) return std::unexpected(port.error());
    port_ = std::move(*port);
    listen_port_ = options.port;
    fwmark_ = 0;  // a new socket has none yet
    return {};
}

Result<void> TunnelPath::apply(std::shared_ptr<const TunnelPlan> plan) {
    Result<void> result;
    const contract::WireguardConfig& config = plan->config();
    if (config.listen_port != listen_port_) result = open_port(*plan);
    if (config.fwmark != fwmark_) {
        if (auto marked = port_->set_mark(config.fwmark); marked) {
            fwmark_ = config.fwmark;
        } else {
            result = std::move(marked);
        }
    }
    plan_ = std::move(plan);
    device_->configure(plan_->settings, plan_->directory, engine_.now(), *this);
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
        if (owner_) {
            hand_over(*owner_, DatagramFacts{.tos = tos, .path = path}, bytes.first(size));
            owner_.reset();
        }
        bytes = bytes.subspan(size);
    } while (!bytes.empty());
}

void TunnelPath::on_datagrams_end() {
    flush_inner();
    port_->flush();
    wake_others();
}

void TunnelPath::flush_inner() {
    coalescer_.flush(*this);
    tun_writer_.end_batch(coalescer_);
}

void TunnelPath::belongs_to(uint32_t worker) {
    owner_ = worker;
}

void TunnelPath::on_tun_packet(const io::VirtioHeader& header, MutableBytes packet) {
    if (loop_guard_.is_own_datagram(packet, port_->local_port(), engine_.now().mono)) {
        drops_.add(DropReason::kRoutingLoop);
        return;
    }
    const auto peer = device_->route(packet);
    if (!peer) {
        drops_.add(peer.error());
        tell_sender(peer.error(), packet, engine_.now());
    } else if (const uint32_t owner = device_->worker_of(*peer); owner == worker_) {
        send_packet(*peer, header, packet);
    } else {
        hand_over(owner, PacketFacts{.header = header}, packet);
    }
}

void TunnelPath::send_packet(wireguard::PeerId peer, const io::VirtioHeader& header,
                             MutableBytes packet) {
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
    bool told = false;
    while (const auto segment = segmenter.next()) {
        const DropReason reason = device_->send(peer, *segment, now, *this);
        // Once for all segments of a super-packet, which are from one sender.
        if (reason != DropReason::kNone && !std::exchange(told, true)) {
            tell_sender(reason, *segment, now);
        }
    }
}

void TunnelPath::tell_sender(DropReason reason, Bytes packet, Now now) {
    // Without peers the tunnel is still being set up, and "nobody has this address" would be final
    // for a program that came a moment too early.
    if (plan_->config().peers.empty()) return;
    inner_errors_.tell(reason, packet, plan_->config().mtu, now.mono, *tun_);
}

void TunnelPath::on_tun_packets_end() {
    port_->flush();
    wake_others();
}

template <typename Facts>
void TunnelPath::hand_over(uint32_t worker, const Facts& facts, Bytes bytes) {
    HandoverRing& ring = group_.ring(worker_, worker);
    const MutableBytes record = ring.reserve(sizeof facts + bytes.size());
    if (record.empty()) {
        drops_.add(DropReason::kHandoverFull);
    } else {
        std::memcpy(record.data(), &facts, sizeof facts);
        if (!bytes.empty()) std::memcpy(record.data() + sizeof facts, bytes.data(), bytes.size());
        ring.publish();
        handed_over_.add();
    }
    if (std::ranges::find(to_wake_, worker) == to_wake_.end()) to_wake_.push_back(worker);
}

void TunnelPath::wake_others() {
    for (const uint32_t worker : to_wake_)
        group_.wake(worker);
    to_wake_.clear();
}

void TunnelPath::take_handed_over() {
    bool any = false;
    bool more = false;
    for (uint32_t from = 0; from < group_.workers(); ++from) {
        if (from == worker_) continue;
        HandoverRing& ring = group_.ring(from, worker_);
        size_t bytes = 0;
        for (MutableBytes record = ring.front(); !record.empty(); record = ring.front()) {
            if (bytes >= kHandoverBytesPerTurn) {
                more = true;
                break;
            }
            bytes += record.size();
            take(record);
            ring.pop();
            any = true;
        }
    }
    if (any) {
        flush_inner();
        port_->flush();
    }
    if (more) engine_.wake();
}

void TunnelPath::take(MutableBytes record) {
    if (static_cast<RecordKind>(record.front()) == RecordKind::kDatagram) {
        const auto facts = facts_of<DatagramFacts>(record);
        device_->receive_from_worker(record.subspan(sizeof facts), facts.path, facts.tos,
                                     engine_.now(), *this);
        return;
    }
    const auto facts = facts_of<PacketFacts>(record);
    const MutableBytes packet = record.subspan(sizeof facts);
    // Asked again, because the settings may have changed on the way.
    const auto peer = device_->route(packet);
    if (!peer) {
        drops_.add(peer.error());
    } else if (device_->worker_of(*peer) != worker_) {
        drops_.add(DropReason::kHandoverStale);
    } else {
        send_packet(*peer, facts.header, packet);
    }
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

void TunnelPath::on_packet(const tunnel::Offload& offload, uint16_t header_length, Bytes packet) {
    tun_writer_.write(*tun_, offload, header_length, packet);
}

void TunnelPath::report(contract::WorkerReport& report) const {
    report.datagrams_received = datagrams_received_.value();
    report.datagrams_sent = datagrams_sent_.value();
    report.inner_errors_sent = inner_errors_.sent();
    report.wireguard_handshakes = device_->handshakes_completed();
    report.wireguard_port = port_->local_port();
    report.packets_handed_over = handed_over_.value();
    for (const wireguard::PeerId id : device_->peers()) {
        const wireguard::PeerState state = device_->peer_state(id);
        report.peers.push_back({.name = plan_->config().peers[id].name,
                                .public_key = state.public_key,
                                .endpoint = state.endpoint,
                                .last_handshake = state.last_handshake,
                                .received_bytes = state.received_bytes,
                                .sent_bytes = state.sent_bytes});
    }
    port_->report(report.offloads);
    tun_writer_.report(coalescer_, report.offloads);
    report.offloads.push_back(cipher_report());
}

}  // namespace sluice::worker
