// Servers and the connections to them that wait for the next request.
//
// A connection waits only after a response that ended without doubt, and only while the server
// keeps silent: a byte or an end that nobody asked for closes it. The last one to come is the first
// to go, so that the fewest stay open and the freshest are used.
//
// Ownership: a Server belongs to the snapshots that name it; a ServerConnection to its Server while
// it waits, to an exchange while it works. Thread: the worker's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/random.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/health_probe.h"
#include "dataplane/http/proxy.h"
#include "dataplane/http/server_health.h"

namespace sluice::http {

class Server;
class UpstreamPool;

// What became of a request that a server was asked.
enum class RequestOutcome : uint8_t {
    kAnswered,    // with a status
    kNotReached,  // no connection, within its time
    kBroke,       // broke off, stayed silent for too long, or is not valid HTTP
    kGivenUp,  // nothing that speaks for or against it: the client went away, or a kept connection
               // had been closed
};

class ServerConnection final : public StreamHandler, public Timer {
  public:
    ServerConnection(Server& server, std::unique_ptr<ByteStream> stream);
    ~ServerConnection();

    ByteStream& stream() { return *stream_; }
    Server& server() { return server_; }
    bool reused() const { return reused_; }
    // Nothing came since the last look, and the connection still stands.
    bool is_silent();

    void on_stream_ready() override;

  private:
    friend class Server;
    friend class UpstreamPool;
    void on_timer(Now now) override;

    Server& server_;
    std::unique_ptr<ByteStream> stream_;
    uint32_t identity_;  // of the server when the connection was made
    bool reused_ = false;
};

// One server of one backend, for as long as snapshots or exchanges know it.
class Server {
  public:
    Server(UpstreamPool& pool, std::string backend);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    const contract::ServerConfig& config() const { return config_; }
    contract::UpstreamProtocol protocol() const { return protocol_; }
    const ServerHealth& health() const { return health_; }
    Duration idle_timeout() const { return idle_timeout_; }
    // By which a client's cookie names it.
    const std::string& sticky_token() const { return sticky_token_; }
    // Why a connection failed last, as its stream said; empty: none did, or nothing was said.
    const std::string& last_failure() const { return last_failure_; }

    // A connection that waits, or null. The caller sets its handler. `looked_at`: one of which is
    // known at this moment that the server has neither hung up nor said anything unasked.
    std::unique_ptr<ServerConnection> take_idle(bool looked_at);
    // For the next request. Precondition: the stream was read until kWouldBlock.
    void give_back(std::unique_ptr<ServerConnection> connection, Now now);

    // A server that does not take connections is asked last for a moment.
    void connect_succeeded() { avoid_until_ = Instant::min(); }
    bool avoided(Now now) const { return now.mono < avoid_until_; }

    // No snapshot that is served names it any more.
    void retire();
    bool retired() const { return retired_; }
    // By a health check.
    void probed(bool good, std::string_view reason, const contract::HealthCheck& check, Now now);

    // For each request that it is asked, each try by itself. `status`: kAnswered.
    void request_began() {
        ++requests;
        ++active_;
    }
    void request_ended(RequestOutcome outcome, uint16_t status, Now now);
    uint32_t active() const { return active_; }

    size_t idle() const { return idle_.size(); }
    const std::string& backend() const { return backend_; }
    uint64_t requests = 0;
    uint64_t failures = 0;

  private:
    friend class ServerConnection;
    friend class UpstreamPool;
    // Long enough that a dead server costs few requests a try, short enough that nobody waits for
    // one that came back.
    static constexpr Duration kAvoid = std::chrono::seconds(2);

    void drop(ServerConnection* connection);
    void configure(const contract::BackendConfig& backend, const contract::ServerConfig& config);
    void close_idle();

    UpstreamPool& pool_;
    std::string backend_;
    contract::ServerConfig config_;
    contract::UpstreamProtocol protocol_ = contract::UpstreamProtocol::kHttp1;
    Duration idle_timeout_{};
    std::string sticky_token_;
    std::string last_failure_;
    ServerHealth health_;
    std::unique_ptr<HealthProbe> probe_;  // null: it is not checked
    // Changes with what a connection stands for: the protocol, and who is let in by TLS.
    uint32_t identity_ = 0;
    std::vector<std::unique_ptr<ServerConnection>> idle_;
    Instant avoid_until_ = Instant::min();
    uint32_t active_ = 0;
    bool retired_ = false;
};

class UpstreamPool {
  public:
    // A server never gets more waiting connections from one worker than this, all servers together
    // not more than kIdleMax: file descriptors are for clients first.
    static constexpr size_t kIdlePerServer = 128;
    static constexpr size_t kIdleMax = 1024;

    // All outlive the pool; `now` is the time of the running turn.
    UpstreamPool(Connector& connector, TimerWheel& timers, Random& random, const Now& now)
        : connector_(connector), timers_(timers), random_(random), now_(now) {}

    // The server of this backend at this address, with its connections, counts and health if it is
    // known already. `config.address` is where it is, also if it is configured by name.
    std::shared_ptr<Server> server(const contract::BackendConfig& backend,
                                   const contract::ServerConfig& config);
    // A new connection, or a stream that looks like one. Null: it failed at once.
    std::unique_ptr<ByteStream> open(Server& server) {
        const bool http2 = server.protocol() == contract::UpstreamProtocol::kHttp2;
        return http2 && open_http2 ? open_http2(server) : connect(server);
    }
    std::unique_ptr<ByteStream> connect(Server& server) {
        return connector_.connect(server.config(), server.protocol());
    }
    std::function<std::unique_ptr<ByteStream>(Server&)> open_http2;

    void set_addresses(std::shared_ptr<const contract::AddressBook> book) {
        book_ = std::move(book);
    }
    // Empty: not known (yet).
    std::span<const IpAddress> addresses_of(const std::string& name) const;

    TimerWheel& timers() { return timers_; }
    Random& random() { return random_; }
    Now now() const { return now_; }
    // Retires the servers for which server() was not called since the last sweep().
    void sweep();
    // Closes all that waits; nothing waits from now on.
    void close();

    template <typename Visit>
    void for_each(Visit visit) const {
        for (const auto& [key, entry] : servers_)
            visit(*entry.server);
    }

  private:
    friend class Server;
    struct Entry {
        std::shared_ptr<Server> server;
        bool wanted = true;
    };

    Connector& connector_;
    TimerWheel& timers_;
    Random& random_;
    const Now& now_;
    std::shared_ptr<const contract::AddressBook> book_;  // null: none yet
    size_t idle_ = 0;
    bool closed_ = false;
    std::map<std::pair<std::string, std::string>, Entry> servers_;  // backend, address
};

}  // namespace sluice::http
