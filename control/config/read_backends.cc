// [[backends]] and [[forward_auth]]: whom we ask.
#include <algorithm>
#include <array>
#include <utility>

#include "control/config/http_forms.h"
#include "control/config/read_parts.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

std::string host_header_fault(std::string_view text) {
    const bool plain = !text.empty() && text.find_first_of("/?#@\\") == std::string_view::npos &&
                       std::all_of(text.begin(), text.end(), [](char c) {
                           return static_cast<uint8_t>(c) > 0x20 && static_cast<uint8_t>(c) < 0x7f;
                       });
    return plain ? "" : "write a host name, such as \"app.example\"";
}

// A name in a certificate: a host or an address.
Result<std::string> parse_server_name(std::string_view text) {
    if (IpAddress::parse(text)) return std::string(text);
    auto host = parse_host(text);
    if (host && host->starts_with('*')) return fail("write one name, without \"*\"");
    return host;
}

// The keys about TLS, refused where the server speaks none: a person who writes a CA believes that
// it is checked.
void read_server_tls(TableReader& table, Diagnostics& diagnostics, Server& server) {
    static constexpr std::array<std::string_view, 5> kKeys = {"ca_file", "server_name", "verify",
                                                              "cert_file", "key_file"};
    if (server.settings.kind != contract::ServerKind::kHttps) {
        for (const std::string_view key : kKeys) {
            const Value* const value = table.find(key);
            if (value == nullptr) continue;
            diagnostics.error(value->at, in_quotes(key) +
                                             " is about TLS, which this server does not speak; "
                                             "write \"https://\", or remove it");
        }
        return;
    }
    table.path("ca_file", server.ca_file);
    table.parsed("server_name", parse_server_name, server.server_name);
    table.boolean("verify", server.verify.value);
    if (const Value* const verify = table.find("verify")) server.verify.at = verify->at;
    table.path("cert_file", server.cert_file);
    table.path("key_file", server.key_file);
    if (!server.verify.value && table.has("ca_file")) {
        diagnostics.error(server.verify.at,
                          "\"verify\" is false, so that \"ca_file\" means nothing; remove one");
    } else if (!server.verify.value) {
        diagnostics.warning(server.verify.at,
                            "\"verify\" is false: whoever answers in this server's place is "
                            "believed; write \"ca_file\" instead");
    }
    if (table.has("cert_file") != table.has("key_file")) {
        const std::string_view there = table.has("cert_file") ? "cert_file" : "key_file";
        const std::string_view missing = table.has("cert_file") ? "key_file" : "cert_file";
        diagnostics.error(table.find(there)->at,
                          in_quotes(there) + " needs " + in_quotes(missing) + " beside it");
    }
}

void read_server(const Value& value, Diagnostics& diagnostics, Backend& backend) {
    TableReader table(value.table(), diagnostics);
    ++backend.servers_written;
    table.require(value.at, "a server", "url", "write \"http://HOST:PORT\"");
    std::optional<Located<contract::ServerConfig>> settings;
    table.parsed("url", parse_server_url, settings);
    uint32_t weight = 1;
    // 65535: enough for any ratio, and a sum of thousands of them stays far inside 32 bits.
    table.integer("weight", 0, 65535, weight);
    if (!settings) return;
    Server& server = backend.servers.emplace_back();
    server.settings = std::move(settings->value);
    server.settings.weight = weight;
    server.at = settings->at;
    read_server_tls(table, diagnostics, server);
}

void read_sticky(const Value& value, Diagnostics& diagnostics, contract::BackendConfig& backend) {
    static constexpr auto kSameSite = std::to_array<Choice<std::string_view>>({
        {"lax", "Lax"},
        {"strict", "Strict"},
        {"none", "None"},
        {"off", ""},
    });
    if (const bool* const on = value.boolean()) {
        if (*on) backend.sticky.emplace();
        return;
    }
    if (value.table() == nullptr) return;
    TableReader table(value.table(), diagnostics);
    contract::StickyCookie& cookie = backend.sticky.emplace();
    Located<std::string> name{cookie.name, {}};
    table.text("name", token_fault, name);
    cookie.name = name.value;
    table.boolean("secure", cookie.secure);
    table.boolean("http_only", cookie.http_only);
    Located<std::string_view> same_site{cookie.same_site, {}};
    table.choice<std::string_view>("same_site", kSameSite, same_site);
    const std::string chosen(same_site.value);
    if (chosen == "None" && !cookie.secure) {
        diagnostics.error(same_site.at,
                          "\"same_site\" is \"none\", which browsers take from secure cookies "
                          "only; remove secure = false");
    }
    cookie.same_site = chosen;
    Located<Duration> age{cookie.max_age, {}};
    table.parsed(
        "max_age",
        [](std::string_view text) {
            // 400 days: what browsers cut every cookie to.
            return parse_duration(text, std::chrono::hours(400 * 24));
        },
        age);
    cookie.max_age = age.value;
}

void read_health(const Value& value, Diagnostics& diagnostics, contract::BackendConfig& backend) {
    if (value.table() == nullptr) return;
    TableReader table(value.table(), diagnostics);
    contract::HealthCheck& health = backend.health.emplace();
    Located<std::string> path{health.path, {}};
    table.text("path", path_and_query_fault, path);
    health.path = path.value;
    Located<std::string> host;
    table.text("host", host_header_fault, host);
    health.host = host.value;
    table.duration("interval", health.interval);
    Located<Duration> timeout{std::min(health.timeout, health.interval), value.at};
    table.duration("timeout", timeout);
    health.timeout = timeout.value;
    if (health.timeout > health.interval) {
        diagnostics.error(timeout.at,
                          "\"timeout\" is longer than \"interval\"; a question must have ended "
                          "before the next one");
    }
    // 100: at an interval of a second, more than a minute and a half until anything happens.
    table.integer("healthy_after", 1, 100, health.healthy_after);
    table.integer("unhealthy_after", 1, 100, health.unhealthy_after);
}

