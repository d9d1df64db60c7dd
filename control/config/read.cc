#include "control/config/read.h"

#include <array>
#include <utility>

#include "control/config/document.h"
#include "control/config/keys.h"
#include "control/config/table_reader.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

template <typename T>
Result<T> parsed_or(std::optional<T> value, std::string_view what) {
    if (!value) return fail(std::string(what));
    return *value;
}

Result<IpPrefix> parse_prefix(std::string_view text) {
    return parsed_or(IpPrefix::parse(text),
                     "write an address and a prefix length within its bits, such as "
                     "\"10.98.0.2/32\" or \"fd98::2/128\"");
}

Result<Endpoint> parse_endpoint(std::string_view text, std::string_view example) {
    Result<Endpoint> endpoint =
        parsed_or(Endpoint::parse(text), "write an IP address and a port, such as " +
                                             std::string(example) + "; names are not resolved");
    if (endpoint && endpoint->port == 0) return fail("write a port from 1 to 65535");
    if (endpoint && endpoint->address.unmapped() != endpoint->address) {
        return fail("write the IPv4 address itself: " + endpoint->address.unmapped().text());
    }
    return endpoint;
}

Result<Endpoint> parse_peer_endpoint(std::string_view text) {
    return parse_endpoint(text, "\"192.0.2.1:51820\" or \"[2001:db8::1]:51820\"");
}

Result<Endpoint> parse_listener_address(std::string_view text) {
    return parse_endpoint(text, "\"0.0.0.0:3443\" or \"[::]:3443\"");
}

Result<IpAddress> parse_address(std::string_view text) {
    return parsed_or(IpAddress::parse(text), "write an IP address, such as \"192.168.10.21\"");
}

class Reader {
  public:
    Reader(const Table& document, Diagnostics& diagnostics)
        : document_(document), diagnostics_(diagnostics) {}

    Config read() {
        read_node();
        read_io();
        if (section("wireguard").table != nullptr) read_wireguard();
        for (const Value* const value : top().tables("listeners"))
            read_listener(*value);
        read_tls();
        for (const Value* const value : top().tables("certificates"))
            read_certificate(*value);
        for (const Value* const value : top().tables("routes"))
            read_route(*value);
        for (const Value* const value : top().tables("backends"))
            read_backend(*value);
        read_offloads();
        read_limits();
        read_rest();
        return std::move(config_);
    }

  private:
    struct Section {
        Position at;
        const Table* table;
    };

    TableReader top() { return {&document_, diagnostics_}; }
    Section section(std::string_view name) {
        const Value* const value = top().find(name);
        if (value == nullptr) return {{}, nullptr};
        return {value->at, value->table()};
    }
    TableReader reader(const Table* table) { return {table, diagnostics_}; }

    void read_node() {
        TableReader node = reader(section("node").table);
        node.text("name", name_fault, config_.node.name);
        node.parsed("ip", parse_address, config_.node.ip);
        node.path("state_dir", config_.node.state_dir);
        // 512: more cores than any machine this runs on; a typing mistake must not start a million
        // threads.
        node.integer("workers", 0, 512, config_.node.workers);
    }

    void read_io() {
        static constexpr auto kEngines = std::to_array<Choice<Engine>>({
            {"auto", Engine::kAuto},
            {"io_uring", Engine::kIoUring},
            {"epoll", Engine::kEpoll},
        });
        static constexpr auto kPackets = std::to_array<Choice<bool>>({
            {"socket", true},
            {"dpdk", false, "DPDK"},
        });
        TableReader io = reader(section("io").table);
        io.choice<Engine>("engine", kEngines, config_.engine);
        Located<bool> socket;
        io.choice<bool>("packet", kPackets, socket);
    }

