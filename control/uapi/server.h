// The socket /var/run/wireguard/INTERFACE.sock, where wg(8) finds a user-space interface.
// Only root can connect: the folder is 0755, the socket 0600, as wg(8) expects of every
// implementation. A connection may carry many requests, one after the other.
//
// Thread: control's. Failure: open() says what is in the way; a connection that breaks the protocol
// gets the errno and is closed; nothing that a connection does touches another.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/control_loop.h"
#include "control/uapi/protocol.h"
#include "dataplane/base/result.h"

namespace sluice::control::uapi {

// The interface behind the socket. Answers come later, on the same thread.
class Interface {
  public:
    virtual const contract::WireguardConfig& config() const = 0;
    // The port that is listened on, and the peers as they are.
    using Report = std::function<void(uint16_t listen_port, std::vector<contract::PeerReport>)>;
    virtual void report(Report done) = 0;
    // Makes it the configuration; 0, or the errno that says why it stays as it was. The next one
    // comes after the answer, so that each is made of what the last one left.
    virtual void apply(contract::WireguardConfig config, std::function<void(int error)> done) = 0;

  protected:
    ~Interface() = default;
};

class Server {
  public:
    // The folder that wg(8) looks in. /var/run is a link to /run.
    static constexpr const char* kFolder = "/var/run/wireguard";

    // All references outlive the server. A socket that nobody answers is replaced; one that
    // somebody does is an error.
    static Result<std::unique_ptr<Server>> open(ControlLoop& loop, Interface& interface,
                                                const std::string& name, PublicKeyOf public_key_of);
    // Takes over a Unix socket that listens already, and the file that it is bound to, if any; owns
    // it from here on, also when there is an error.
    static Result<std::unique_ptr<Server>> adopt(ControlLoop& loop, Interface& interface,
                                                 int listening, PublicKeyOf public_key_of);
    // Whether a process answers at the socket of the interface `name`.
    static bool is_served(const std::string& name);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // The socket's file; empty: an adopted socket that has none.
    const std::string& path() const { return path_; }
    // Whether that file is still there, and still ours.
    bool has_its_file() const;

  private:
    struct Connection;

    Server(ControlLoop& loop, Interface& interface, PublicKeyOf public_key_of);
    void remember_file(std::string path);
    void accept_all();
    void on_ready(uint64_t id, uint32_t events);
    void serve(Connection& connection);
    void start(Connection& connection, const Request& request);
    void start_set(Connection& connection, const Request& request);
    void serve_waiting();
    void answer(uint64_t id, std::string text);
    void send_pending(Connection& connection);
    void close(uint64_t id);

    ControlLoop& loop_;
    Interface& interface_;
    PublicKeyOf public_key_of_;
    int listening_ = -1;
    std::string path_;  // removed at the end
    dev_t file_device_ = 0;
    ino_t file_inode_ = 0;
    bool is_setting_ = false;  // a set waits for its answer; the others wait for it
    uint64_t next_id_ = 1;
    std::map<uint64_t, std::unique_ptr<Connection>> connections_;
    // Answers that come after the server's end find this gone.
    std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sluice::control::uapi
