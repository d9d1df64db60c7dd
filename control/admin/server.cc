#include "control/admin/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "control/admin/connection.h"
#include "control/log.h"

namespace sluice::admin {

namespace {

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const { return number_; }
    int release() { return std::exchange(number_, -1); }

  private:
    int number_;
};

std::unexpected<Error> refuse(const std::string& path, const std::string& reason) {
    return fail("cannot make the control socket " + path + ": " + reason);
}

std::string system_reason() {
    if (errno == EACCES || errno == EPERM || errno == EROFS) {
        return std::string(std::strerror(errno)) + "; choose another path with control.socket";
    }
    return std::strerror(errno);
}

// Whether somebody accepts connections there.
bool is_live(const sockaddr_un& address) {
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (probe.number() < 0) return true;  // cannot tell; taking its place would be worse
    if (::connect(probe.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
        0) {
        return true;
    }
    // EAGAIN: its queue of callers is full, so there is one who accepts.
    return errno != ECONNREFUSED && errno != ENOENT;
}

}  // namespace

Response error_response(uint16_t status, std::string_view reason) {
    return {status,
            nlohmann::json{{"error", reason}}.dump(-1, ' ', false,
                                                   nlohmann::json::error_handler_t::replace),
            {}};
}

Result<std::unique_ptr<Server>> Server::open(control::ControlLoop& loop, std::string path,
                                             ServerOptions options) {
    options.own_uid = geteuid();
    std::unique_ptr<Server> server(new Server(loop, std::move(path), options));
    if (auto bound = server->bind(); !bound) return std::unexpected(bound.error());
    loop.watch(server->listener_, EPOLLIN, [raw = server.get()](uint32_t) { raw->accept(); });
    return server;
}

Result<void> Server::bind() {
    const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return refuse(path_, "cannot make its folder: " + error.message());
    // Two nodes that start at one moment must not each take the other's new socket for a stale one:
    // the folder is locked from the look to the listen. The lock ends with the descriptor, also
    // when the process is killed.
    const Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (lock.number() < 0 || flock(lock.number(), LOCK_EX) != 0) {
        return refuse(path_, system_reason());
    }
    const auto descriptor = bind_locked();
    if (!descriptor) return std::unexpected(descriptor.error());
    listener_ = *descriptor;
    return {};
}

Result<int> Server::bind_locked() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) return refuse(path_, "the path is too long");
    path_.copy(address.sun_path, path_.size());

    struct stat facts{};
    if (lstat(path_.c_str(), &facts) == 0) {
        if (!S_ISSOCK(facts.st_mode)) {
            return refuse(path_, "something that is no socket is in its place; remove it");
        }
        if (is_live(address)) {
            return refuse(path_,
                          "a node is already running there; stop it with `sluice stop "
                          "--socket " +
                              path_ + "`, or give this one another control.socket");
        }
        if (unlink(path_.c_str()) != 0) return refuse(path_, system_reason());
    }
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.number() < 0) return refuse(path_, system_reason());
    // Before bind(), so that there is no moment in which others may connect (the kernel makes the
    // file with the mode of the socket).
    if (fchmod(socket.number(), S_IRUSR | S_IWUSR) != 0 ||
        ::bind(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        lstat(path_.c_str(), &facts) != 0 || ::listen(socket.number(), SOMAXCONN) != 0) {
        return refuse(path_, system_reason());
    }
    inode_ = facts.st_ino;
    return socket.release();
}

Server::~Server() {
    loop_.cancel(resume_timer_);
    connections_.clear();
    if (listener_ < 0) return;
    loop_.forget(listener_);
    ::close(listener_);
    struct stat facts{};
    if (lstat(path_.c_str(), &facts) == 0 && facts.st_ino == inode_) unlink(path_.c_str());
}

void Server::handle(std::string method, std::string path, Handler handler) {
    handlers_[std::move(path)][std::move(method)] = std::move(handler);
}

void Server::accept() {
    Descriptor accepted(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted.number() < 0) {
        // No descriptors left: the caller stays in the queue, and asking again at once would spin.
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) pause_accepting();
        return;
    }
    ucred caller{};
    socklen_t length = sizeof caller;
    const bool known =
        getsockopt(accepted.number(), SOL_SOCKET, SO_PEERCRED, &caller, &length) == 0;
    make_room();
    connections_.push_back(std::make_shared<Connection>(*this, accepted.release()));
    const auto connection = connections_.back();
    connection->begin();
    if (known && (caller.uid == options_.own_uid || caller.uid == 0)) return;
    control::log::warning("refused a caller of the control socket with uid " +
                          (known ? std::to_string(caller.uid) : std::string("unknown")));
    connection->refuse(error_response(403, "this socket serves the node's own user and root only"));
}

void Server::pause_accepting() {
    loop_.forget(listener_);
    resume_timer_ = loop_.after(std::chrono::milliseconds(100), [this] {
        loop_.watch(listener_, EPOLLIN, [this](uint32_t) { accept(); });
    });
}

// A caller with a request must always get through, so the one that has kept us waiting for its
// request the longest goes; if all are being answered, the oldest of those.
void Server::make_room() {
    if (connections_.size() < options_.connections_max) return;
    const auto waiting =
        std::find_if(connections_.begin(), connections_.end(),
                     [](const auto& connection) { return connection->awaits_request(); });
    close(**(waiting == connections_.end() ? connections_.begin() : waiting));
}

void Server::close(Connection& connection) {
    const auto found =
        std::find_if(connections_.begin(), connections_.end(),
                     [&](const auto& candidate) { return candidate.get() == &connection; });
    if (found != connections_.end()) connections_.erase(found);
}

void Server::dispatch(const Request& request, Respond respond) {
    const auto path = handlers_.find(request.path);
    if (path == handlers_.end()) {
        respond(error_response(404, "there is nothing at this path"));
        return;
    }
    const auto method = path->second.find(request.method);
    if (method != path->second.end()) {
        method->second(request, std::move(respond));
        return;
    }
    std::string allowed;
    for (const auto& [name, handler] : path->second) {
        allowed += (allowed.empty() ? "" : ", ") + name;
    }
    Response response = error_response(405, "this path takes " + allowed + " only");
    response.headers.emplace_back("Allow", allowed);
    respond(std::move(response));
}

}  // namespace sluice::admin
