// Settings and questions: who the peers are.
#include "dataplane/wireguard/device.h"

#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/wire/ip_packet.h"
#include "dataplane/wireguard/device_impl.h"

namespace sluice::wireguard {

namespace {

#ifdef SLUICE_PLANTED_BUG_NONCE_REUSE_AFTER_RESTART
// PLANTED BUG, in no product: keys are drawn from what is the same after every start, as on a
// machine that has not gathered any chance yet. When both ends have restarted, the same keys
// encrypt from counter 0 on again.
class SameKeysAfterStart final : public Random {
  public:
    explicit SameKeysAfterStart(Random& random) : random_(random) {}
    void fill(MutableBytes out) override { out.size() == 32 ? keys_.fill(out) : random_.fill(out); }

  private:
    Random& random_;
    SeededRandom keys_{1};
};
#endif

Random& chance_of(Random& random) {
#ifdef SLUICE_PLANTED_BUG_NONCE_REUSE_AFTER_RESTART
    static std::vector<std::unique_ptr<Random>> of_all_devices;
    return *of_all_devices.emplace_back(std::make_unique<SameKeysAfterStart>(random));
#else
    return random;
#endif
}

}  // namespace

Device::Impl::Impl(Options options_in, Random& random_in, DropCounters& drops_in, Now now)
    : options(options_in),
      random(chance_of(random_in)),
      drops(drops_in),
      jitter_random(random_in.u64()),
      wheel(now.mono),
      latest(now.mono),
      limiter(random_in),
      directory(std::make_shared<PeerDirectory>(PublicKey{})) {
    SLUICE_CHECK(options.worker < options.workers && options.workers <= kWorkersMax);
    // What the clock said at the start is what later jumps are measured against.
    timestamp_clock.read(now);
}

Device::Impl::~Impl() = default;

void Device::Impl::configure(const DeviceSettings& settings,
                             std::shared_ptr<const PeerDirectory> next, Now now,
                             DeviceOutput& out) {
    SLUICE_CHECK(next->finished() && next->size() == settings.peers.size());
    mtu = settings.mtu;
    if (!own_key.is_set() || !(settings.private_key == private_key)) {
        set_private_key(settings.private_key, now);
    }
    take_peers(settings, *next);
    directory = std::move(next);
    for (PeerId id = 0; id < peers.size(); ++id) {
        if (peers[id] != nullptr) configure_peer(*peers[id], settings.peers[id], now, out);
    }
}

void Device::Impl::set_private_key(const Secret<32>& key, Now now) {
    private_key = key;
    own_key = crypto::X25519Key(key);
    cookies.set_own_key(own_key.public_key());
    for (const auto& peer : peers) {
        if (peer == nullptr) continue;
        peer->static_static_computed = false;
        peer->identity.static_static.reset();
        // The sessions belong to who we were. What is on its way may still come in; the next packet
        // out makes a new one, and need not wait for the rate limit of the old identity.
        clear_handshake(*peer);
        peer->timers.disarm(PeerTimer::kRetryHandshake);
        peer->last_handshake_sent = Instant::min();
        if (peer->sessions.current) peer->sessions.current->send_allowed = false;
        if (peer->sessions.next) peer->sessions.next->send_allowed = false;
        // Packets that were waiting for the handshake that was cleared must not wait for ever.
        if (peer->staged.count > 0) peer->timers.arm(PeerTimer::kNewHandshake, now.mono);
    }
}

// Peers that stay keep all they have and get their new numbers; the rest go.
void Device::Impl::take_peers(const DeviceSettings& settings, const PeerDirectory& next) {
    std::vector<std::unique_ptr<Peer>> before = std::exchange(peers, {});
    peers.resize(settings.peers.size());
    size_t count = 0;
    for (PeerId id = 0; id < settings.peers.size(); ++id) {
        const PublicKey& key = settings.peers[id].public_key;
        if (next.worker_of(id) != options.worker || key == own_key.public_key()) continue;
        const auto known = directory->find(key);
        if (known && before[*known] != nullptr) {
            peers[id] = std::move(before[*known]);
        } else {
            peers[id] = make_peer(key);
        }
        peers[id]->id = id;
        ++count;
    }
    for (const auto& peer : before) {
        if (peer != nullptr) forget(*peer);
    }
    // At most three sessions and one initiation of each peer have an index at once, and one session
    // more for as long as it takes to put it in its place.
    sessions.reserve(3 * count + 1);
    indices.reserve(4 * count + 1);
    staged.reserve(count, mtu);
}

// Before it is destroyed: what the device's tables hold of it goes.
void Device::Impl::forget(Peer& peer) {
    drop_staged(peer);
    clear_handshake(peer);
    end_sessions(peer);
}

std::unique_ptr<Peer> Device::Impl::make_peer(const PublicKey& key) {
    auto peer = std::make_unique<Peer>(wheel, *this);
    peer->identity.public_key = key;
    peer->macs.set_peer_key(key);
    return peer;
}

void Device::Impl::configure_peer(Peer& peer, const PeerSettings& settings, Now now,
                                  DeviceOutput& out) {
    peer.identity.preshared_key = settings.preshared_key;
    if (settings.endpoint != peer.configured_endpoint) {
        peer.configured_endpoint = settings.endpoint;
        if (settings.endpoint) peer.path = Path{*settings.endpoint, {}, 0};
    }
    const uint16_t before = peer.persistent_keepalive_s;
    peer.persistent_keepalive_s = settings.persistent_keepalive_s;
    if (settings.persistent_keepalive_s == 0) {
        peer.timers.disarm(PeerTimer::kPersistentKeepalive);
    } else if (before == 0) {
        // Whoever switches it on wants the way open from now on, not from the first interval on.
        send_keepalive(peer, now, out);
    }
}

const RemoteIdentity& Device::Impl::identity_of(Peer& peer) {
    if (!peer.static_static_computed) {
        peer.identity.static_static = own_key.agree(peer.identity.public_key);
        peer.static_static_computed = true;
    }
    return peer.identity;
}

// Random, so that nobody who did not see a session's messages can name it; never one that is in
// use.
uint32_t Device::Impl::new_index() {
    for (;;) {
        uint32_t index = random.u32();
        if (const uint32_t bits = worker_bits(options.workers); bits > 0) {
            index = index >> bits | options.worker << (32 - bits);
        }
        if (indices.find(index) == nullptr) return index;
    }
}

// Puts a new session in its place. As in Linux: what it pushes out may still receive if it was in
// use, and is gone if it never was.
Session& Device::Impl::make_session(Peer& peer, const SessionKeys& keys, uint32_t local_index,
                                    uint32_t remote_index, bool initiator, Now now) {
    SessionOwner session = sessions.take();
    session->peer = &peer;
    session->local_index = local_index;
    session->remote_index = remote_index;
    session->initiator = initiator;
    session->created = now.mono;
    session->send_key.set(keys.send);
    session->receive_key.set(keys.receive);
    Session& made = *session;

    SessionSlots& slots = peer.sessions;
    bool in_use = initiator;
#ifdef SLUICE_PLANTED_BUG_EARLY_RESPONSE
    // PLANTED BUG, in no product: the responder uses its session before the initiator confirmed it.
    in_use = true;
#endif
    if (in_use) {
        end_session(slots.previous);
        slots.previous = std::move(slots.next ? slots.next : slots.current);
        end_session(slots.current);
        slots.current = std::move(session);
    } else {
        end_session(slots.previous);
        end_session(slots.next);
        slots.next = std::move(session);
    }
    indices.set(local_index, &peer, &made);
    return made;
}

void Device::Impl::end_session(SessionOwner& session) {
    if (session == nullptr) return;
    indices.remove(session->local_index);
    session.reset();
}

void Device::Impl::end_sessions(Peer& peer) {
    end_session(peer.sessions.previous);
    end_session(peer.sessions.current);
    end_session(peer.sessions.next);
}

void Device::Impl::clear_handshake(Peer& peer) {
    if (!peer.handshake.outstanding()) return;
    indices.remove(peer.handshake_index);
    peer.handshake.clear();
}

Device::Device(Options options, Random& random, DropCounters& drops, Now now)
    : impl_(std::make_unique<Impl>(options, random, drops, now)) {}

Device::~Device() = default;

void Device::configure(const DeviceSettings& settings,
                       std::shared_ptr<const PeerDirectory> directory, Now now, DeviceOutput& out) {
    impl_->latest = now.mono;
    impl_->configure(settings, std::move(directory), now, out);
}

void Device::configure(const DeviceSettings& settings, Now now, DeviceOutput& out) {
    const crypto::X25519Key own_key(settings.private_key);
    auto directory = std::make_shared<PeerDirectory>(own_key.public_key());
    for (const PeerSettings& peer : settings.peers)
        directory->add(peer.public_key, peer.allowed_ips, impl_->options.worker);
    directory->finish();
    configure(settings, std::move(directory), now, out);
}

std::expected<PeerId, DropReason> Device::route(Bytes inner_packet) const {
    const auto packet = wire::parse_ip_packet(inner_packet);
    if (!packet) return std::unexpected(DropReason::kInnerMalformed);
    const PeerId peer = impl_->directory->find(packet->destination);
    if (peer == kNoPeer) return std::unexpected(DropReason::kInnerNoPeer);
    return peer;
}

uint32_t Device::worker_of(PeerId peer) const {
    return impl_->directory->worker_of(peer);
}

std::optional<PeerId> Device::peer_by_address(const IpAddress& inner_address) const {
    const PeerId peer = impl_->directory->find(inner_address.view());
    if (peer == kNoPeer) return {};
    return peer;
}

std::optional<PeerId> Device::peer_by_key(const PublicKey& key) const {
    return impl_->directory->find(key);
}

DropReason Device::send(PeerId peer, Bytes inner_packet, Now now, DeviceOutput& out) {
    impl_->latest = now.mono;
    const DropReason reason = impl_->send(peer, inner_packet, now, out);
    if (reason != DropReason::kNone) impl_->drops.add(reason);
    return reason;
}

const PublicKey& Device::public_key() const {
    return impl_->own_key.public_key();
}

uint64_t Device::handshakes_completed() const {
    return impl_->handshakes_completed;
}

std::vector<PeerId> Device::peers() const {
    std::vector<PeerId> ids;
    for (const auto& peer : impl_->peers) {
        if (peer != nullptr) ids.push_back(peer->id);
    }
    return ids;
}

PeerState Device::peer_state(PeerId id) const {
    const Peer* peer = impl_->find_peer(id);
    if (peer == nullptr) return {};
    PeerState state{.public_key = peer->identity.public_key,
                    .endpoint = peer->path.remote,
                    .last_handshake = peer->last_handshake,
                    .received_bytes = peer->received_bytes,
                    .sent_bytes = peer->sent_bytes,
                    .staged_packets = peer->staged.count};
    state.holds_key_material = !peer->sessions.empty() || peer->handshake.outstanding();
    if (const Session* session = peer->sessions.current.get()) {
        state.can_send = session->can_send(impl_->latest);
        state.session_created = session->created;
        state.session_initiator = session->initiator;
        state.session_send_counter = session->send_counter;
    }
    return state;
}

}  // namespace sluice::wireguard
