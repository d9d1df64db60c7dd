// What control tells the workers: one immutable, complete, checked picture of everything a decision
// needs. Control builds it, workers only read it; who holds the pointer keeps it alive.
// Everything in it has been validated: names are unique, references resolve to indexes that exist,
// keys match certificates, no prefix belongs to two peers, hosts are lower case.
// Thread: immutable after it was published, so any thread may read it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/ip.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/time.h"

namespace sluice::contract {

using Key = std::array<uint8_t, 32>;

// What the configuration says of a speed-up that has a switch.
enum class Wanted : uint8_t {
    kAuto,  // used where there is one and the self-test finds it right
    kOn,    // used where there is one
    kOff,
};

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

enum class ListenerProtocol : uint8_t { kHttps, kHttp };

struct ListenerConfig {
    std::string name;
    Endpoint address;
    ListenerScope scope = ListenerScope::kAny;
    ListenerProtocol protocol = ListenerProtocol::kHttps;
    // kHttp only: every request is answered with a redirect to https at this port. 0: served.
    uint16_t redirect_to_https = 0;
    // Connections from here begin with a PROXY protocol header (version 1 or 2), without which they
    // are refused. Such a connection never counts as one that came through the tunnel.
    std::vector<IpPrefix> proxy_protocol_from;

    friend bool operator==(const ListenerConfig&, const ListenerConfig&) = default;
};

// Shared between snapshots while the files behind it stay the same, so that a worker can keep what
// it derived from it: equal pointers mean equal content.
struct CertificateConfig {
    std::vector<std::string> hosts;  // lower case; "*.example.org" covers exactly one label
    std::string certificate_pem;     // leaf first, then the chain
    std::string private_key_pem;     // wiped by its owner's destructor
    std::string ocsp_response;       // DER, stapled to the handshake; empty: none
    WallTime not_after{};

    ~CertificateConfig() { wipe(private_key_pem.data(), private_key_pem.size()); }
};

// Whose client certificates count: CAs and what they have revoked. Two CAs at once are how one is
// replaced by another. Shared between snapshots like CertificateConfig: equal pointers mean equal
// content.
struct TrustConfig {
    std::string name;         // for people: the CA file, and the CRL file if there is one
    std::string anchors_pem;  // one or more CA certificates
    std::string crl_pem;      // the CAs' revocation lists; used if crl_wanted
    bool crl_wanted = false;  // a CA without a current list then vouches for nobody
    // Non-empty: it could not be loaded, and why. Whoever needs it is refused (503).
    std::string fault;
};

// What a client certificate has to prove for a route of the mode mtls-strict.
struct ClientCertificatePolicy {
    uint32_t trust = 0;  // index in TlsConfig::trusts
    // If any list has an entry, the certificate must be on one of them.
    std::vector<std::string> uris;     // subject alternative names; exact
    std::vector<std::string> dns;      // exact or "*.example.org": one label; lower case
    std::vector<std::string> emails;   // the domain in lower case
    std::vector<std::string> serials;  // hexadecimal, lower case, no leading zeros, no colons
};

struct ClientCertificateHost {
    std::string host;              // exact, "*.x" or "*", as in RouteConfig::hosts
    std::vector<uint32_t> trusts;  // whose CA names are shown to the client

    friend bool operator==(const ClientCertificateHost&, const ClientCertificateHost&) = default;
};

// Keys of the session tickets, the same for all workers. The first one seals, all of them open.
struct TicketKey {
    std::array<uint8_t, 16> name{};
    Secret<32> cipher_key;  // AES-256-CBC
    Secret<32> mac_key;     // HMAC-SHA-256
};
struct TicketKeys {
    std::vector<TicketKey> keys;
};

struct TlsConfig {
    uint16_t min_version = 0x0303;  // TLS 1.2; 0x0304: TLS 1.3
    Wanted ktls = Wanted::kAuto;
    std::vector<std::shared_ptr<const TrustConfig>> trusts;
    // Which connections are asked for a client certificate: those for a host that has a route of
    // the mode mtls-strict. The others are not, because browsers would ask their users.
    std::vector<ClientCertificateHost> client_certificate_hosts;
    // The first one answers clients that send no server name.
    std::vector<std::shared_ptr<const CertificateConfig>> certificates;
};

enum class AuthMode : uint8_t {
    kPublic,           // anyone
    kTailscaleOnly,    // only known peers of the tunnel
    kTailscaleBypass,  // peers pass, everyone else goes through forward-auth
    kMtlsStrict,       // only a verified client certificate, tunnel or not
};

// Names in lower case. Set replaces what is there; remove goes first.
struct HeaderEdits {
    std::vector<std::string> remove;
    std::vector<std::pair<std::string, std::string>> set;

