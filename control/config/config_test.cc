// What good files mean: the manual, the examples, the defaults, and the forms of values.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "control/config/default_toml.h"
#include "control/config/diagnose.h"
#include "control/config/document.h"
#include "control/config/http_forms.h"
#include "control/config/keys.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

std::string source_file(const std::string& name) {
    std::ifstream file(SLUICE_SOURCE_DIR "/" + name, std::ios::binary);
    REQUIRE(file.is_open());
    return {std::istreambuf_iterator<char>(file), {}};
}

// The manual writes keys without a default as "#key", and prose as "# text".
std::string uncommented(std::string_view text) {
    std::istringstream lines{std::string(text)};
    std::string result;
    for (std::string line; std::getline(lines, line);) {
        if (line.size() > 1 && line[0] == '#' && line[1] != ' ' && line[1] != '#') line.erase(0, 1);
        result += line + "\n";
    }
    return result;
}

void collect_paths(const Table& table, const std::string& above, std::set<std::string>& into) {
    for (const Entry& entry : table.entries) {
        const std::string path = above.empty() ? entry.key : above + "." + entry.key;
        into.insert(path);
        // Its keys are names of headers.
        const auto known = std::find_if(known_keys().begin(), known_keys().end(),
                                        [&path](const Key& key) { return key.path == path; });
        if (known != known_keys().end() && known->kind == Kind::kHeaders) continue;
        if (const Table* const inner = entry.value.table()) collect_paths(*inner, path, into);
        if (entry.value.array() == nullptr) continue;
        for (const Value& element : entry.value.array()->values) {
            if (element.table() != nullptr) collect_paths(*element.table(), path, into);
        }
    }
}

Config resolved(std::string_view text, const Environment& machine = test_machine()) {
    Diagnostics diagnostics;
    std::optional<Config> config = read_config(text, diagnostics);
    REQUIRE(config);
    resolve(*config, machine, diagnostics);
    for (const std::string& line : diagnostics.lines("f"))
        UNSCOPED_INFO(line);
    CHECK_FALSE(diagnostics.has_errors());
    return *config;
}

constexpr std::string_view kTunnel = "[wireguard]\naddresses = [\"10.98.0.1/24\"]\n";

}  // namespace

TEST_CASE("the manual that is built in is the one in conf/") {
    CHECK(std::string(default_toml()) == source_file("conf/default.toml"));
}

TEST_CASE("the manual has every key that the reader knows, and no other") {
    const std::string manual = source_file("conf/default.toml");
    const size_t later = manual.find("# ---- Not yet");
    REQUIRE(later != std::string::npos);
    std::set<std::string> documented;
    // In two parts, because the second speaks of tables that the first has too.
    for (const std::string& part : {manual.substr(0, later), manual.substr(later)}) {
        Diagnostics diagnostics;
        const auto document = parse_document(uncommented(part), diagnostics);
        for (const std::string& line : diagnostics.lines("f"))
            UNSCOPED_INFO(line);
        REQUIRE(document);
        collect_paths(*document, "", documented);
    }
    std::set<std::string> known;
    for (const Key& key : known_keys())
        known.emplace(key.path);
    CHECK(documented == known);
}

TEST_CASE("every key of the manual's first part works, and none of its second") {
    const std::string manual = source_file("conf/default.toml");
    const size_t later = manual.find("# ---- Not yet");
    Diagnostics first;
    const auto working = parse_document(uncommented(manual.substr(0, later)), first);
    REQUIRE(working);
    check_shape(*working, first);
    CHECK(first.lines("f").empty());
    std::set<std::string> paths;
    collect_paths(*working, "", paths);
    for (const Key& key : known_keys()) {
        INFO(key.path);
        if (!key.not_yet.empty()) CHECK_FALSE(paths.contains(std::string(key.path)));
    }
}

