// [[listeners]], [tls] and [[certificates]].
#include <array>

#include "control/config/read_parts.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

Result<Endpoint> parse_listener_address(std::string_view text) {
    return parse_endpoint(text, "\"0.0.0.0:3443\" or \"[::]:3443\"");
}

// true or a port.
void read_redirect_to_https(TableReader& table, Diagnostics& diagnostics, Listener& listener) {
    static constexpr std::string_view kKey = "redirect_to_https";
    const Value* const value = table.find(kKey);
    if (value == nullptr) return;
    if (const bool* const on = value->boolean()) {
        static constexpr uint16_t kHttpsPort = 443;
        listener.redirect_to_https = {*on ? kHttpsPort : uint16_t{0}, value->at};
    }
    table.integer(kKey, 1, 65535, listener.redirect_to_https);
    if (listener.redirect_to_https.value != 0 &&
        listener.protocol.value != contract::ListenerProtocol::kHttp) {
        diagnostics.error(value->at,
                          "\"redirect_to_https\" needs protocol = \"http\"; with https there is "
                          "nothing to redirect to");
    }
}

void read_listener(const Value& value, Diagnostics& diagnostics, Config& config) {
    using contract::ListenerProtocol;
    using contract::ListenerScope;
    static constexpr auto kScopes = std::to_array<Choice<ListenerScope>>({
        {"any", ListenerScope::kAny},
        {"tunnel", ListenerScope::kTunnel},
    });
    static constexpr auto kProtocols = std::to_array<Choice<ListenerProtocol>>({
        {"https", ListenerProtocol::kHttps},
        {"http", ListenerProtocol::kHttp},
    });
    static constexpr std::string_view kTable = "[[listeners]]";
    TableReader table(value.table(), diagnostics);
    Listener& listener = config.listeners.emplace_back();
    listener.at = value.at;
    table.require(value.at, kTable, "name", "every listener needs one");
    table.require(value.at, kTable, "address",
                  "write where it accepts connections, such as \"0.0.0.0:3443\"");
    table.text("name", name_fault, listener.name);
    table.parsed("address", parse_listener_address, listener.address);
    table.choice<ListenerScope>("scope", kScopes, listener.scope);
    table.choice<ListenerProtocol>("protocol", kProtocols, listener.protocol);
    read_redirect_to_https(table, diagnostics, listener);
    table.parsed_list("proxy_protocol_from", parse_prefix, listener.proxy_protocol_from);
}

}  // namespace

void read_listeners(const TableReader& top, Diagnostics& diagnostics, Config& config) {
    // 64: more than a node has addresses and ports to tell apart; each costs every worker two
    // sockets.
    static constexpr size_t kMost = 64;
    const auto tables = top.tables("listeners");
    if (tables.size() > kMost) {
        diagnostics.error(tables[kMost]->at, "there are " + std::to_string(tables.size()) +
                                                 " listeners; a node has at most " +
                                                 std::to_string(kMost));
        return;
    }
    for (const Value* const value : tables)
        read_listener(*value, diagnostics, config);
}

void read_tls(const Table* section, Diagnostics& diagnostics, Tls& tls) {
    static constexpr auto kVersions = std::to_array<Choice<uint16_t>>({
        {"1.2", 0x0303},
        {"1.3", 0x0304},
    });
    static constexpr auto kKtls = std::to_array<Choice<contract::Wanted>>({
        {"auto", contract::Wanted::kAuto},
        {"on", contract::Wanted::kOn},
        {"off", contract::Wanted::kOff},
    });
    TableReader table(section, diagnostics);
    table.choice<uint16_t>("min_version", kVersions, tls.min_version);
    table.choice<contract::Wanted>("ktls", kKtls, tls.ktls);
    table.path("client_ca_file", tls.client_ca.ca_file);
    table.path("client_crl_file", tls.client_ca.crl_file);
}

void read_certificate(const Value& value, Diagnostics& diagnostics, Config& config) {
    static constexpr std::string_view kTable = "[[certificates]]";
    TableReader table(value.table(), diagnostics);
    Certificate& certificate = config.certificates.emplace_back();
    certificate.at = value.at;
    table.require(value.at, kTable, "hosts",
                  "write the names that it answers for, such as [\"app.example.org\"]");
    table.parsed_list("hosts", parse_host, certificate.hosts);
    if (table.has("source")) return;  // reported as not yet; it would stand for the files
    table.require(value.at, kTable, "cert_file", "write the path of its PEM file");
    table.require(value.at, kTable, "key_file", "write the path of its key's PEM file");
    table.path("cert_file", certificate.cert_file);
    table.path("key_file", certificate.key_file);
    table.path("ocsp_file", certificate.ocsp_file);
}

}  // namespace sluice::config