    bool empty() const { return remove.empty() && set.empty(); }
};

struct HeaderMatch {
    std::string name;                  // lower case
    std::optional<std::string> value;  // exact; unset: any, but the header must be there
};

// The request is answered with the place it should have asked for; what is unset stays as asked.
struct Redirect {
    uint16_t status = 308;  // 301, 302, 303, 307, 308
    std::optional<std::string> scheme;
    std::optional<std::string> host;
    std::optional<uint16_t> port;
    std::optional<std::string> path;  // instead of the whole path; the query stays
};

// So many requests in so much time, and so many more at once; beyond, 429. For each client address
// (/64 of IPv6) by itself, or for all together. Counted over all workers.
struct RateLimit {
    uint32_t requests = 0;
    Duration per = std::chrono::seconds(1);
    uint32_t burst = 1;
    bool each_client = true;
};

struct RouteConfig {
    std::string name;
    // What is matched. All conditions must hold; of several routes that fit, the one with the
    // highest priority is taken, then the most specific one (http/route_table.h).
    std::vector<std::string> hosts;  // lower case, no port, no trailing dot; "*.x": one label;
                                     // "*": any
    std::string path_prefix =
        "/";  // matches whole segments: "/a" matches "/a" and "/a/b", not "/ab"
    std::optional<std::string> path;   // set: this path only, and path_prefix does not count
    std::vector<std::string> methods;  // as sent, usually upper case; empty: any
    std::vector<HeaderMatch> headers;  // all of them
    std::vector<IpPrefix> clients;     // source addresses; empty: any
    std::optional<int32_t> priority;   // unset: 0

    // Who may pass.
    AuthMode auth = AuthMode::kTailscaleOnly;
    std::optional<uint32_t> forward_auth;  // index in Snapshot::forward_auths; kTailscaleBypass
    std::optional<ClientCertificatePolicy> client_certificate;  // kMtlsStrict
    std::optional<RateLimit> rate_limit;
    std::optional<uint64_t> body_bytes_max;  // larger requests get 413; unset: no limit

    // What happens then: a redirect, or the backend.
    std::optional<Redirect> redirect;
    std::string strip_prefix;  // taken off the path, by whole segments; "/a" leaves "/" at least
    std::string add_prefix;    // put before it
    HeaderEdits request_headers;
    HeaderEdits response_headers;
    // How often a request that is safe to repeat is sent to another server after an answer of 502,
    // 503 or 504 or a connection that broke. Requests that no server took are always tried again.
    uint32_t retries = 0;
    uint32_t backend = 0;  // index in Snapshot::backends; without meaning if `redirect` is set
};

enum class ServerKind : uint8_t {
    kHttp,     // HTTP over TCP
    kHttps,    // over TLS
    kUnix,     // over a Unix socket: "unix:/run/app.sock"
    kWelcome,  // the page built into the node, url "builtin:welcome"
};

// How a TLS server is recognised, and what we show it.
struct ServerTls {
    // Its certificate must come from one of these; empty: from one of the machine's own.
    std::string ca_pem;
    // The machine's own CAs; null: they do not count here. Equal pointers mean equal content.
    std::shared_ptr<const std::string> machine_cas_pem;
    std::string server_name;  // SNI, and the name in its certificate; an address is not sent as SNI
    bool verify = true;       // false: any certificate will do, whoever answers
    std::string certificate_pem;  // ours, with its chain; empty: none
    std::string private_key_pem;

    ~ServerTls() { wipe(private_key_pem.data(), private_key_pem.size()); }
};

struct ServerConfig {
    ServerKind kind = ServerKind::kHttp;
    // Where it is: an address; or a name that is looked up and looked up again as its TTL says, and
    // then only the port of `address` counts; or the path of a Unix socket.
    Endpoint address;
    std::string dns_name;
    std::string unix_path;
    std::string
        host;  // for the Host header when the request's own is not passed on; "127.0.0.1:80"
    uint32_t weight = 1;                   // 0: takes no requests
    std::string url;                       // as written, for people
    std::shared_ptr<const ServerTls> tls;  // kHttps; equal pointers mean equal content

    friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

// The addresses of servers that are configured by name.
struct AddressBook {
    std::map<std::string, std::vector<IpAddress>> addresses;  // sorted, none twice
};

enum class Balance : uint8_t { kWeightedRoundRobin, kLeastConnections };

// A client keeps its server by a cookie that we set.
struct StickyCookie {
    std::string name = "sluice_server";
    bool secure = true;
    bool http_only = true;
    std::string same_site = "Lax";  // "Lax", "Strict" or "None"; empty: not said
    Duration max_age{};             // 0: until the browser closes

    friend bool operator==(const StickyCookie&, const StickyCookie&) = default;
};

// Each worker asks each server by itself.
struct HealthCheck {
    std::string path = "/";
    std::string host;  // Host header; empty: the server's own
    Duration interval = std::chrono::seconds(10);
    Duration timeout = std::chrono::seconds(2);
    uint32_t healthy_after = 1;    // good answers (200 to 399) in a row
    uint32_t unhealthy_after = 2;  // bad ones in a row

    friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

// A server whose requests keep failing gets none for a while, and then first a few.
struct PassiveEjection {
    uint32_t failures = 5;  // in a row: connections that fail or break, 502, 503, 504. 0: never
    Duration rest = std::chrono::seconds(10);
    Duration slow_start = std::chrono::seconds(10);  // from a tenth of its weight to all of it

    friend bool operator==(const PassiveEjection&, const PassiveEjection&) = default;
};

enum class UpstreamProtocol : uint8_t { kHttp1, kHttp2 };  // kHttp2: "h2c" without TLS, ALPN with

struct BackendConfig {
    std::string name;
    std::vector<ServerConfig> servers;
    Balance balance = Balance::kWeightedRoundRobin;
    UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
    bool pass_host = true;  // false: the Host header is the server's own (ServerConfig::host)
    std::optional<StickyCookie> sticky;
    std::optional<HealthCheck> health;
    PassiveEjection ejection;
    Duration connect_timeout = std::chrono::seconds(5);    // TLS handshake included
    Duration response_timeout = std::chrono::seconds(60);  // until the response's head begins
    Duration idle_timeout = std::chrono::seconds(30);      // of connections that wait for requests

    friend bool operator==(const BackendConfig&, const BackendConfig&) = default;
};

// A service that is asked who may pass, as Traefik's ForwardAuth asks it.
struct ForwardAuthConfig {
    std::string name;
    uint32_t backend = 0;   // index in Snapshot::backends: one that the routes cannot name
    std::string authority;  // Host header: "127.0.0.1:4180"
    std::string path;       // with its query: "/oauth2/auth"
    // Headers of its answer that go to the backend, in the place of whatever the client sent under
    // these names; lower case.
    std::vector<std::string> response_headers;
    std::vector<std::string> request_headers;   // that it gets; lower case; empty: all
    std::vector<std::string> response_cookies;  // of its answer that go to the client
    std::string signin_url;  // non-empty: where clients are sent when it says 401
    std::optional<uint32_t>
        forward_body;  // set: it gets bodies of up to so many bytes; larger: 413
    bool preserve_method = false;
    uint32_t answer_bytes_max = 64 * 1024;  // of its refusals; larger: 502
    Duration timeout = std::chrono::seconds(5);
};

// Limits and time-outs of client connections. Time-outs are about progress, never about the whole.
struct HttpLimits {
    uint32_t head_bytes_max = 64 * 1024;  // request line and headers
    uint32_t header_count_max = 100;
    Duration head_timeout = std::chrono::seconds(10);      // first byte of a head to its end
    Duration idle_timeout = std::chrono::seconds(75);      // between requests on one connection
    Duration progress_timeout = std::chrono::seconds(30);  // no byte moved in a body
    uint32_t connections_max = 20000;                      // per worker
    Duration handshake_timeout = std::chrono::seconds(10);
    // Of one source address (/64 of IPv6), over all workers. Tunnel peers are not limited. 0: no
    // limit.
    uint32_t connections_per_client = 1000;
    uint32_t handshakes_per_client = 200;  // TLS handshakes a second, and as many at once
    uint32_t streams_max = 100;            // HTTP/2: requests at one time on one connection
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
    std::vector<ForwardAuthConfig> forward_auths;
    bool access_log = false;
    HttpLimits limits;
    OffloadConfig offloads;
};

}  // namespace sluice::contract