// What the manual shows as comments, against what a table without these keys means.
void check_shown_defaults(const Config& shown) {
    const Listener& listener = shown.listeners.at(0);
    CHECK(listener.protocol.value == Listener{}.protocol.value);
    CHECK(listener.redirect_to_https.value == 0);
    CHECK(listener.proxy_protocol_from.empty());
    const contract::ForwardAuthConfig service;
    const contract::ForwardAuthConfig& shown_service = shown.forward_auths.at(0).settings;
    CHECK(shown_service.request_headers == service.request_headers);
    CHECK(shown_service.response_cookies == service.response_cookies);
    CHECK(shown_service.preserve_method == service.preserve_method);
    CHECK(shown_service.answer_bytes_max == service.answer_bytes_max);
    CHECK(shown_service.timeout == service.timeout);
    const Route& route = shown.routes.at(0);
    CHECK(route.methods.empty());
    CHECK(route.headers.empty());
    CHECK(route.clients.empty());
    CHECK(route.priority->value == 0);
    CHECK(route.rate_limit->per == contract::RateLimit{}.per);
    CHECK(route.rate_limit->each_client == contract::RateLimit{}.each_client);
    CHECK(route.request_headers.empty());
    CHECK(route.response_headers.empty());
    CHECK(route.retries == Route{}.retries);
    const std::string moved = "[[routes]]\nname = \"r\"\nhosts = [\"a\"]\n";
    CHECK(shown.routes.at(3).redirect->status ==
          resolved(moved + "redirect = { port = 1 }\n").routes.at(0).redirect->status);
    CHECK(shown.backends.at(0).settings == Backend{}.settings);
    CHECK(shown.backends.at(1).settings.health->host == "app.example");
    contract::HealthCheck health = *shown.backends.at(1).settings.health;
    health.host.clear();
    CHECK(health == contract::HealthCheck{});
    CHECK(shown.backends.at(1).settings.ejection == contract::PassiveEjection{});
    contract::StickyCookie cookie = *shown.backends.at(1).settings.sticky;
    CHECK(cookie.max_age == std::chrono::hours(24));
    cookie.max_age = {};
    CHECK(cookie == contract::StickyCookie{});
}

TEST_CASE("the manual's values are the defaults") {
    const Config manual = resolved(default_toml());
    const Config empty = resolved("");
    CHECK(manual.node.state_dir.value == empty.node.state_dir.value);
    CHECK(manual.node.workers.value == empty.node.workers.value);
    CHECK(manual.node.name.value == empty.node.name.value);
    CHECK(manual.engine.value == empty.engine.value);
    CHECK(manual.tls.min_version.value == empty.tls.min_version.value);
    CHECK(manual.limits.head_bytes_max == empty.limits.head_bytes_max);
    CHECK(manual.limits.header_count_max == empty.limits.header_count_max);
    CHECK(manual.limits.head_timeout == empty.limits.head_timeout);
    CHECK(manual.limits.idle_timeout == empty.limits.idle_timeout);
    CHECK(manual.limits.progress_timeout == empty.limits.progress_timeout);
    CHECK(manual.limits.connections_max == empty.limits.connections_max);
    CHECK(manual.limits.handshake_timeout == empty.limits.handshake_timeout);
    CHECK(manual.limits.connections_per_client == empty.limits.connections_per_client);
    CHECK(manual.limits.handshakes_per_client == empty.limits.handshakes_per_client);
    CHECK(manual.limits.streams_max == empty.limits.streams_max);
    CHECK(manual.access_log.value == empty.access_log.value);
    CHECK(manual.tls.ktls.value == empty.tls.ktls.value);
    CHECK(manual.offloads.values() == empty.offloads.values());
    CHECK(manual.socket.value == empty.socket.value);
    CHECK(manual.log_level == empty.log_level);
    CHECK_FALSE(manual.wireguard);

    // And those of the tables that it shows as comments.
    const std::string text = source_file("conf/default.toml");
    const Config shown = resolved(uncommented(text.substr(0, text.find("# ---- Not yet"))));
    const Config tunnel = resolved(kTunnel);
    REQUIRE(shown.wireguard);
    CHECK(shown.wireguard->interface.value == tunnel.wireguard->interface.value);
    CHECK(shown.wireguard->private_key_file.value == tunnel.wireguard->private_key_file.value);
    CHECK(shown.wireguard->listen_port.value == tunnel.wireguard->listen_port.value);
    CHECK(shown.wireguard->base_port.value == tunnel.wireguard->base_port.value);
    CHECK(shown.wireguard->mtu.value == tunnel.wireguard->mtu.value);
    CHECK(shown.wireguard->peers.at(0).persistent_keepalive_s.value == 0);
    CHECK(shown.listeners.at(0).scope.value == Listener{}.scope.value);
    CHECK(shown.routes.at(0).path_prefix.value == Route{}.path_prefix.value);
    CHECK(shown.routes.at(0).auth->value == contract::AuthMode::kTailscaleOnly);
    CHECK(shown.backends.at(0).settings.connect_timeout == Backend{}.settings.connect_timeout);
    CHECK(shown.backends.at(0).settings.response_timeout == Backend{}.settings.response_timeout);
    CHECK(shown.backends.at(0).servers.at(0).settings.weight == 1);
    check_shown_defaults(shown);
}

