// [[routes]].
#include <array>
#include <utility>

#include "control/config/http_forms.h"
#include "control/config/read_parts.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

Result<std::string> checked(std::string_view text, std::string (*fault)(std::string_view)) {
    std::string found = fault(text);
    if (!found.empty()) return fail(std::move(found));
    return std::string(text);
}

Result<std::string> parse_method(std::string_view text) {
    if (!token_fault(text).empty()) return fail("write a method, such as \"GET\" or \"POST\"");
    return std::string(text);
}

// The name of an entry of a table of headers, in lower case; nothing when it was refused.
std::optional<std::string> header_of(const Entry& entry, HeaderUse use, const Table& table,
                                     Diagnostics& diagnostics) {
    auto name = parse_header_name(entry.key, use);
    if (!name) {
        diagnostics.error(entry.at,
                          "bad header " + in_quotes(entry.key) + "; " + name.error().message);
        return {};
    }
    // TOML's keys differ in case, headers do not.
    for (const Entry& other : table.entries) {
        if (&other == &entry) break;
        const auto before = parse_header_name(other.key, use);
        if (before && *before == *name) {
            diagnostics.error(entry.at, "the header " + in_quotes(entry.key) +
                                            " stands here twice; the case of its letters does "
                                            "not matter");
            return {};
        }
    }
    return std::move(*name);
}

std::optional<std::string> header_value(const Entry& entry, Diagnostics& diagnostics) {
    const std::string* const text = entry.value.text();
    if (text == nullptr) return {};
    if (const std::string fault = header_value_fault(*text); !fault.empty()) {
        diagnostics.error(entry.value.at, "bad value " + in_quotes(*text) + " of the header " +
                                              in_quotes(entry.key) + "; " + fault);
        return {};
    }
    return *text;
}

// { "x-canary" = "1", "x-any" = true }
void read_header_conditions(const TableReader& table, Diagnostics& diagnostics, Route& route) {
    const Value* const headers = table.find("headers");
    if (headers == nullptr || headers->table() == nullptr) return;
    for (const Entry& entry : headers->table()->entries) {
        const auto name = header_of(entry, HeaderUse::kCondition, *headers->table(), diagnostics);
        const bool* const there = entry.value.boolean();
        if (entry.value.text() == nullptr && (there == nullptr || !*there)) {
            diagnostics.error(entry.value.at,
                              "a header's condition is its value, or true for any value");
            continue;
        }
        const auto value = header_value(entry, diagnostics);
        if (name && (there != nullptr || value)) route.headers.push_back({*name, value});
    }
}

void read_header_edits(const TableReader& route, std::string_view key, HeaderUse use,
                       Diagnostics& diagnostics, contract::HeaderEdits& into) {
    const Value* const edits = route.find(key);
    if (edits == nullptr || edits->table() == nullptr) return;
    TableReader table(edits->table(), diagnostics);
    table.parsed_list(
        "remove", [use](std::string_view text) { return parse_header_name(text, use); },
        into.remove);
    const Value* const set = table.find("set");
    if (set == nullptr || set->table() == nullptr) return;
    for (const Entry& entry : set->table()->entries) {
        const auto name = header_of(entry, use, *set->table(), diagnostics);
        const auto value = header_value(entry, diagnostics);
        if (entry.value.text() == nullptr) {
            diagnostics.error(entry.value.at, "a header is set to a string");
        }
        if (name && value) into.set.emplace_back(*name, *value);
    }
}

void read_conditions(TableReader& table, Diagnostics& diagnostics, Route& route) {
    table.parsed_list("hosts", parse_route_host, route.hosts);
    if (table.has("path_prefix")) route.path_prefix = {};
    table.text("path_prefix", path_prefix_fault, route.path_prefix);
    table.parsed(
        "path", [](std::string_view text) { return checked(text, path_fault); }, route.path);
    if (table.has("path") && table.has("path_prefix")) {
        diagnostics.error(table.find("path")->at,
                          "\"path\" and \"path_prefix\" exclude each other; remove one");
    }
    table.parsed_list("methods", parse_method, route.methods);
    read_header_conditions(table, diagnostics, route);
    table.parsed_list("clients", parse_prefix, route.clients);
    Located<int32_t> priority;
    table.integer("priority", -1000000, 1000000, priority);
    if (priority.at.line > 0) route.priority = priority;
}

void read_client_certificates(TableReader& table, Diagnostics& diagnostics, Route& route) {
    table.path("client_ca_file", route.client_ca.ca_file);
    table.path("client_crl_file", route.client_ca.crl_file);
    table.parsed_list("client_uris", parse_subject_uri, route.certificate.uris);
    table.parsed_list("client_dns", parse_host, route.certificate.dns);
    table.parsed_list("client_emails", parse_subject_email, route.certificate.emails);
    table.parsed_list("client_serials", parse_serial, route.certificate.serials);
    for (const std::string_view key :
         {"client_uris", "client_dns", "client_emails", "client_serials"}) {
        const Value* const list = table.find(key);
        if (list == nullptr) continue;
        if (route.certificate_at.line == 0) route.certificate_at = list->at;
        // An empty list of who may pass is more likely to mean nobody than anybody.
        if (list->array() != nullptr && list->array()->values.empty()) {
            diagnostics.error(list->at, in_quotes(key) +
                                            " is empty; name who may pass, or remove it to let "
                                            "every certificate of the CA pass");
        }
    }
}

