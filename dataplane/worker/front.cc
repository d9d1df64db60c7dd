#include "dataplane/worker/front.h"

#include <algorithm>
#include <utility>

#include "dataplane/io/kernel_tls.h"

namespace sluice::worker {

namespace {

std::string append(std::string errors, const std::string& more) {
    if (!errors.empty() && !more.empty()) errors += "; ";
    return errors + more;
}

// What a source is limited in, for the hash of its address. Routes have hashes of their names.
constexpr uint64_t kConnections = 1;
constexpr uint64_t kHandshakes = 2;

}  // namespace

// The sockets of one listener.
class Front::Listener {
  public:
    Listener(Front& front, contract::ListenerConfig config, std::string tunnel_interface)
        : config_(std::move(config)),
          tunnel_interface_(std::move(tunnel_interface)),
          from_tunnel_(front, config_, true),
          from_elsewhere_(front, config_, false) {}

    bool serves(const contract::ListenerConfig& config, const std::string& tunnel_interface) const {
        return config_ == config && tunnel_interface_ == tunnel_interface;
    }

    // The kernel gives a connection to the first socket that fits when both share their port
    // (SO_REUSEPORT), although the bound one fits better. It looks at IPv4 sockets from the
    // youngest to the oldest and at IPv6 sockets the other way round (__inet_hash() in
    // linux/net/ipv4/inet_hashtables.c), so the bound one has to be opened last there and first
    // here; every worker does so, and then a bound one is in front of them all. In the wrong order
    // a tunnel connection would count as one from elsewhere: refused, not let in.
    Result<void> open(io::Engine& engine) {
        const bool bound_first = config_.address.address.is_v6();
        if (bound_first) {
            if (auto opened = open_bound(engine); !opened) return opened;
        }
        if (config_.scope != contract::ListenerScope::kTunnel) {
            auto unbound =
                engine.listen({.address = config_.address, .interface = {}}, from_elsewhere_);
            if (!unbound) return std::unexpected(unbound.error());
            from_elsewhere_.acceptor = std::move(*unbound);
        }
        return bound_first ? Result<void>() : open_bound(engine);
    }

    const contract::ListenerConfig& config() const { return config_; }

  private:
    struct Entrance final : io::AcceptHandler {
        Entrance(Front& owner, const contract::ListenerConfig& of, bool tunnel)
            : front(owner), config(of), through_tunnel(tunnel) {}

        void on_accept(io::Accepted accepted) override {
            front.accepted_.add();
            const bool encrypted = config.protocol == contract::ListenerProtocol::kHttps;
            http::ClientFacts facts{.remote = accepted.remote,
                                    .local = accepted.local,
                                    .encrypted = encrypted,
                                    .redirect_to_https = config.redirect_to_https};
            // Not a peer's, also if it comes from one: who its client is others say.
            if (is_proxy(accepted.remote.address))
                return front.await_introduction(std::move(accepted.stream), facts);
            facts.through_tunnel =
                through_tunnel && front.came_from_a_peer(accepted.remote.address);
            // Peers have proved who they are, and one that floods is known by its name.
            if (!facts.through_tunnel &&
                !front.admit(accepted.remote.address, encrypted, facts.place))
                return;
            front.serve(std::move(accepted.stream), facts);
        }

        bool is_proxy(const IpAddress& remote) const {
            return std::ranges::any_of(
                config.proxy_protocol_from,
                [&remote](const IpPrefix& prefix) { return prefix.contains(remote); });
        }

        Front& front;
        const contract::ListenerConfig& config;
        bool through_tunnel;
        std::unique_ptr<io::Acceptor> acceptor;
    };

    Result<void> open_bound(io::Engine& engine) {
        if (tunnel_interface_.empty()) return {};
        auto bound = engine.listen({.address = config_.address, .interface = tunnel_interface_},
                                   from_tunnel_);
        if (!bound) return std::unexpected(bound.error());
        from_tunnel_.acceptor = std::move(*bound);
        return {};
    }