TEST_CASE("the full example: every key is known, and what is not built yet is said so") {
    CHECK(diagnose(source_file("conf/example-full.toml")) ==
          R"(f:76:2: not yet: "dpdk" (DPDK) is not built into this version; remove it
f:84:1: not yet: "listen" (the metrics listener) is not built into this version; remove it
)");
}

TEST_CASE("the minimal example is right as it stands") {
    const std::string text = source_file("conf/example-minimal.toml");
    CHECK(diagnose(text).empty());
    const Config config = resolved(text);
    REQUIRE(config.wireguard);
    CHECK(config.wireguard->listen_port.value == 41621);
    CHECK(config.wireguard->peers.at(0).name.value == "laptop");
    CHECK(config.wireguard->peers.at(0).allowed_ips.at(0).value.text() == "10.98.0.2/32");
    CHECK(config.listeners.at(0).address.value.text() == "0.0.0.0:3443");
    CHECK(config.routes.at(0).auth->value == contract::AuthMode::kTailscaleOnly);
    CHECK(config.backends.at(0).servers.at(0).settings.kind == contract::ServerKind::kWelcome);
}

TEST_CASE("node name and address: the file, else Kubernetes, else the machine") {
    Environment machine = test_machine();
    CHECK(resolved("", machine).node.name.value == "testhost");
    CHECK(resolved("", machine).node.ip.value.text() == "192.168.10.21");
    CHECK(resolved("", machine).node.workers.value == 4);
    machine.k8s_node_name = "k8s-node";
    machine.k8s_node_ip = "10.1.2.3";
    CHECK(resolved("", machine).node.name.value == "k8s-node");
    CHECK(resolved(kTunnel, machine).wireguard->listen_port.value == 41603);
    const std::string_view own = "[node]\nname = \"own\"\nip = \"10.9.9.9\"\nworkers = 2\n";
    CHECK(resolved(own, machine).node.name.value == "own");
    CHECK(resolved(own, machine).node.ip.value.text() == "10.9.9.9");
    CHECK(resolved(own, machine).node.workers.value == 2);
}

TEST_CASE("what the machine says may be wrong too") {
    Environment machine = test_machine();
    machine.k8s_node_ip = "node-21";
    machine.host_name = "my host";
    Diagnostics diagnostics;
    std::optional<Config> config = read_config("", diagnostics);
    resolve(*config, machine, diagnostics);
    CHECK(
        diagnostics.lines("f") ==
        std::vector<std::string>{
            "f: the host name \"my host\" is no name for a node: a name holds letters, digits and "
            "- _ . @ + : only; set node.name",
            "f: $K8S_NODE_IP \"node-21\" is no IP address; correct it or set node.ip"});
}

