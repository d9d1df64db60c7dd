// The way of a request: listeners, TLS and the HTTP proxy tied together.
//
// Each listener has up to two sockets on one address: one bound to the tunnel's interface and one
// that is not. The bound one gets a connection only if its packets arrive on that interface, now
// and for the connection's whole life; so which socket accepted is the proof that a connection came
// through the tunnel, whatever source address its packets claim. One exception: what a program of
// this machine sends to the tunnel's own address counts for the kernel as arrived there, because it
// goes by the route. Such a connection comes from one of the machine's own addresses, which nobody
// out in the tunnel can use, because the answers would not leave the machine; so those are not
// taken for peers, even where one may send from everywhere (0.0.0.0/0).
//
// Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "dataplane/base/random.h"
#include "dataplane/base/source_limits.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/proxy.h"
#include "dataplane/io/engine.h"
#include "dataplane/io/host_addresses.h"
#include "dataplane/tls/client_contexts.h"
#include "dataplane/tls/contexts.h"
#include "dataplane/wireguard/peer_directory.h"
#include "dataplane/worker/introductions.h"

namespace sluice::worker {

// Which peer has an inner address, by the snapshot that is served.
class SnapshotPeers final : public http::PeerDirectory {
  public:
    // `directory`: of the snapshot's peers; null if it has no tunnel.
    void apply(std::shared_ptr<const contract::Snapshot> snapshot,
               std::shared_ptr<const wireguard::PeerDirectory> directory);
    const std::string* peer_name(const IpAddress& inner_address) const override;

  private:
    std::shared_ptr<const contract::Snapshot> snapshot_;
    std::shared_ptr<const wireguard::PeerDirectory> directory_;
};

class Front final : public http::Connector, private Introductions::Host {
  public:
    // References outlive the front.
    Front(io::Engine& engine, Random& random, TimerWheel& timers, DropCounters& drops);
    ~Front();

    // Serves this snapshot from now on. Connections stay open. The result is empty, or says which
    // listeners could not be opened and why; everything else is served all the same.
    std::string apply(std::shared_ptr<const contract::Snapshot> snapshot,
                      std::shared_ptr<const wireguard::PeerDirectory> peers, Now now);

    // Sources are limited together with other workers' from now on. Outlives the front.
    void share_limits(SourceLimits& limits) {
        limits_ = &limits;
        proxy_.share_limits(limits);
    }

    // Where the servers with names are from now on.
    void set_addresses(std::shared_ptr<const contract::AddressBook> book, Now now) {
        proxy_.set_addresses(std::move(book), now);
    }

    // Is told of each request that ends; null: nobody is. Outlives the front.
    void set_access_log(http::AccessLog* log) { proxy_.set_access_log(log); }

    // Closes the listeners and lets requests in progress end.
    void drain(Now now);
    bool idle() const { return connections_open() == 0; }

    void set_now(Now now) {
        contexts_.set_now(now);
        proxy_.set_now(now);
    }
    void set_ticket_keys(std::shared_ptr<const contract::TicketKeys> keys, Now now) {
        contexts_.set_now(now);
        contexts_.set_ticket_keys(std::move(keys));
    }
    bool run_pending() { return proxy_.run_pending(); }
    void report(contract::WorkerReport& report) const;

    std::unique_ptr<ByteStream> connect(const contract::ServerConfig& to,
                                        contract::UpstreamProtocol protocol) override;

  private:
    class Listener;

    void on_introduced(std::unique_ptr<ByteStream> stream, http::ClientFacts facts,
                       bool for_client) override;
    // Awaits the header of the PROXY protocol before anything else.
    void await_introduction(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts);
    // `stream` begins with TLS, or with HTTP.
    void serve(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts);
    size_t connections_open() const { return proxy_.connections_open() + introductions_.waiting(); }
    contract::OffloadReport kernel_tls_report() const;
    std::string open_listeners(const contract::Snapshot& snapshot);
    void prepare_servers(const contract::Snapshot& snapshot);
    // Counts a connection against its source's limits, for as long as `place` lives; false: it is
    // one too many.
    bool admit(const IpAddress& remote, bool handshake,
               std::shared_ptr<const CountTable::Place>& place);
    // Whether a connection that the tunnel's socket accepted is from beyond this machine.
    bool came_from_a_peer(const IpAddress& remote);

    io::Engine& engine_;
    DropCounters& drops_;
    tls::Contexts contexts_;
    tls::ClientContexts client_contexts_;
    SnapshotPeers peers_;
    http::Proxy proxy_;
    Introductions introductions_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    // Set with the first snapshot that has a tunnel.
    std::optional<io::HostAddresses> host_;
    Counter accepted_;
    SourceLimits* limits_ = nullptr;
    uint32_t connections_per_client_ = 0;  // 0: no limit
    uint32_t handshakes_per_client_ = 0;
    uint32_t connections_max_ = 0;  // none before the first snapshot
    Duration handshake_timeout_{};
};

}  // namespace sluice::worker
