// What control tells the workers: one immutable, complete, checked picture of everything a decision
// needs. Control builds it, workers only read it; who holds the pointer keeps it alive.
// Everything in it has been validated: names are unique, references resolve to indexes that exist,
// keys match certificates, no prefix belongs to two peers, hosts are lower case.
// Thread: immutable after it was published, so any thread may read it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/ip.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/time.h"

namespace sluice::contract {

using Key = std::array<uint8_t, 32>;

struct PeerConfig {
    std::string name;
    Key public_key{};
    Secret<32> preshared_key;  // zero: none
    std::vector<IpPrefix> allowed_ips;
    std::optional<Endpoint> endpoint;
    uint16_t persistent_keepalive_s = 0;  // 0: off
};

struct WireguardConfig {
    std::string interface;  // name of the TUN device
    Secret<32> private_key;
    Key public_key{};
    std::vector<IpPrefix> addresses;  // of the TUN device
    uint16_t listen_port = 0;
    uint32_t fwmark = 0;  // SO_MARK of the datagram socket, for policy routing; 0: none
    uint16_t mtu = 1420;
    std::vector<PeerConfig> peers;
};

enum class ListenerScope : uint8_t {
    kAny,     // from the tunnel and from elsewhere
    kTunnel,  // only connections that came through the tunnel
};

struct ListenerConfig {
    std::string name;
    Endpoint address;
    ListenerScope scope = ListenerScope::kAny;

    friend bool operator==(const ListenerConfig&, const ListenerConfig&) = default;
};

// Shared between snapshots while the files behind it stay the same, so that a worker can keep what
// it derived from it: equal pointers mean equal content.
struct CertificateConfig {
    std::vector<std::string> hosts;  // lower case; "*.example.org" covers exactly one label
    std::string certificate_pem;     // leaf first, then the chain
    std::string private_key_pem;     // wiped by its owner's destructor
    WallTime not_after{};

    ~CertificateConfig() { wipe(private_key_pem.data(), private_key_pem.size()); }
};

struct TlsConfig {
    uint16_t min_version = 0x0303;  // TLS 1.2; 0x0304: TLS 1.3
    // The first one answers clients that send no server name.
    std::vector<std::shared_ptr<const CertificateConfig>> certificates;
};

// DESIGN's four; the ones that a build does not have yet never reach a snapshot.
enum class AuthMode : uint8_t { kPublic, kTailscaleOnly };

struct RouteConfig {
    std::string name;
    std::vector<std::string> hosts;  // lower case, no port, no trailing dot; "*.x": one label
    std::string path_prefix =
        "/";  // matches whole segments: "/a" matches "/a" and "/a/b", not "/ab"
    AuthMode auth = AuthMode::kTailscaleOnly;
    uint32_t backend = 0;  // index in Snapshot::backends
};

enum class ServerKind : uint8_t {
    kHttp,     // HTTP/1.1 over TCP
    kWelcome,  // the page built into the node, url "builtin:welcome"
};

struct ServerConfig {
    ServerKind kind = ServerKind::kHttp;
    Endpoint address;
    std::string
        host;  // for the Host header when the request's own is not passed on; "127.0.0.1:80"
    uint32_t weight = 1;  // 0: takes no requests
    std::string url;      // as written, for people

    friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

struct BackendConfig {
    std::string name;
    std::vector<ServerConfig> servers;
    Duration connect_timeout = std::chrono::seconds(5);
    Duration response_timeout = std::chrono::seconds(60);  // until the response's head begins

    friend bool operator==(const BackendConfig&, const BackendConfig&) = default;
};

// Limits and time-outs of client connections. Time-outs are about progress, never about the whole.
struct HttpLimits {
    uint32_t head_bytes_max = 64 * 1024;  // request line and headers
    uint32_t header_count_max = 100;
    Duration head_timeout = std::chrono::seconds(10);      // first byte of a head to its end
    Duration idle_timeout = std::chrono::seconds(75);      // between requests on one connection
    Duration progress_timeout = std::chrono::seconds(30);  // no byte moved in a body
    uint32_t connections_max = 20000;                      // per worker
};

// What the configuration says of a speed-up that has a switch.
enum class Wanted : uint8_t {
    kAuto,  // used where there is one and the self-test finds it right
    kOn,    // used where there is one
    kOff,
};

enum class AeadLibrary : uint8_t { kAuto, kIpsecMb, kOpenssl };

// The speed-ups of the tunnel's data path. Taken when the node starts, and then for good.
struct OffloadConfig {
    Wanted udp_gso = Wanted::kAuto;         // outer datagrams leave in batches
    Wanted udp_gro = Wanted::kAuto;         // and arrive in batches
    Wanted tun_tso = Wanted::kAuto;         // inner TCP comes from the kernel uncut
    Wanted tun_uso = Wanted::kAuto;         // and inner UDP
    Wanted tcp_coalescing = Wanted::kAuto;  // inner TCP is joined for the kernel
    Wanted udp_coalescing = Wanted::kAuto;  // and inner UDP
    AeadLibrary aead = AeadLibrary::kAuto;

    friend bool operator==(const OffloadConfig&, const OffloadConfig&) = default;
};

struct Snapshot {
    uint64_t generation = 0;
    std::string node_name;
    std::optional<WireguardConfig> wireguard;
    std::vector<ListenerConfig> listeners;
    TlsConfig tls;
    std::vector<RouteConfig> routes;
    std::vector<BackendConfig> backends;
    HttpLimits limits;
    OffloadConfig offloads;
};

}  // namespace sluice::contract
