#include "dataplane/io/listener.h"

#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "dataplane/io/socket.h"
#include "dataplane/io/socket_address.h"

namespace sluice::io {

namespace {

// Long enough that a full descriptor table costs ten tries a second, short enough that a client
// whose connection waits in the backlog does not notice much.
constexpr Duration kPause = std::chrono::milliseconds(100);

// A new connection costs its worker some 10 to 20 microseconds before its first byte (socket, TLS
// state), so a flood of them holds up packets and timers by about a millisecond a turn. Larger:
// longer stalls; smaller: more turns for the same flood.
constexpr int kAcceptsPerTurn = 64;

std::string remedy(int error, const ListenOptions& options) {
    switch (error) {
        case EADDRINUSE:
            return "; another program has this port: stop it or choose another port";
        case EADDRNOTAVAIL:
            return "; no interface of this machine has this address";
        case EACCES:
            return "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
        case EPERM:
            return "; binding to an interface needs root or CAP_NET_RAW";
        case ENODEV:
            return "; there is no interface " + options.interface;
        case EMFILE:
            return "; raise the limit of open files (LimitNOFILE)";
        case EAFNOSUPPORT:
            return "; this kernel has no IPv6: listen on an IPv4 address";
        default:
            return "";
    }
}

}  // namespace

Result<Descriptor> open_listener(const ListenOptions& options) {
    const auto failure = [&options](int error) {
        std::string where = options.address.text();
        if (!options.interface.empty()) where += " on interface " + options.interface;
        return fail("cannot listen on " + where + ": " + error_text(error) +
                    remedy(error, options));
    };
    const int family = options.address.address.is_v6() ? AF_INET6 : AF_INET;
    Descriptor socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.is_open()) return failure(errno);
    const auto set = [&socket](int level, int name, int value) {
        return setsockopt(socket.get(), level, name, &value, sizeof value) == 0;
    };
    // REUSEADDR: connections of an earlier run, in TIME_WAIT, do not keep us from starting.
    // REUSEPORT: each worker has its own socket. NODELAY: accepted sockets inherit it.
    if (!set(SOL_SOCKET, SO_REUSEADDR, 1) || !set(SOL_SOCKET, SO_REUSEPORT, 1) ||
        !set(IPPROTO_TCP, TCP_NODELAY, 1)) {
        return failure(errno);
    }
    // A client that vanished while its WebSocket had nothing to say is missed after two minutes, a
    // minute of silence and four questions. Accepted sockets inherit this too.
    if (!set(SOL_SOCKET, SO_KEEPALIVE, 1) || !set(IPPROTO_TCP, TCP_KEEPIDLE, 60) ||
        !set(IPPROTO_TCP, TCP_KEEPINTVL, 15) || !set(IPPROTO_TCP, TCP_KEEPCNT, 4)) {
        return failure(errno);
    }
    if (family == AF_INET6 && !set(IPPROTO_IPV6, IPV6_V6ONLY, 1)) return failure(errno);
    if (!options.interface.empty()) {
        if (options.interface.size() >= IFNAMSIZ) return failure(ENODEV);
        if (setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, options.interface.data(),
                       static_cast<socklen_t>(options.interface.size())) != 0) {
            return failure(errno);
        }
    }
    SocketAddress address;
    const socklen_t length = to_kernel(options.address, family, address);
    if (bind(socket.get(), &address.any, length) != 0) return failure(errno);
    if (::listen(socket.get(), options.backlog) != 0) return failure(errno);
    return socket;
}

Listener::Listener(EngineCore& engine, Descriptor socket, AcceptHandler& handler)
    : engine_(engine),
      socket_(std::move(socket)),
      handler_(handler),
      local_(local_endpoint(socket_.get())) {
    const Bytes address = local_.address.view();
    local_is_wildcard_ =
        std::all_of(address.begin(), address.end(), [](uint8_t byte) { return byte == 0; });
}

Listener::~Listener() {
    engine_.unwatch(id_, socket_.get());
    if (destroyed_ != nullptr) *destroyed_ = true;
}

bool Listener::hand_over(Descriptor socket, const Endpoint& remote) {
    Accepted accepted;
    accepted.remote = remote;
    accepted.local = local_is_wildcard_ ? local_endpoint(socket.get()) : local_;
    accepted.stream = Socket::adopt(engine_, std::move(socket));
    if (!accepted.stream) return true;  // no kernel memory to watch it: the client sees it closed
    bool destroyed = false;
    destroyed_ = &destroyed;
    handler_.on_accept(std::move(accepted));
    if (destroyed) return false;
    destroyed_ = nullptr;
    return true;
}

bool Listener::is_about_one_connection(int error) {
    switch (error) {
        // accept(2): Linux passes errors that are already pending on the new socket to accept.
        case EINTR:
        case ECONNABORTED:
        case EPERM:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case EOPNOTSUPP:
            return true;
        default:
            return false;
    }
}

void Listener::pause() {
    engine_.drops().add(DropReason::kDescriptorLimit);
    paused_until_ = engine_.now().mono + kPause;
    engine_.run_at(paused_until_, id_);
}

std::unique_ptr<Acceptor> ReadinessListener::start(EngineCore& engine, Descriptor socket,
                                                   AcceptHandler& handler, int& error) {
    std::unique_ptr<ReadinessListener> listener(
        new ReadinessListener(engine, std::move(socket), handler));
    const auto id = engine.watch(listener->socket_.get(), POLLIN, *listener);
    if (!id) {
        error = id.error();
        return nullptr;
    }
    listener->id_ = *id;
    return listener;
}

void ReadinessListener::on_ready(uint32_t) {
    if (is_paused()) return;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
        SocketAddress address{};
        socklen_t length = sizeof address;
        Descriptor socket(
            accept4(socket_.get(), &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket.is_open()) {
            if (!hand_over(std::move(socket), from_kernel(address))) return;
            continue;
        }
        if (errno == EAGAIN) return;
        if (is_about_one_connection(errno)) continue;
        pause();
        return;
    }
    // The edge is used up and connections may be left.
    engine_.run_again(id_);
}

}  // namespace sluice::io