void read_ejection(const Value& value, Diagnostics& diagnostics,
                   contract::PassiveEjection& ejection) {
    TableReader table(value.table(), diagnostics);
    table.integer("failures", 0, 10000, ejection.failures);
    table.duration("rest", ejection.rest);
    table.duration("slow_start", ejection.slow_start);
}

void read_cookie_names(TableReader& table, std::vector<std::string>& into) {
    table.parsed_list(
        "response_cookies",
        [](std::string_view text) -> Result<std::string> {
            std::string fault = token_fault(text);
            if (!fault.empty()) return fail(std::move(fault));
            return std::string(text);
        },
        into);
}

}  // namespace

void read_backend(const Value& value, Diagnostics& diagnostics, Config& config) {
    using contract::Balance;
    using contract::UpstreamProtocol;
    static constexpr auto kBalances = std::to_array<Choice<Balance>>({
        {"weighted-round-robin", Balance::kWeightedRoundRobin},
        {"least-connections", Balance::kLeastConnections},
    });
    static constexpr auto kProtocols = std::to_array<Choice<UpstreamProtocol>>({
        {"http/1.1", UpstreamProtocol::kHttp1},
        {"h2", UpstreamProtocol::kHttp2},
    });
    static constexpr std::string_view kTable = "[[backends]]";
    TableReader table(value.table(), diagnostics);
    Backend& backend = config.backends.emplace_back();
    contract::BackendConfig& settings = backend.settings;
    backend.at = value.at;
    table.require(value.at, kTable, "name", "every backend needs one");
    table.require(value.at, kTable, "servers",
                  "write at least one, such as [ { url = \"http://127.0.0.1:8080\" } ]");
    table.text("name", name_fault, backend.name);
    Located<Balance> balance{settings.balance, {}};
    table.choice<Balance>("balance", kBalances, balance);
    settings.balance = balance.value;
    Located<UpstreamProtocol> protocol{settings.protocol, {}};
    table.choice<UpstreamProtocol>("protocol", kProtocols, protocol);
    settings.protocol = protocol.value;
    table.boolean("pass_host", settings.pass_host);
    table.duration("connect_timeout", settings.connect_timeout);
    table.duration("response_timeout", settings.response_timeout);
    table.duration("idle_timeout", settings.idle_timeout);
    if (const Value* const sticky = table.find("sticky"))
        read_sticky(*sticky, diagnostics, settings);
    if (const Value* const health = table.find("health"))
        read_health(*health, diagnostics, settings);
    if (const Value* const ejection = table.find("ejection"))
        read_ejection(*ejection, diagnostics, settings.ejection);
    for (const Value* const server : table.tables("servers"))
        read_server(*server, diagnostics, backend);
    const Value* const servers = table.find("servers");
    if (servers != nullptr && servers->array() != nullptr && backend.servers_written == 0) {
        diagnostics.error(servers->at,
                          "\"servers\" is empty; write at least one, such as "
                          "{ url = \"http://127.0.0.1:8080\" }");
    }
}

void read_forward_auth(const Value& value, Diagnostics& diagnostics, Config& config) {
    static constexpr std::string_view kTable = "[[forward_auth]]";
    TableReader table(value.table(), diagnostics);
    ForwardAuth& service = config.forward_auths.emplace_back();
    contract::ForwardAuthConfig& settings = service.settings;
    service.at = value.at;
    table.require(value.at, kTable, "name", "every service needs one");
    table.require(value.at, kTable, "address",
                  "write the URL that is asked, such as \"http://127.0.0.1:4180/oauth2/auth\"");
    table.text("name", name_fault, service.name);
    std::optional<Located<ServiceUrl>> url;
    table.parsed("address", parse_service_url, url);
    if (url) {
        Server& server = service.server.emplace();
        server.settings = url->value.server;
        server.at = url->at;
        settings.authority = server.settings.host;
        settings.path = url->value.path;
        read_server_tls(table, diagnostics, server);
    }
    table.parsed_list(
        "response_headers",
        [](std::string_view text) { return parse_header_name(text, HeaderUse::kFromForwardAuth); },
        settings.response_headers);
    table.parsed_list(
        "request_headers",
        [](std::string_view text) { return parse_header_name(text, HeaderUse::kToForwardAuth); },
        settings.request_headers);
    read_cookie_names(table, settings.response_cookies);
    Located<std::string> signin;
    table.text("signin_url", signin_url_fault, signin);
    settings.signin_url = signin.value;
    // A body that is asked about is held as a whole, behind its request's head, in one buffer of
    // the data plane: 68 KiB. So this is the most that fits behind an ordinary head.
    Located<uint32_t> body;
    table.integer("forward_body", 0, 64 * 1024, body);
    if (body.at.line > 0) settings.forward_body = body.value;
    table.boolean("preserve_method", settings.preserve_method);
    table.integer("answer_bytes", 1024, 16 * 1024 * 1024, settings.answer_bytes_max);
    table.duration("timeout", settings.timeout);
}

}  // namespace sluice::config