    void read_wireguard() {
        const Section found = section("wireguard");
        TableReader table = reader(found.table);
        Wireguard& wireguard = config_.wireguard.emplace();
        wireguard.at = found.at;
        table.text("interface", interface_fault, wireguard.interface);
        table.path("private_key_file", wireguard.private_key_file);
        table.require(found.at, "[wireguard]", "addresses",
                      "write the node's addresses inside the tunnel, such as [\"10.98.0.1/24\"]");
        table.parsed_list("addresses", parse_prefix, wireguard.addresses);
        read_listen_port(table, wireguard);
        // The last octet is added to it: 65280 + 255 is the last port.
        table.integer("base_port", 1024, 65280, wireguard.base_port);
        // 576: RFC 791, what every host takes. 8940: a jumbo frame of 9000 bytes less WireGuard's
        // 60 bytes over IPv4.
        table.integer("mtu", 576, 8940, wireguard.mtu);
        for (const Value* const value : table.tables("peers"))
            read_peer(*value, wireguard);
    }

    void read_listen_port(TableReader& table, Wireguard& wireguard) {
        const Value* const value = table.find("listen_port");
        if (value == nullptr) {
            wireguard.listen_port.at = wireguard.at;
            return;
        }
        wireguard.listen_port.at = value->at;
        table.integer("listen_port", 1, 65535, wireguard.listen_port);
        if (value->text() != nullptr && *value->text() != "auto") {
            diagnostics_.error(value->at, "\"listen_port\" is " + in_quotes(*value->text()) +
                                              "; it must be \"auto\" or a number from 1 to 65535");
        }
    }

    void read_peer(const Value& value, Wireguard& wireguard) {
        static constexpr std::string_view kTable = "[[wireguard.peers]]";
        TableReader table = reader(value.table());
        Peer& peer = wireguard.peers.emplace_back();
        peer.at = value.at;
        table.require(value.at, kTable, "name", "every peer needs one");
        table.require(value.at, kTable, "public_key", "write what `wg pubkey` printed for it");
        table.require(value.at, kTable, "allowed_ips",
                      "write the addresses that the peer may use, such as [\"10.98.0.2/32\"]");
        table.text("name", name_fault, peer.name);
        table.parsed("public_key", parse_key, peer.public_key);
        if (table.has("preshared_key_file")) {
            Located<std::string> file;
            table.path("preshared_key_file", file);
            if (!file.value.empty()) peer.preshared_key_file = std::move(file);
        }
        table.parsed_list("allowed_ips", parse_prefix, peer.allowed_ips);
        table.parsed("endpoint", parse_peer_endpoint, peer.endpoint);
        table.integer("persistent_keepalive", 0, 65535, peer.persistent_keepalive_s);
    }

    void read_listeners() {
        // 64: more than a node has addresses and ports to tell apart; each costs every worker two
        // sockets.
        static constexpr size_t kMost = 64;
        const auto tables = top().tables("listeners");
        if (tables.size() > kMost) {
            diagnostics_.error(tables[kMost]->at, "there are " + std::to_string(tables.size()) +
                                                      " listeners; a node has at most " +
                                                      std::to_string(kMost));
            return;
        }
        for (const Value* const value : tables)
            read_listener(*value);
    }

    void read_listener(const Value& value) {
        static constexpr auto kScopes = std::to_array<Choice<contract::ListenerScope>>({
            {"any", contract::ListenerScope::kAny},
            {"tunnel", contract::ListenerScope::kTunnel},
        });
        static constexpr std::string_view kTable = "[[listeners]]";
        TableReader table = reader(value.table());
        Listener& listener = config_.listeners.emplace_back();
        listener.at = value.at;
        table.require(value.at, kTable, "name", "every listener needs one");
        table.require(value.at, kTable, "address",
                      "write where it accepts connections, such as \"0.0.0.0:3443\"");
        table.text("name", name_fault, listener.name);
        table.parsed("address", parse_listener_address, listener.address);
        table.choice<contract::ListenerScope>("scope", kScopes, listener.scope);
    }

