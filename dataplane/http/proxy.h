// The HTTP side of one worker: client connections in, requests routed, authorised and relayed to
// backends, answers back. Bodies stream in both directions with back-pressure; nothing larger than
// one buffer per direction is ever held.
//
// Not its job: accepting, TLS, opening sockets, time.
// Thread: the worker's.
// Memory: connections are bounded by HttpLimits::connections_max and come from slabs; a connection
// holds at most three buffers, and none while nothing moves. Both grow to the busiest moment and
// are reused from then on; buffers beyond a reserve are given back. Idle connections to servers are
// bounded too (upstream_pool.h).
// Failure: every refusal is a status code, and where the client is at fault a counter; README.md.
// Source: RFC 9110, RFC 9112.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/random.h"
#include "dataplane/base/source_limits.h"
#include "dataplane/base/time.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/access_log.h"

namespace sluice::http {

// What is known of a client connection from how it was accepted, or from a load balancer that the
// configuration names; never from bytes that a client sent.
struct ClientFacts {
    Endpoint remote;
    Endpoint local;
    bool encrypted = true;  // X-Forwarded-Proto
    // The connection was accepted by a socket bound to the tunnel's interface.
    bool through_tunnel = false;
    uint16_t redirect_to_https = 0;  // every request is sent to https at this port; 0: served
    // Of the connections that one source may have; lives as long as any copy of these facts.
    std::shared_ptr<const CountTable::Place> place = {};
    uint8_t http_major = 1;  // what the client speaks; 2: this is one stream of its connection
};

// Who stands behind an inner address, by the peer table as it is now. Asked for each request, so
// that a peer that was removed is refused on connections that are still open.
class PeerDirectory {
  public:
    // The peer's name, or null when the address belongs to no peer.
    virtual const std::string* peer_name(const IpAddress& inner_address) const = 0;

  protected:
    ~PeerDirectory() = default;
};

// Opens connections to backends.
class Connector {
  public:
    // To where this server is: `to.address`, also if it is configured by name, or `to.unix_path`;
    // with TLS if it is of that kind, whose handshake runs inside the stream. Null: it failed at
    // once (no descriptors, no route). See io::Engine::connect.
    virtual std::unique_ptr<ByteStream> connect(const contract::ServerConfig& to,
                                                contract::UpstreamProtocol protocol) = 0;

  protected:
    ~Connector() = default;
};

class Proxy {
  public:
    // All references outlive the proxy. `timers` is advanced by the worker.
    Proxy(Connector& connector, const PeerDirectory& peers, Random& random, TimerWheel& timers,
          DropCounters& drops);
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    // From now on requests are decided by this snapshot; requests in progress end by the old one.
    // Idle connections to servers that are no longer there are closed.
    void apply(std::shared_ptr<const contract::Snapshot> snapshot, Now now);

    // Where the servers with names are from now on. Those that are gone get no new requests.
    void set_addresses(std::shared_ptr<const contract::AddressBook> book, Now now);

    // Takes over a client connection. Refused (closed, counted) beyond connections_max.
    void accept(std::unique_ptr<ByteStream> stream, const ClientFacts& facts, Now now);

    // No new requests: idle connections close now, the others after the request in progress.
    void drain(Now now);

    // Rate limits are counted there from now on, together with other workers; else this proxy
    // counts for itself. Outlives the proxy.
    void share_limits(SourceLimits& limits);

    // Is told of each request that ends from now on; null: nobody is. Outlives the proxy.
    void set_access_log(AccessLog* log);

    // The time, to be told before the handlers of a turn run: streams call the proxy back without
    // it.
    void set_now(Now now);
    // Goes on with connections that paused for fairness; true when some are left for the next turn.
    bool run_pending();

    size_t connections_open() const;
    void report(contract::WorkerReport& report) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::http