void read_auth(TableReader& table, Position at, Diagnostics& diagnostics, Route& route) {
    using contract::AuthMode;
    static constexpr auto kModes = std::to_array<Choice<AuthMode>>({
        {"public", AuthMode::kPublic},
        {"tailscale-only", AuthMode::kTailscaleOnly},
        {"tailscale-bypass", AuthMode::kTailscaleBypass},
        {"mtls-strict", AuthMode::kMtlsStrict},
    });
    // The default is the mode that lets nobody in from outside.
    if (!table.has("auth")) route.auth = {AuthMode::kTailscaleOnly, at};
    Located<AuthMode> auth;
    table.choice<AuthMode>("auth", kModes, auth);
    if (auth.at.line > 0) route.auth = auth;
    table.text("forward_auth", name_fault, route.forward_auth);
    read_client_certificates(table, diagnostics, route);
}

void read_rate_limit(const Value& value, Diagnostics& diagnostics, Route& route) {
    static constexpr auto kEach = std::to_array<Choice<bool>>({
        {"client", true},
        {"route", false},
    });
    if (value.table() == nullptr) return;
    TableReader table(value.table(), diagnostics);
    contract::RateLimit& limit = route.rate_limit.emplace();
    table.require(value.at, "\"rate_limit\"", "requests", "write how many may come, such as 100");
    table.integer("requests", 1, 1000000, limit.requests);
    table.duration("per", limit.per);
    limit.burst = std::max<uint32_t>(limit.requests, 1);
    table.integer("burst", 1, 1000000, limit.burst);
    Located<bool> each{limit.each_client, {}};
    table.choice<bool>("each", kEach, each);
    limit.each_client = each.value;
}

Result<std::string> parse_redirect_host(std::string_view text) {
    if (text.starts_with('[') && text.ends_with(']') &&
        IpAddress::parse(text.substr(1, text.size() - 2))) {
        return std::string(text);
    }
    auto host = parse_host(text);
    if (host && host->starts_with('*')) return fail("write one host, without \"*\"");
    return host;
}

void read_redirect(const Value& value, Diagnostics& diagnostics, Route& route) {
    static constexpr auto kSchemes = std::to_array<Choice<std::string_view>>({
        {"https", "https"},
        {"http", "http"},
    });
    if (value.table() == nullptr) return;
    TableReader table(value.table(), diagnostics);
    contract::Redirect& redirect = route.redirect.emplace();
    Located<std::string_view> scheme;
    table.choice<std::string_view>("scheme", kSchemes, scheme);
    if (scheme.at.line > 0) redirect.scheme = scheme.value;
    Located<std::string> host;
    table.parsed("host", parse_redirect_host, host);
    if (host.at.line > 0) redirect.host = host.value;
    Located<uint16_t> port;
    table.integer("port", 1, 65535, port);
    if (port.at.line > 0) redirect.port = port.value;
    Located<std::string> path;
    table.text("path", path_fault, path);
    if (path.at.line > 0) redirect.path = path.value;
    Located<uint16_t> status{redirect.status, {}};
    table.integer("status", 301, 308, status);
    if (status.value > 303 && status.value < 307) {
        diagnostics.error(status.at, "\"status\" is " + std::to_string(status.value) +
                                         "; it must be 301, 302, 303, 307 or 308");
    }
    redirect.status = status.value;
    if (!table.has("scheme") && !table.has("host") && !table.has("port") && !table.has("path")) {
        diagnostics.error(value.at,
                          "\"redirect\" leads to where the request was; write at least one of "
                          "scheme, host, port and path");
    }
}

// Empty for "/", which adds and takes nothing.
std::string without_root(std::string text) {
    return text == "/" ? std::string() : text;
}

void read_action(TableReader& table, Position at, Diagnostics& diagnostics, Route& route) {
    if (const Value* const redirect = table.find("redirect")) {
        read_redirect(*redirect, diagnostics, route);
        for (const std::string_view key :
             {"backend", "strip_prefix", "add_prefix", "request_headers", "retries"}) {
            const Value* const beside = table.find(key);
            if (beside == nullptr) continue;
            diagnostics.error(beside->at, in_quotes(key) +
                                              " means nothing beside \"redirect\", which answers "
                                              "by itself; remove one of them");
        }
    } else {
        table.require(at, "[[routes]]", "backend",
                      "write the name of one of the [[backends]], or a \"redirect\"");
    }
    table.text("backend", route.backend);
    table.text("strip_prefix", path_prefix_fault, route.strip_prefix);
    route.strip_prefix.value = without_root(route.strip_prefix.value);
    Located<std::string> add;
    table.text("add_prefix", path_prefix_fault, add);
    route.add_prefix = without_root(add.value);
    read_header_edits(table, "request_headers", HeaderUse::kRequestEdit, diagnostics,
                      route.request_headers);
    read_header_edits(table, "response_headers", HeaderUse::kResponseEdit, diagnostics,
                      route.response_headers);
    // 10: who asks more often only makes a bad day worse.
    table.integer("retries", 0, 10, route.retries);
}

}  // namespace

void read_route(const Value& value, Diagnostics& diagnostics, Config& config) {
    static constexpr std::string_view kTable = "[[routes]]";
    TableReader table(value.table(), diagnostics);
    Route& route = config.routes.emplace_back();
    route.at = value.at;
    table.require(value.at, kTable, "name", "every route needs one");
    table.require(value.at, kTable, "hosts",
                  "write the hosts that it serves, such as [\"app.example.org\"]");
    table.text("name", name_fault, route.name);
    read_conditions(table, diagnostics, route);
    read_auth(table, value.at, diagnostics, route);
    if (const Value* const limit = table.find("rate_limit"))
        read_rate_limit(*limit, diagnostics, route);
    Located<uint64_t> body;
    // 2^53: beyond it no number of JSON is exact, and no body is that large.
    table.integer("body_bytes", 0, int64_t{1} << 53, body);
    if (body.at.line > 0) route.body_bytes_max = body.value;
    read_action(table, value.at, diagnostics, route);
}

}  // namespace sluice::config