    void read_tls() {
        static constexpr auto kVersions = std::to_array<Choice<uint16_t>>({
            {"1.2", 0x0303},
            {"1.3", 0x0304},
        });
        // "auto" means: where it is available. It never is in this version, so it means "off".
        static constexpr auto kKtls = std::to_array<Choice<bool>>({
            {"auto", false},
            {"off", false},
            {"on", true, "kernel TLS"},
        });
        TableReader tls = reader(section("tls").table);
        tls.choice<uint16_t>("min_version", kVersions, config_.tls.min_version);
        Located<bool> ktls;
        tls.choice<bool>("ktls", kKtls, ktls);
    }

    void read_certificate(const Value& value) {
        static constexpr std::string_view kTable = "[[certificates]]";
        TableReader table = reader(value.table());
        Certificate& certificate = config_.certificates.emplace_back();
        certificate.at = value.at;
        table.require(value.at, kTable, "hosts",
                      "write the names that it answers for, such as [\"app.example.org\"]");
        table.parsed_list("hosts", parse_host, certificate.hosts);
        if (table.has("source")) return;  // reported as not yet; it would stand for the files
        table.require(value.at, kTable, "cert_file", "write the path of its PEM file");
        table.require(value.at, kTable, "key_file", "write the path of its key's PEM file");
        table.path("cert_file", certificate.cert_file);
        table.path("key_file", certificate.key_file);
    }

    void read_route(const Value& value) {
        using contract::AuthMode;
        static constexpr auto kModes = std::to_array<Choice<AuthMode>>({
            {"public", AuthMode::kPublic},
            {"tailscale-only", AuthMode::kTailscaleOnly},
            {"tailscale-bypass", {}, "forward-auth"},
            {"mtls-strict", {}, "client certificates"},
        });
        static constexpr std::string_view kTable = "[[routes]]";
        TableReader table = reader(value.table());
        Route& route = config_.routes.emplace_back();
        route.at = value.at;
        table.require(value.at, kTable, "name", "every route needs one");
        table.require(value.at, kTable, "hosts",
                      "write the hosts that it serves, such as [\"app.example.org\"]");
        table.require(value.at, kTable, "backend", "write the name of one of the [[backends]]");
        table.text("name", name_fault, route.name);
        table.parsed_list("hosts", parse_host, route.hosts);
        if (table.has("path_prefix")) route.path_prefix = {};
        table.text("path_prefix", path_prefix_fault, route.path_prefix);
        // The default is the mode that lets nobody in from outside.
        if (!table.has("auth")) route.auth = {AuthMode::kTailscaleOnly, value.at};
        Located<AuthMode> auth;
        table.choice<AuthMode>("auth", kModes, auth);
        if (auth.at.line > 0) route.auth = auth;
        table.text("backend", route.backend);
    }

    void read_backend(const Value& value) {
        static constexpr std::string_view kTable = "[[backends]]";
        TableReader table = reader(value.table());
        Backend& backend = config_.backends.emplace_back();
        backend.at = value.at;
        table.require(value.at, kTable, "name", "every backend needs one");
        table.require(value.at, kTable, "servers",
                      "write at least one, such as [ { url = \"http://127.0.0.1:8080\" } ]");
        table.text("name", name_fault, backend.name);
        table.duration("connect_timeout", backend.connect_timeout);
        table.duration("response_timeout", backend.response_timeout);
        const Value* const balance = table.find("balance");
        static constexpr std::string_view kBalance = "weighted-round-robin";
        if (balance != nullptr && balance->text() != nullptr && *balance->text() != kBalance) {
            diagnostics_.error(balance->at,
                               TableReader::not_yet("balance", *balance->text(), "other balancing",
                                                    in_quotes(kBalance)));
        }
        for (const Value* const server : table.tables("servers"))
            read_server(*server, backend);
        const Value* const servers = table.find("servers");
        if (servers != nullptr && servers->array() != nullptr && backend.servers_written == 0) {
            diagnostics_.error(servers->at,
                               "\"servers\" is empty; write at least one, such as "
                               "{ url = \"http://127.0.0.1:8080\" }");
        }
    }

