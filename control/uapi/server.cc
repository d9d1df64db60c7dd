#include "control/uapi/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

namespace sluice::control::uapi {

namespace {

// 1,000,000 allowed IPs of the longest form are 52 MB; a request beyond that is a mistake.
constexpr size_t kRequestBytesMax = 64 << 20;
// wg(8) uses one connection a command. More than this at once are forgotten ones.
constexpr size_t kConnectionsMax = 64;

std::string socket_path(const std::string& name) {
    return std::string(Server::kFolder) + "/" + name + ".sock";
}

Result<sockaddr_un> socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(path + ": too long for a socket's name");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

// Whether a process answers behind the path.
bool is_answered(const sockaddr_un& address) {
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return false;
    const bool answered =
        ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(probe);
    return answered;
}

}  // namespace

struct Server::Connection {
    uint64_t id = 0;
    int descriptor = -1;
    std::string received;
    std::string to_send;
    bool busy = false;    // a request waits for its answer
    bool ending = false;  // close when everything is sent
};

Server::Server(ControlLoop& loop, Interface& interface, PublicKeyOf public_key_of)
    : loop_(loop), interface_(interface), public_key_of_(public_key_of) {}

Result<std::unique_ptr<Server>> Server::open(ControlLoop& loop, Interface& interface,
                                             const std::string& name, PublicKeyOf public_key_of) {
    std::unique_ptr<Server> server(new Server(loop, interface, public_key_of));
    const std::string path = socket_path(name);
    if (::mkdir(kFolder, 0755) != 0 && errno != EEXIST) {
        return fail(std::string(kFolder) + ": cannot be made: " + std::strerror(errno));
    }
    const auto address = socket_address(path);
    if (!address) return std::unexpected(address.error());
    // wg(8) removes a socket that is bound and does not listen yet, so it gets its name afterwards.
    const std::string unnamed = path + ".new";
    const auto bound = socket_address(unnamed);
    if (!bound) return std::unexpected(bound.error());
    if (is_answered(*address)) {
        return fail(path +
                    ": another WireGuard implementation serves this interface; end it first");
    }
    ::unlink(unnamed.c_str());
    server->listening_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The socket's rights are those of the moment of bind().
    const mode_t umask_before = ::umask(077);
    const bool listens = server->listening_ >= 0 &&
                         ::bind(server->listening_, reinterpret_cast<const sockaddr*>(&*bound),
                                sizeof *bound) == 0 &&
                         ::listen(server->listening_, 16) == 0 &&
                         ::rename(unnamed.c_str(), path.c_str()) == 0;
    const int error = errno;
    ::umask(umask_before);
    if (!listens) {
        if (server->listening_ >= 0) ::close(std::exchange(server->listening_, -1));
        ::unlink(unnamed.c_str());
        return fail(path + ": cannot listen: " + std::strerror(error));
    }
    server->remember_file(path);
    loop.watch(server->listening_, EPOLLIN, [raw = server.get()](uint32_t) { raw->accept_all(); });
    return server;
}

Result<std::unique_ptr<Server>> Server::adopt(ControlLoop& loop, Interface& interface,
                                              int listening, PublicKeyOf public_key_of) {
    const std::string name = "descriptor " + std::to_string(listening);
    const int flags = ::fcntl(listening, F_GETFL);
    if (flags < 0) return fail(name + " is not open");
    std::unique_ptr<Server> server(new Server(loop, interface, public_key_of));
    server->listening_ = listening;
    int listens = 0;
    socklen_t size = sizeof listens;
    sockaddr_un address{};
    socklen_t address_size = sizeof address;
    if (::getsockopt(listening, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0 ||
        ::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &address_size) != 0 ||
        address.sun_family != AF_UNIX) {
        return fail(name + " is not a Unix socket that listens");
    }
    if (::fcntl(listening, F_SETFL, flags | O_NONBLOCK) != 0 ||
        ::fcntl(listening, F_SETFD, FD_CLOEXEC) != 0) {
        return fail(name + ": " + std::strerror(errno));
    }
    // A name that begins with a zero byte, or none at all, is no file's.
    const size_t path_size = address_size - offsetof(sockaddr_un, sun_path);
    if (address_size > offsetof(sockaddr_un, sun_path) && address.sun_path[0] == '/') {
        server->remember_file({address.sun_path, ::strnlen(address.sun_path, path_size)});
    }
    loop.watch(listening, EPOLLIN, [raw = server.get()](uint32_t) { raw->accept_all(); });
    return server;
}

bool Server::is_served(const std::string& name) {
    const auto address = socket_address(socket_path(name));
    return address && is_answered(*address);
}

void Server::remember_file(std::string path) {
    path_ = std::move(path);
    struct stat file{};
    if (::lstat(path_.c_str(), &file) != 0) return;  // gone already, as has_its_file() tells
    file_device_ = file.st_dev;
    file_inode_ = file.st_ino;
}

bool Server::has_its_file() const {
    struct stat file{};
    return ::lstat(path_.c_str(), &file) == 0 && file.st_dev == file_device_ &&
           file.st_ino == file_inode_;
}

Server::~Server() {
    while (!connections_.empty())
        close(connections_.begin()->first);
    if (listening_ < 0) return;
    loop_.forget(listening_);
    // Another program may have put its own in this place.
    if (!path_.empty() && has_its_file()) ::unlink(path_.c_str());
    ::close(listening_);
}

void Server::accept_all() {
    for (;;) {
        const int descriptor =
            ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor < 0) return;
        if (connections_.size() >= kConnectionsMax) {
            ::close(descriptor);
            continue;
        }
        auto connection = std::make_unique<Connection>();
        connection->id = next_id_++;
        connection->descriptor = descriptor;
        const uint64_t id = connection->id;
        connections_.emplace(id, std::move(connection));
        loop_.watch(descriptor, EPOLLIN, [this, id](uint32_t events) { on_ready(id, events); });
    }
}

