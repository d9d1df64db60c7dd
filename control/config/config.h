// What a configuration file says, with types instead of text, and every value with its place in the
// file so that later findings can name it. Defaults are in the initialisers; the ones that depend
// on the machine are filled in by resolve() (resolve.h). Not its job: content of the files that it
// names (files.h), and what workers get (snapshot/). Thread: a plain value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/config/diagnostics.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::config {

struct Node {
    Located<std::string> name;  // empty until resolved
    Located<IpAddress> ip;      // unset until resolved; stays unset without a default route
    Located<std::string> state_dir{"/var/lib/sluice", {}};
    Located<uint32_t> workers{0, {}};  // 0: one per core; resolved to the number
};

enum class Engine : uint8_t { kAuto, kIoUring, kEpoll };

struct Peer {
    Position at;  // of its [[wireguard.peers]]
    Located<std::string> name;
    Located<contract::Key> public_key;
    std::optional<Located<std::string>> preshared_key_file;
    std::vector<Located<IpPrefix>> allowed_ips;
    std::optional<Located<Endpoint>> endpoint;
    Located<uint16_t> persistent_keepalive_s;
};

struct Wireguard {
    Position at;
    Located<std::string> interface{"sluice0", {}};
    Located<std::string> private_key_file;  // empty until resolved: in state_dir
    std::vector<Located<IpPrefix>> addresses;
    Located<uint16_t> listen_port;  // 0: "auto", until resolved
    Located<uint16_t> base_port{41600, {}};
    Located<uint16_t> mtu{1420, {}};
    std::vector<Peer> peers;
};

struct Listener {
    Position at;
    Located<std::string> name;
    Located<Endpoint> address;
    Located<contract::ListenerScope> scope{contract::ListenerScope::kAny, {}};
    Located<contract::ListenerProtocol> protocol{contract::ListenerProtocol::kHttps, {}};
    Located<uint16_t> redirect_to_https{0, {}};  // 0: no
    std::vector<Located<IpPrefix>> proxy_protocol_from;
};

// Who vouches for client certificates; a path that was not written is empty.
struct ClientCa {
    Located<std::string> ca_file;
    Located<std::string> crl_file;
};

struct Tls {
    Located<uint16_t> min_version{0x0303, {}};
    Located<contract::Wanted> ktls{contract::Wanted::kAuto, {}};
    ClientCa client_ca;
};

struct Certificate {
    Position at;
    std::vector<Located<std::string>> hosts;
    Located<std::string> cert_file;
    Located<std::string> key_file;
    Located<std::string> ocsp_file;  // empty: none
};

// A server of a backend, or of a forward-auth service.
struct Server {
    contract::ServerConfig settings;  // all of it but `tls`, which files.h makes
    Position at;                      // of its url
    Located<std::string> ca_file;     // these five only with https; empty: not written
    Located<std::string> server_name;
    Located<bool> verify{true, {}};
    Located<std::string> cert_file;
    Located<std::string> key_file;
};

struct ForwardAuth {
    Position at;
    Located<std::string> name;
    std::optional<Server> server;          // unset: it could not be read
    contract::ForwardAuthConfig settings;  // all of it but `name` and `backend`
};

struct Route {
    Position at;
    Located<std::string> name;
    std::vector<Located<std::string>> hosts;
    Located<std::string> path_prefix{"/", {}};  // empty: it could not be read
    std::optional<Located<std::string>> path;   // set: instead of path_prefix
    std::vector<std::string> methods;
    std::vector<contract::HeaderMatch> headers;
    std::vector<Located<IpPrefix>> clients;
    std::optional<Located<int32_t>> priority;

    // Unset: it could not be read.
    std::optional<Located<contract::AuthMode>> auth;
    Located<std::string> forward_auth;              // empty: none
    ClientCa client_ca;                             // of the route itself
    contract::ClientCertificatePolicy certificate;  // the lists; `trust` means nothing here
    Position certificate_at;                        // of the first of these lists
    std::optional<contract::RateLimit> rate_limit;
    std::optional<uint64_t> body_bytes_max;

    std::optional<contract::Redirect> redirect;
    Located<std::string> strip_prefix;  // empty: none
    std::string add_prefix;
    contract::HeaderEdits request_headers;
    contract::HeaderEdits response_headers;
    uint32_t retries = 0;
    Located<std::string> backend;
};

struct Backend {
    Position at;
    Located<std::string> name;
    contract::BackendConfig settings;  // all of it but `name` and `servers`
    std::vector<Server> servers;
    size_t servers_written = 0;  // also those that could not be read
};

// As contract::OffloadConfig, with places.
struct Offloads {
    Located<contract::Wanted> udp_gso;
    Located<contract::Wanted> udp_gro;
    Located<contract::Wanted> tun_tso;
    Located<contract::Wanted> tun_uso;
    Located<contract::Wanted> tcp_coalescing;
    Located<contract::Wanted> udp_coalescing;
    Located<contract::AeadLibrary> aead;

    contract::OffloadConfig values() const {
        return {udp_gso.value,        udp_gro.value,        tun_tso.value, tun_uso.value,
                tcp_coalescing.value, udp_coalescing.value, aead.value};
    }
};

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };

struct Config {
    std::string folder;  // of the file, absolute or "."; relative paths inside it start there
    Node node;
    Located<Engine> engine{Engine::kAuto, {}};
    std::optional<Wireguard> wireguard;
    std::vector<Listener> listeners;
    Tls tls;
    std::vector<Certificate> certificates;
    std::vector<ForwardAuth> forward_auths;
    std::vector<Route> routes;
    std::vector<Backend> backends;
    Offloads offloads;
    contract::HttpLimits limits;
    Located<std::string> socket{"/run/sluice/control.sock", {}};
    LogLevel log_level = LogLevel::kInfo;
    // "off", "stdout", or the absolute path of a file.
    Located<std::string> access_log{"off", {}};
};

}  // namespace sluice::config