    void read_server(const Value& value, Backend& backend) {
        TableReader table = reader(value.table());
        ++backend.servers_written;
        table.require(value.at, "a server", "url", "write \"http://ADDRESS:PORT\"");
        std::optional<Located<contract::ServerConfig>> server;
        table.parsed("url", parse_server_url, server);
        Located<uint32_t> weight{1, {}};
        // 65535: enough for any ratio, and a sum of thousands of them stays far inside 32 bits.
        table.integer("weight", 0, 65535, weight);
        if (!server) return;
        server->value.weight = weight.value;
        backend.servers.push_back(std::move(*server));
    }

    void read_offloads() {
        static constexpr auto kLibraries = std::to_array<Choice<contract::AeadLibrary>>({
            {"auto", contract::AeadLibrary::kAuto},
            {"ipsec-mb", contract::AeadLibrary::kIpsecMb},
            {"openssl", contract::AeadLibrary::kOpenssl},
        });
        Offloads& offloads = config_.offloads;
        TableReader table = reader(section("offloads").table);
        table.wanted("udp_gso", offloads.udp_gso);
        table.wanted("udp_gro", offloads.udp_gro);
        table.wanted("tun_tso", offloads.tun_tso);
        table.wanted("tun_uso", offloads.tun_uso);
        table.wanted("tcp_coalescing", offloads.tcp_coalescing);
        table.wanted("udp_coalescing", offloads.udp_coalescing);
        table.choice<contract::AeadLibrary>("aead", kLibraries, offloads.aead);
    }

    void read_limits() {
        contract::HttpLimits& limits = config_.limits;
        TableReader table = reader(section("limits").table);
        Located<uint32_t> head_bytes{limits.head_bytes_max, {}};
        Located<uint32_t> headers{limits.header_count_max, {}};
        Located<uint32_t> connections{limits.connections_max, {}};
        Located<Duration> head{limits.head_timeout, {}};
        Located<Duration> idle{limits.idle_timeout, {}};
        Located<Duration> progress{limits.progress_timeout, {}};
        // 1 KiB: a browser's request with a few cookies does not fit below. 1 MiB: every connection
        // may hold that much.
        table.integer("head_bytes", 1024, 1024 * 1024, head_bytes);
        table.integer("headers", 8, 1000, headers);
        // 1,000,000: the kernel's own limit of open files (fs.nr_open) is 1,048,576.
        table.integer("connections", 1, 1000000, connections);
        table.duration("head_timeout", head);
        table.duration("idle_timeout", idle);
        table.duration("progress_timeout", progress);
        limits = {head_bytes.value, headers.value,  head.value,
                  idle.value,       progress.value, connections.value};
    }

    void read_rest() {
        reader(section("control").table)
            .text(
                "socket",
                [](std::string_view path) -> std::string {
                    // 107: sockaddr_un holds 108 bytes with the closing zero.
                    if (!path.starts_with('/') || path.size() > 107) {
                        return "write an absolute path of at most 107 bytes";
                    }
                    if (path.find('\0') != std::string_view::npos)
                        return "a path holds no zero byte";
                    return {};
                },
                config_.socket);

        static constexpr auto kLevels = std::to_array<Choice<LogLevel>>({
            {"debug", LogLevel::kDebug},
            {"info", LogLevel::kInfo},
            {"warning", LogLevel::kWarning},
            {"error", LogLevel::kError},
        });
        TableReader log = reader(section("log").table);
        Located<LogLevel> level{config_.log_level, {}};
        log.choice<LogLevel>("level", kLevels, level);
        config_.log_level = level.value;
        const Value* const access = log.find("access");
        if (access != nullptr && access->text() != nullptr && *access->text() != "off") {
            diagnostics_.error(access->at, TableReader::not_yet("access", *access->text(),
                                                                "the access log", "\"off\""));
        }
    }

    const Table& document_;
    Diagnostics& diagnostics_;
    Config config_;
};

}  // namespace

std::optional<Config> read_config(std::string_view text, Diagnostics& diagnostics) {
    const std::optional<Table> document = parse_document(text, diagnostics);
    if (!document) return {};
    check_shape(*document, diagnostics);
    return Reader(*document, diagnostics).read();
}

}  // namespace sluice::config