    contract::ListenerConfig config_;
    std::string tunnel_interface_;  // empty: no tunnel
    Entrance from_tunnel_;
    Entrance from_elsewhere_;
};

void SnapshotPeers::apply(std::shared_ptr<const contract::Snapshot> snapshot,
                          std::shared_ptr<const wireguard::PeerDirectory> directory) {
    snapshot_ = std::move(snapshot);
    directory_ = std::move(directory);
}

const std::string* SnapshotPeers::peer_name(const IpAddress& inner_address) const {
    if (!directory_ || !inner_address.is_set()) return nullptr;
    const wireguard::PeerId peer = directory_->find(inner_address.view());
    return peer != wireguard::kNoPeer ? &snapshot_->wireguard->peers[peer].name : nullptr;
}

Front::Front(io::Engine& engine, Random& random, TimerWheel& timers, DropCounters& drops)
    : engine_(engine),
      drops_(drops),
      contexts_(drops_),
      proxy_(*this, peers_, random, timers, drops_),
      introductions_(timers, drops_, *this) {
    const io::KernelTlsAbility& ability = io::kernel_tls_ability();
    contexts_.set_kernel_tls(ability.transmit, ability.new_keys);
    contexts_.offer_http2(true);
}

Front::~Front() = default;

std::string Front::apply(std::shared_ptr<const contract::Snapshot> snapshot,
                         std::shared_ptr<const wireguard::PeerDirectory> peers, Now now) {
    std::string errors;
    contexts_.set_now(now);
    if (auto applied = contexts_.apply(snapshot->tls); !applied) errors = applied.error().message;
    prepare_servers(*snapshot);
    peers_.apply(snapshot, std::move(peers));
    if (snapshot->wireguard && !host_) {
        if (auto opened = io::HostAddresses::open(); opened) {
            host_ = std::move(*opened);
        } else {
            errors = append(std::move(errors), opened.error().message);
        }
    }
    connections_per_client_ = snapshot->limits.connections_per_client;
    handshakes_per_client_ = snapshot->limits.handshakes_per_client;
    connections_max_ = snapshot->limits.connections_max;
    handshake_timeout_ = snapshot->limits.handshake_timeout;
    proxy_.apply(snapshot, now);
    return append(std::move(errors), open_listeners(*snapshot));
}

// With the snapshot, and not with the first request that needs one of them: reading the machine's
// CAs takes milliseconds.
void Front::prepare_servers(const contract::Snapshot& snapshot) {
    std::vector<std::shared_ptr<const contract::ServerTls>> all;
    for (const contract::BackendConfig& backend : snapshot.backends) {
        for (const contract::ServerConfig& server : backend.servers)
            if (server.tls) all.push_back(server.tls);
    }
    client_contexts_.prepare(all);
}

bool Front::admit(const IpAddress& remote, bool handshake,
                  std::shared_ptr<const CountTable::Place>& place) {
    if (limits_ == nullptr) return true;
    if (connections_per_client_ > 0) {
        CountTable::Place taken = limits_->connections.enter(limits_->hash.of(remote, kConnections),
                                                             connections_per_client_);
        if (!taken.taken()) {
            drops_.add(DropReason::kSourceConnectionLimit);
            return false;
        }
        place = std::make_shared<const CountTable::Place>(std::move(taken));
    }
    if (!handshake || handshakes_per_client_ == 0) return true;
    const Pace pace =
        Pace::of(handshakes_per_client_, std::chrono::seconds(1), handshakes_per_client_);
    if (limits_->paces.take(limits_->hash.of(remote, kHandshakes), pace, engine_.now().mono) ==
        Duration::zero())
        return true;
    drops_.add(DropReason::kSourceHandshakeLimit);
    return false;
}

void Front::await_introduction(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts) {
    if (connections_open() >= connections_max_) {
        drops_.add(DropReason::kConnectionLimit);
        return;
    }
    introductions_.begin(std::move(stream), facts, engine_.now().mono + handshake_timeout_);
}

void Front::on_introduced(std::unique_ptr<ByteStream> stream, http::ClientFacts facts,
                          bool for_client) {
    // Its clients are limited each for itself; for them all the load balancer would be one source.
    if (for_client && !admit(facts.remote.address, facts.encrypted, facts.place)) return;
    serve(std::move(stream), facts);
}

void Front::serve(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts) {
    if (facts.encrypted) stream = contexts_.accept(std::move(stream));
    proxy_.accept(std::move(stream), facts, engine_.now());
}

bool Front::came_from_a_peer(const IpAddress& remote) {
    return host_ && !host_->is_own(remote);
}

std::string Front::open_listeners(const contract::Snapshot& snapshot) {
    const std::string tunnel = snapshot.wireguard ? snapshot.wireguard->interface : std::string();
    std::string errors;
    std::vector<std::unique_ptr<Listener>> next;
    std::vector<const contract::ListenerConfig*> missing;
    for (const contract::ListenerConfig& config : snapshot.listeners) {
        const auto same = std::ranges::find_if(listeners_, [&](const auto& listener) {
            return listener && listener->serves(config, tunnel);
        });
        if (same != listeners_.end()) {
            next.push_back(std::move(*same));
        } else {
            missing.push_back(&config);
        }
    }
    listeners_ = std::move(next);  // what is no longer wanted frees its address first
    for (const contract::ListenerConfig* config : missing) {
        auto listener = std::make_unique<Listener>(*this, *config, tunnel);
        if (auto opened = listener->open(engine_); opened) {
            listeners_.push_back(std::move(listener));
        } else {
            errors = append(std::move(errors),
                            "listener \"" + config->name + "\": " + opened.error().message);
        }
    }
    return errors;
}

void Front::drain(Now now) {
    listeners_.clear();
    introductions_.close_all();
    proxy_.drain(now);
}

std::unique_ptr<ByteStream> Front::connect(const contract::ServerConfig& to,
                                           contract::UpstreamProtocol protocol) {
    auto stream = to.kind == contract::ServerKind::kUnix ? engine_.connect_unix(to.unix_path)
                                                         : engine_.connect(to.address);
    if (!stream) return nullptr;
    if (to.kind != contract::ServerKind::kHttps) return std::move(*stream);
    // Without a word on whom to trust nobody is.
    if (to.tls == nullptr) return nullptr;
    const bool http2 = protocol == contract::UpstreamProtocol::kHttp2;
    return client_contexts_.connect(std::move(*stream), to.tls, to.address.text(),
                                    http2 ? "h2" : "http/1.1");
}

void Front::report(contract::WorkerReport& report) const {
    report.connections_open = connections_open();
    report.connections_accepted = accepted_.value();
    contexts_.report(report);
    proxy_.report(report);
    report.offloads.push_back(kernel_tls_report());
}

contract::OffloadReport Front::kernel_tls_report() const {
    const io::KernelTlsAbility& ability = io::kernel_tls_ability();
    contract::OffloadReport report{.name = "ktls", .state = "on", .reason = {}, .uses = 0};
    report.uses = contexts_.kernel_tls_uses();
    if (contexts_.kernel_tls_wanted() == contract::Wanted::kOff) {
        report.state = "off";
        report.reason = "switched off";
    } else if (!ability.transmit) {
        report.state = "unsupported";
        report.reason = ability.why_not;
    }
    return report;
}

}  // namespace sluice::worker
