// The control socket: HTTP/1.1 with JSON over a Unix stream socket, one request a connection. Who
// may speak is decided twice: the file is 0600, and the kernel's word for the caller's uid
// (SO_PEERCRED) must be ours or root's.
//
// Not its job: what requests mean; handlers are given to it.
// Thread: the loop's. Nothing blocks: a caller that stalls holds one connection for a few seconds.
// Memory: at most connections_max connections with one head and body each.
// Failure: open() says why there is no socket; later every refusal is a status code.
// Source: RFC 9112, unix(7).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/control_loop.h"
#include "dataplane/base/result.h"

namespace sluice::admin {

struct Request {
    std::string method;
    std::string path;  // without the query
    std::string body;
};

struct Response {
    uint16_t status = 200;
    std::string body;                                            // JSON text
    std::vector<std::pair<std::string, std::string>> headers{};  // besides the usual ones
};

// Answers the request. Call it once, now or later, on the loop's thread; more calls, and calls
// after the caller has left, do nothing.
using Respond = std::function<void(Response)>;
using Handler = std::function<void(const Request&, Respond)>;

// A response with a body {"error": reason}.
Response error_response(uint16_t status, std::string_view reason);

struct ServerOptions {
    // Requests have at most a few headers; a head of this size is no client of ours.
    size_t head_bytes_max = 16 * 1024;
    // The largest body that any request carries is a peer's description, below 1 KiB.
    size_t body_bytes_max = 64 * 1024;
    size_t connections_max = 64;
    // From accepting to the end of the request, and again for reading the answer. The callers are
    // on this machine, so only a stuck one needs that long.
    Duration request_timeout = std::chrono::seconds(10);
    // For a handler's answer; longer than anything that the node waits for.
    Duration answer_timeout = std::chrono::seconds(60);
    uid_t own_uid = 0;  // set by open()
};

class Server {
  public:
    // Makes the socket, and folders above it as needed. A socket that a process left which was
    // killed is replaced. Errors: another node answers there; the path is taken by something else;
    // no permission.
    static Result<std::unique_ptr<Server>> open(control::ControlLoop& loop, std::string path,
                                                ServerOptions options = {});
    // Closes every connection and removes the socket.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Later requests with this method and path go to the handler.
    void handle(std::string method, std::string path, Handler handler);

    const std::string& path() const { return path_; }
    size_t connections_open() const { return connections_.size(); }

  private:
    class Connection;
    using Connections = std::list<std::shared_ptr<Connection>>;

    Server(control::ControlLoop& loop, std::string path, ServerOptions options)
        : loop_(loop), path_(std::move(path)), options_(options) {}
    Result<void> bind();
    Result<int> bind_locked();
    void accept();
    void pause_accepting();
    void make_room();
    void close(Connection& connection);
    void dispatch(const Request& request, Respond respond);

    control::ControlLoop& loop_;
    std::string path_;
    ServerOptions options_;
    int listener_ = -1;
    ino_t inode_ = 0;          // of our socket file, so that we never remove another's
    Connections connections_;  // oldest first
    std::map<std::string, std::map<std::string, Handler>> handlers_;  // path, method
    control::ControlLoop::TimerId resume_timer_ = 0;
};

}  // namespace sluice::admin
