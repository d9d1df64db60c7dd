#include "control/config/read.h"

#include <array>
#include <utility>

#include "control/config/document.h"
#include "control/config/keys.h"
#include "control/config/read_parts.h"
#include "control/config/table_reader.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

template <typename T>
Result<T> parsed_or(std::optional<T> value, std::string_view what) {
    if (!value) return fail(std::string(what));
    return *value;
}

Result<Endpoint> parse_peer_endpoint(std::string_view text) {
    return parse_endpoint(text, "\"192.0.2.1:51820\" or \"[2001:db8::1]:51820\"");
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
        read_listeners(top(), diagnostics_, config_);
        read_tls(section("tls").table, diagnostics_, config_.tls);
        for (const Value* const value : top().tables("certificates"))
            read_certificate(*value, diagnostics_, config_);
        for (const Value* const value : top().tables("forward_auth"))
            read_forward_auth(*value, diagnostics_, config_);
        for (const Value* const value : top().tables("routes"))
            read_route(*value, diagnostics_, config_);
        for (const Value* const value : top().tables("backends"))
            read_backend(*value, diagnostics_, config_);
        read_offloads(section("offloads").table, diagnostics_, config_.offloads);
        read_limits(section("limits").table, diagnostics_, config_.limits);
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
        log.text(
            "access",
            [](std::string_view text) -> std::string {
                const bool path = text.starts_with('/') && text.find('\0') == text.npos;
                if (path || text == "off" || text == "stdout") return {};
                return "write \"off\", \"stdout\" or the absolute path of a file";
            },
            config_.access_log);
    }

    const Table& document_;
    Diagnostics& diagnostics_;
    Config config_;
};

}  // namespace

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

std::optional<Config> read_config(std::string_view text, Diagnostics& diagnostics) {
    const std::optional<Table> document = parse_document(text, diagnostics);
    if (!document) return {};
    check_shape(*document, diagnostics);
    return Reader(*document, diagnostics).read();
}

}  // namespace sluice::config