TEST_CASE("the automatic port needs an address, and counts from base_port") {
    Environment machine = test_machine();
    CHECK(resolved("[node]\nip = \"fd00::1:15\"\n" + std::string(kTunnel))
              .wireguard->listen_port.value == 41621);
    CHECK(resolved(std::string(kTunnel) + "base_port = 50000\n").wireguard->listen_port.value ==
          50021);
    CHECK(resolved(std::string(kTunnel) + "listen_port = 51820\n").wireguard->listen_port.value ==
          51820);
    machine.default_route_address = {};
    Diagnostics diagnostics;
    std::optional<Config> config = read_config(kTunnel, diagnostics);
    resolve(*config, machine, diagnostics);
    CHECK(diagnostics.lines("f") ==
          std::vector<std::string>{
              "f:1:1: \"listen_port\" is \"auto\", which needs the node's address, "
              "but this machine has no default route; set node.ip, or write a "
              "number"});
}

TEST_CASE("a peer may have all that nobody else has, the node's own address or not") {
    const std::string text = R"([wireguard]
addresses = ["10.98.0.1/24", "fd98::1/64"]
listen_port = 41621
[[wireguard.peers]]
name = "phone"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32", "fd98::2/128"]
[[wireguard.peers]]
name = "router"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
allowed_ips = ["0.0.0.0/0", "::/0"]
)";
    Diagnostics diagnostics;
    std::optional<Config> config = read_config(text, diagnostics);
    REQUIRE(config);
    resolve(*config, test_machine(), diagnostics);
    check(*config, diagnostics);
    CHECK(diagnostics.lines("f") == std::vector<std::string>{});
}

TEST_CASE("the state folder holds the key unless the file says otherwise") {
    CHECK(resolved(kTunnel).wireguard->private_key_file.value == "/var/lib/sluice/wireguard.key");
    CHECK(resolved("[node]\nstate_dir = \"/x\"\n" + std::string(kTunnel))
              .wireguard->private_key_file.value == "/x/wireguard.key");
}

TEST_CASE("durations") {
    using namespace std::chrono_literals;
    CHECK(*parse_duration("250ms") == 250ms);
    CHECK(*parse_duration("5s") == 5s);
    CHECK(*parse_duration("2m") == 2min);
    CHECK(*parse_duration("24h") == 24h);
    for (const std::string_view bad : {"", "s", "5", "5 s", "-5s", "+5s", "5S", "1.5s", "25h", "0s",
                                       "5ss", "0x5s", "86401s", "9223372036854775807h"}) {
        INFO(bad);
        CHECK_FALSE(parse_duration(bad));
    }
}

TEST_CASE("keys have one text each") {
    contract::Key key{};
    for (size_t i = 0; i < key.size(); ++i)
        key[i] = static_cast<uint8_t>(i * 37 + 5);
    const std::string text = key_text(key);
    CHECK(text == "BSpPdJm+4wgtUnecweYLMFV6n8TpDjNYfaLH7BE2W4A=");
    REQUIRE(parse_key(text));
    CHECK(*parse_key(text) == key);
    // Of the 64 characters that may stand last, only 16 carry no bits beyond the key.
    size_t accepted = 0;
    for (char last = 33; last < 127; ++last) {
        std::string changed = text;
        changed[42] = last;
        accepted += parse_key(changed) ? 1 : 0;
    }
    CHECK(accepted == 16);
    CHECK_FALSE(parse_key(text + "\n"));
    CHECK_FALSE(parse_key(text.substr(0, 43)));
}

TEST_CASE("hosts are taken in any case and kept in one") {
    CHECK(*parse_host("Happy.Example") == "happy.example");
    CHECK(*parse_host("*.Example.org") == "*.example.org");
    CHECK(*parse_host("192.168.10.21") == "192.168.10.21");
    CHECK(parse_host(std::string(63, 'a') + ".example"));
    CHECK_FALSE(parse_host(std::string(64, 'a') + ".example"));
    CHECK_FALSE(parse_host(std::string(254, 'a')));
    for (const std::string_view bad : {"", ".", "*", "*.", "a*.b", "-a.b", "a-.b", "a_b..c", "a b",
                                       "ä.de", "[::1]", ".a", "a."}) {
        INFO(bad);
        CHECK_FALSE(parse_host(bad));
    }
}