void Server::on_ready(uint64_t id, uint32_t events) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    if ((events & EPOLLOUT) != 0) return send_pending(connection);
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t got = ::recv(connection.descriptor, buffer, sizeof buffer, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (got <= 0) return close(id);
        connection.received.append(buffer, static_cast<size_t>(got));
        if (connection.received.size() > kRequestBytesMax) return close(id);
    }
    serve(connection);
}

void Server::serve(Connection& connection) {
    if (connection.busy || connection.ending) return;
    const auto request = next_request(connection.received);
    if (!request) {
        connection.ending = true;
        connection.to_send += format_errno(request.error().error);
        return send_pending(connection);
    }
    if (*request) start(connection, **request);
}

void Server::start(Connection& connection, const Request& request) {
    if (request.operation == Operation::kSet) return start_set(connection, request);
    connection.busy = true;
    connection.received.erase(0, request.size);
    interface_.report([this, id = connection.id, alive = std::weak_ptr(alive_)](
                          uint16_t port, std::vector<contract::PeerReport> peers) {
        if (alive.expired()) return;
        answer(id, format_get(interface_.config(), port, peers) + format_errno(0));
    });
}

void Server::start_set(Connection& connection, const Request& request) {
    // Made of a configuration that is about to change, it would take that change back.
    if (is_setting_) return;
    connection.busy = true;
    auto config = apply_set(interface_.config(), request.settings, public_key_of_);
    // Keys were in it.
    wipe(connection.received.data(), request.size);
    connection.received.erase(0, request.size);
    if (!config) return answer(connection.id, format_errno(config.error().error));
    is_setting_ = true;
    interface_.apply(std::move(*config),
                     [this, id = connection.id, alive = std::weak_ptr(alive_)](int error) {
                         if (alive.expired()) return;
                         is_setting_ = false;
                         answer(id, format_errno(error));
                         serve_waiting();
                     });
}

void Server::serve_waiting() {
    std::vector<uint64_t> ids;
    for (const auto& [id, connection] : connections_)
        ids.push_back(id);
    for (const uint64_t id : ids) {
        const auto found = connections_.find(id);
        if (found != connections_.end()) serve(*found->second);
    }
}

void Server::answer(uint64_t id, std::string text) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    connection.busy = false;
    connection.to_send += text;
    send_pending(connection);
}

void Server::send_pending(Connection& connection) {
    while (!connection.to_send.empty()) {
        const ssize_t sent = ::send(connection.descriptor, connection.to_send.data(),
                                    connection.to_send.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            loop_.change(connection.descriptor, EPOLLOUT);
            return;
        }
        if (sent < 0) return close(connection.id);
        wipe(connection.to_send.data(), static_cast<size_t>(sent));
        connection.to_send.erase(0, static_cast<size_t>(sent));
    }
    if (connection.ending) return close(connection.id);
    loop_.change(connection.descriptor, EPOLLIN);
    if (connection.received.empty()) return;
    // The next request, from the loop and not from inside this one's answer: a thousand refusals in
    // one buffer would else be a thousand calls deep.
    loop_.post([this, id = connection.id, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        const auto found = connections_.find(id);
        if (found != connections_.end()) serve(*found->second);
    });
}

void Server::close(uint64_t id) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    loop_.forget(found->second->descriptor);
    ::close(found->second->descriptor);
    wipe(found->second->received.data(), found->second->received.size());
    wipe(found->second->to_send.data(), found->second->to_send.size());
    connections_.erase(found);
}

}  // namespace sluice::control::uapi
