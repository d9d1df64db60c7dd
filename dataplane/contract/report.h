// What workers tell control. A worker fills one when it is asked for it; it holds copies only.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::contract {

struct PeerReport {
    std::string name;
    Key public_key{};
    Endpoint endpoint;            // unset: never heard of
    WallTime last_handshake{};    // zero: never
    uint64_t received_bytes = 0;  // outer, WireGuard overhead included, as wg(8) counts
    uint64_t sent_bytes = 0;
};

struct RouteReport {
    std::string name;
    uint64_t requests = 0;
};

struct ServerReport {
    std::string backend;
    std::string url;
    uint64_t requests = 0;
    uint64_t failures = 0;
    uint32_t idle_connections = 0;
    uint32_t active_requests = 0;
    Endpoint address;    // where it is now; unset for Unix sockets
    std::string state;   // "serving", "recovering", "ejected", "unhealthy"
    std::string reason;  // of the state, or of the last connection that failed; empty: none
    WallTime since{};    // when the state began; zero: at the start
};

// One switchable speed-up of the data path and what became of it on this machine.
struct OffloadReport {
    std::string name;    // as its switch in the configuration: "udp_gso", "tun_tso", ...
    std::string state;   // "on", "off", "unsupported"
    std::string reason;  // why it is not on; empty when it is
    uint64_t uses = 0;
};

// A CA of client certificates and how much it is used: while one is replaced by another, this shows
// when nobody needs the old one any more.
struct AnchorReport {
    std::string trust;        // TrustConfig::name
    std::string subject;      // "CN=..., O=...", as RFC 2253 writes it
    std::string fingerprint;  // the first 16 hexadecimal digits of its SHA-256
    WallTime not_after{};
    uint64_t proofs = 0;    // connections whose certificate it vouched for
    WallTime last_proof{};  // zero: none
};

// What became of a certificate's OCSP response.
struct StapleReport {
    std::string host;  // the first of the certificate
    bool usable = false;
    std::string reason;  // why it is not sent; empty when it is
    WallTime next_update{};
    uint64_t sent = 0;
};

struct WorkerReport {
    uint32_t worker = 0;
    uint64_t generation = 0;  // of the snapshot it serves
    std::string engine;       // "io_uring" or "epoll"
    uint64_t connections_open = 0;
    uint64_t connections_accepted = 0;
    uint64_t tls_handshakes = 0;
    uint64_t tls_resumptions = 0;  // of these, without a new exchange of certificates
    uint64_t requests = 0;
    uint64_t datagrams_received = 0;
    uint64_t datagrams_sent = 0;
    uint64_t packets_handed_over = 0;  // to the workers that own their peers
    uint64_t inner_errors_sent = 0;    // ICMP to senders of packets that cannot go into the tunnel
    uint64_t wireguard_handshakes = 0;
    uint16_t wireguard_port = 0;  // that is listened on; 0: this worker has no tunnel
    std::array<uint64_t, kDropReasonCount> drops{};
    std::vector<PeerReport> peers;  // those that this worker owns
    std::vector<RouteReport> routes;
    std::vector<ServerReport> servers;
    std::vector<OffloadReport> offloads;
    std::vector<AnchorReport> anchors;  // of all trusts; sum over the workers
    std::vector<StapleReport> staples;  // of certificates that have a response; `sent` adds up
};

}  // namespace sluice::contract
