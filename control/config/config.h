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
};

struct Tls {
    Located<uint16_t> min_version{0x0303, {}};
};

struct Certificate {
    Position at;
    std::vector<Located<std::string>> hosts;
    Located<std::string> cert_file;
    Located<std::string> key_file;
};

struct Route {
    Position at;
    Located<std::string> name;
    std::vector<Located<std::string>> hosts;
    Located<std::string> path_prefix{"/", {}};  // empty: it could not be read
    // Unset: it could not be read.
    std::optional<Located<contract::AuthMode>> auth;
    Located<std::string> backend;
};

struct Backend {
    Position at;
    Located<std::string> name;
    Located<Duration> connect_timeout{contract::BackendConfig{}.connect_timeout, {}};
    Located<Duration> response_timeout{contract::BackendConfig{}.response_timeout, {}};
    std::vector<Located<contract::ServerConfig>> servers;
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
    std::vector<Route> routes;
    std::vector<Backend> backends;
    Offloads offloads;
    contract::HttpLimits limits;
    Located<std::string> socket{"/run/sluice/control.sock", {}};
    LogLevel log_level = LogLevel::kInfo;
};

}  // namespace sluice::config