TEST_CASE("servers: addresses and ports") {
    const auto v4 = parse_server_url("http://127.0.0.1:8080");
    REQUIRE(v4);
    CHECK(v4->address.text() == "127.0.0.1:8080");
    CHECK(v4->host == "127.0.0.1:8080");
    CHECK(v4->url == "http://127.0.0.1:8080");
    const auto v6 = parse_server_url("http://[fd00::1]/");
    REQUIRE(v6);
    CHECK(v6->address.text() == "[fd00::1]:80");
    CHECK(v6->host == "[fd00::1]");
    CHECK(parse_server_url("http://127.0.0.1")->address.port == 80);
}

TEST_CASE("a file may be nested as deeply as it likes in strings and comments") {
    std::string dots;
    for (int i = 0; i < 100000; ++i)
        dots += "a.";
    const std::string text =
        "# " + dots + "\n[node]\nname = '''x'''\nstate_dir = \"" + dots + "\"\n";
    CHECK(diagnose(text) ==
          "f: warning: there is neither [wireguard] nor [[listeners]]; the node will do nothing\n");
}

TEST_CASE("nesting is refused wherever it hides") {
    std::string dots = "a";
    for (int i = 0; i < 300000; ++i)
        dots += ".a";
    // Each of these would overflow the parser's stack.
    for (const std::string& text :
         {dots + " = 1", "[" + dots + "]\n", "x = \"\"\"a\"\"\"\"\n" + dots + " = 1",
          "x = [ '''b''''' , { " + dots + " = 1 } ]", "x = \"\\\\\"\n" + dots + " = 1",
          "x = " + std::string(100000, '['), "x = \"\\\"\"\n" + dots + " = 1"}) {
        CHECK(diagnose(text).find("nested too deeply") != std::string::npos);
    }
}

TEST_CASE("what the TOML library trips over is an error of the file like any other") {
    CHECK(diagnose("[node]\n[;x]\nname = \"y\"\n") ==
          "f:2:1: not valid TOML: this line has a character where none of its kind may be\n");
    CHECK(diagnose("na\xc3\xafve = 1\n") ==
          "f:1:3: not valid TOML: key-value pair: expected '=', saw '\xc3\xaf'\n");
    CHECK_FALSE(diagnose("x = \"\"\"\\\xc3\xb5\"\"\"\n").empty());
    CHECK(diagnose("[;x]") ==
          "f:1:1: not valid TOML: this line has a character where none of its kind may be\n");
}

TEST_CASE("a file that is too large is named as such") {
    const std::string text(kFileBytesMax + 1, '\n');
    CHECK(diagnose(text) == "f: the file is larger than 16 MiB; name a configuration file\n");
}

TEST_CASE("ten thousand peers are checked at once, and quickly") {
    std::string text(kTunnel);
    contract::Key key{};
    for (int i = 0; i < 10000; ++i) {
        key[0] = static_cast<uint8_t>(i);
        key[1] = static_cast<uint8_t>(i >> 8);
        key[2] = 1;
        const std::string third = std::to_string(i / 250);
        text += "[[wireguard.peers]]\nname = \"p" + std::to_string(i) + "\"\npublic_key = \"" +
                key_text(key) + "\"\nallowed_ips = [\"10.99." + third + "." +
                std::to_string(i % 250 + 1) + "/32\"]\n";
    }
    CHECK(diagnose(text).empty());
    text += "[[wireguard.peers]]\nname = \"wide\"\npublic_key = \"" + key_text(contract::Key{9}) +
            "\"\nallowed_ips = [\"10.99.0.0/16\"]\n";
    const std::string told = diagnose(text);
    CHECK(std::count(told.begin(), told.end(), '\n') == 10000);
}

}  // namespace sluice::config
