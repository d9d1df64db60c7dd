#include "control/config/keys.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace sluice::config {

namespace {

constexpr auto kKeys = std::to_array<Key>({
    {"node", Kind::kTable},
    {"node.name", Kind::kText},
    {"node.ip", Kind::kText},
    {"node.state_dir", Kind::kText},
    {"node.workers", Kind::kInteger},

    {"io", Kind::kTable},
    {"io.engine", Kind::kText},
    {"io.packet", Kind::kText},

    {"wireguard", Kind::kTable},
    {"wireguard.interface", Kind::kText},
    {"wireguard.private_key_file", Kind::kText},
    {"wireguard.addresses", Kind::kTexts},
    {"wireguard.listen_port", Kind::kTextOrInteger},
    {"wireguard.base_port", Kind::kInteger},
    {"wireguard.mtu", Kind::kInteger},
    {"wireguard.peers", Kind::kTables},
    {"wireguard.peers.name", Kind::kText},
    {"wireguard.peers.public_key", Kind::kText},
    {"wireguard.peers.preshared_key_file", Kind::kText},
    {"wireguard.peers.allowed_ips", Kind::kTexts},
    {"wireguard.peers.endpoint", Kind::kText},
    {"wireguard.peers.persistent_keepalive", Kind::kInteger},

    {"listeners", Kind::kTables},
    {"listeners.name", Kind::kText},
    {"listeners.address", Kind::kText},
    {"listeners.scope", Kind::kText},
    {"listeners.protocol", Kind::kText},
    {"listeners.redirect_to_https", Kind::kBooleanOrInteger},
    {"listeners.proxy_protocol_from", Kind::kTexts},

    {"tls", Kind::kTable},
    {"tls.min_version", Kind::kText},
    {"tls.ktls", Kind::kText},
    {"tls.client_ca_file", Kind::kText},
    {"tls.client_crl_file", Kind::kText},

    {"certificates", Kind::kTables},
    {"certificates.hosts", Kind::kTexts},
    {"certificates.cert_file", Kind::kText},
    {"certificates.key_file", Kind::kText},
    {"certificates.ocsp_file", Kind::kText},
    {"certificates.source", Kind::kText, "certificates from a CA"},

    {"forward_auth", Kind::kTables},
    {"forward_auth.name", Kind::kText},
    {"forward_auth.address", Kind::kText},
    {"forward_auth.ca_file", Kind::kText},
    {"forward_auth.response_headers", Kind::kTexts},
    {"forward_auth.request_headers", Kind::kTexts},
    {"forward_auth.response_cookies", Kind::kTexts},
    {"forward_auth.signin_url", Kind::kText},
    {"forward_auth.forward_body", Kind::kInteger},
    {"forward_auth.preserve_method", Kind::kBoolean},
    {"forward_auth.answer_bytes", Kind::kInteger},
    {"forward_auth.timeout", Kind::kText},

    {"routes", Kind::kTables},
    {"routes.name", Kind::kText},
    {"routes.hosts", Kind::kTexts},
    {"routes.path_prefix", Kind::kText},
    {"routes.path", Kind::kText},
    {"routes.methods", Kind::kTexts},
    {"routes.headers", Kind::kHeaders},
    {"routes.clients", Kind::kTexts},
    {"routes.priority", Kind::kInteger},
    {"routes.auth", Kind::kText},
    {"routes.forward_auth", Kind::kText},
    {"routes.client_ca_file", Kind::kText},
    {"routes.client_crl_file", Kind::kText},
    {"routes.client_uris", Kind::kTexts},
    {"routes.client_dns", Kind::kTexts},
    {"routes.client_emails", Kind::kTexts},
    {"routes.client_serials", Kind::kTexts},
    {"routes.rate_limit", Kind::kTable},
    {"routes.rate_limit.requests", Kind::kInteger},
    {"routes.rate_limit.per", Kind::kText},
    {"routes.rate_limit.burst", Kind::kInteger},
    {"routes.rate_limit.each", Kind::kText},
    {"routes.body_bytes", Kind::kInteger},
    {"routes.retries", Kind::kInteger},
    {"routes.redirect", Kind::kTable},
    {"routes.redirect.scheme", Kind::kText},
    {"routes.redirect.host", Kind::kText},
    {"routes.redirect.port", Kind::kInteger},
    {"routes.redirect.path", Kind::kText},
    {"routes.redirect.status", Kind::kInteger},
    {"routes.strip_prefix", Kind::kText},
    {"routes.add_prefix", Kind::kText},
    {"routes.request_headers", Kind::kTable},
    {"routes.request_headers.set", Kind::kHeaders},
    {"routes.request_headers.remove", Kind::kTexts},
    {"routes.response_headers", Kind::kTable},
    {"routes.response_headers.set", Kind::kHeaders},
    {"routes.response_headers.remove", Kind::kTexts},
    {"routes.backend", Kind::kText},

    {"backends", Kind::kTables},
    {"backends.name", Kind::kText},
    {"backends.balance", Kind::kText},
    {"backends.protocol", Kind::kText},
    {"backends.pass_host", Kind::kBoolean},
    {"backends.connect_timeout", Kind::kText},
    {"backends.response_timeout", Kind::kText},
    {"backends.idle_timeout", Kind::kText},
    {"backends.sticky", Kind::kBooleanOrTable},
    {"backends.sticky.name", Kind::kText},
    {"backends.sticky.secure", Kind::kBoolean},
    {"backends.sticky.http_only", Kind::kBoolean},
    {"backends.sticky.same_site", Kind::kText},
    {"backends.sticky.max_age", Kind::kText},
    {"backends.health", Kind::kTable},
    {"backends.health.path", Kind::kText},
    {"backends.health.host", Kind::kText},
    {"backends.health.interval", Kind::kText},
    {"backends.health.timeout", Kind::kText},
    {"backends.health.healthy_after", Kind::kInteger},
    {"backends.health.unhealthy_after", Kind::kInteger},
    {"backends.ejection", Kind::kTable},
    {"backends.ejection.failures", Kind::kInteger},
    {"backends.ejection.rest", Kind::kText},
    {"backends.ejection.slow_start", Kind::kText},
    {"backends.servers", Kind::kTables},
    {"backends.servers.url", Kind::kText},
    {"backends.servers.weight", Kind::kInteger},
    {"backends.servers.ca_file", Kind::kText},
    {"backends.servers.server_name", Kind::kText},
    {"backends.servers.verify", Kind::kBoolean},
    {"backends.servers.cert_file", Kind::kText},
    {"backends.servers.key_file", Kind::kText},

    {"offloads", Kind::kTable},
    {"offloads.udp_gso", Kind::kSwitch},
    {"offloads.udp_gro", Kind::kSwitch},
    {"offloads.tun_tso", Kind::kSwitch},
    {"offloads.tun_uso", Kind::kSwitch},
    {"offloads.tcp_coalescing", Kind::kSwitch},
    {"offloads.udp_coalescing", Kind::kSwitch},
    {"offloads.aead", Kind::kText},

    {"limits", Kind::kTable},
    {"limits.head_bytes", Kind::kInteger},
    {"limits.headers", Kind::kInteger},
    {"limits.head_timeout", Kind::kText},
    {"limits.idle_timeout", Kind::kText},
    {"limits.progress_timeout", Kind::kText},
    {"limits.connections", Kind::kInteger},
    {"limits.handshake_timeout", Kind::kText},
    {"limits.connections_per_client", Kind::kInteger},
    {"limits.handshakes_per_client", Kind::kInteger},
    {"limits.streams", Kind::kInteger},

    {"dpdk", Kind::kTable, "DPDK"},
    {"dpdk.devices", Kind::kTexts},
    {"dpdk.fallback", Kind::kBoolean},

    {"control", Kind::kTable},
    {"control.socket", Kind::kText},

    {"metrics", Kind::kTable},
    {"metrics.listen", Kind::kText, "the metrics listener"},

    {"log", Kind::kTable},
    {"log.level", Kind::kText},
    {"log.access", Kind::kText},
});

std::string_view wanted(Kind kind) {
    switch (kind) {
        case Kind::kTable:
            return "a table";
        case Kind::kTables:
            return "a list of tables";
        case Kind::kText:
            return "a string";
        case Kind::kTexts:
            return "a list of strings";
        case Kind::kInteger:
            return "a whole number";
        case Kind::kBoolean:
            return "true or false";
        case Kind::kTextOrInteger:
            return "a string or a whole number";
        case Kind::kSwitch:
            return "\"auto\", true or false";
        case Kind::kBooleanOrInteger:
            return "true, false or a whole number";
        case Kind::kBooleanOrTable:
            return "true, false or a table";
        case Kind::kHeaders:
            return "a table of header names, such as { x-team = \"blue\" }";
    }
    return "another type";
}

const Key* find_key(std::string_view path) {
    const auto found = std::find_if(kKeys.begin(), kKeys.end(),
                                    [path](const Key& key) { return key.path == path; });
    return found == kKeys.end() ? nullptr : &*found;
}

std::string_view parent_of(std::string_view path) {
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::string_view name_of(std::string_view path) {
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

// Edits (insert, remove, replace) that turn one word into the other: Levenshtein, 1966.
size_t distance(std::string_view from, std::string_view to) {
    std::vector<size_t> row(to.size() + 1);
    for (size_t i = 0; i <= to.size(); ++i)
        row[i] = i;
    for (size_t i = 1; i <= from.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= to.size(); ++j) {
            const size_t replace = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[to.size()];
}

// " [wireguard]", " [[routes]]", or nothing at the top of the file.
std::string place(std::string_view path) {
    if (path.empty()) return " at the top of the file";
    const Key* const key = find_key(path);
    const std::string name(path);
    return key->kind == Kind::kTables ? " in [[" + name + "]]" : " in [" + name + "]";
}

std::string suggestion(std::string_view table, std::string_view unknown) {
    const Key* closest = nullptr;
    // Beyond a third of the word two names only share a few letters by accident.
    size_t closest_distance = std::max<size_t>(2, unknown.size() / 3) + 1;
    for (const Key& key : kKeys) {
        if (parent_of(key.path) != table) continue;
        // A very long key is nobody's typing mistake, and comparing it would cost its length.
        if (unknown.size() > 64) break;
        const size_t edits = distance(unknown, name_of(key.path));
        if (edits < closest_distance) {
            closest = &key;
            closest_distance = edits;
        }
    }
    if (closest != nullptr) return "did you mean " + in_quotes(name_of(closest->path)) + "?";
    std::string known;
    for (const Key& key : kKeys) {
        if (parent_of(key.path) != table) continue;
        if (!known.empty()) known += ", ";
        known += name_of(key.path);
    }
    return "known here: " + known;
}

void check_table(const Table& table, std::string_view path, Diagnostics& diagnostics);

void check_entry(const Entry& entry, const Key& key, Diagnostics& diagnostics) {
    if (!fits(entry.value, key.kind)) {
        diagnostics.error(entry.value.at, in_quotes(entry.key) + " is " +
                                              std::string(kind_of(entry.value)) + "; it must be " +
                                              std::string(wanted(key.kind)));
        return;
    }
    if (!key.not_yet.empty()) {
        diagnostics.error(entry.at, "not yet: " + in_quotes(entry.key) + " (" +
                                        std::string(key.not_yet) +
                                        ") is not built into this version; remove it");
    }
    const Table* const table = entry.value.table();
    if (table != nullptr && key.kind != Kind::kHeaders) {
        check_table(*table, key.path, diagnostics);
    }
    if (key.kind == Kind::kTables) {
        for (const Value& element : entry.value.array()->values) {
            check_table(*element.table(), key.path, diagnostics);
        }
    }
}

void check_table(const Table& table, std::string_view path, Diagnostics& diagnostics) {
    for (const Entry& entry : table.entries) {
        std::string full(path);
        if (!full.empty()) full += '.';
        full += entry.key;
        // A quoted key may hold dots; it must not pass for a path of several keys.
        const bool plain = entry.key.find('.') == std::string::npos;
        const Key* const key = plain ? find_key(full) : nullptr;
        if (key != nullptr) {
            check_entry(entry, *key, diagnostics);
        } else {
            diagnostics.error(entry.at, "unknown key " + in_quotes(entry.key) + place(path) + "; " +
                                            suggestion(path, entry.key));
        }
    }
}

}  // namespace

std::span<const Key> known_keys() {
    return kKeys;
}

std::string_view kind_of(const Value& value) {
    if (value.table() != nullptr) return "a table";
    if (value.array() != nullptr) return "a list";
    if (value.text() != nullptr) return "a string";
    if (value.integer() != nullptr) return "a whole number";
    if (value.boolean() != nullptr) return "a boolean";
    return std::get<Unused>(value.content).kind;
}

bool fits(const Value& value, Kind kind) {
    const auto all = [&value](auto has_type) {
        const Array* const array = value.array();
        return array != nullptr &&
               std::all_of(array->values.begin(), array->values.end(), has_type);
    };
    switch (kind) {
        case Kind::kTable:
            return value.table() != nullptr;
        case Kind::kTables:
            return all([](const Value& v) { return v.table() != nullptr; });
        case Kind::kText:
            return value.text() != nullptr;
        case Kind::kTexts:
            return all([](const Value& v) { return v.text() != nullptr; });
        case Kind::kInteger:
            return value.integer() != nullptr;
        case Kind::kBoolean:
            return value.boolean() != nullptr;
        case Kind::kTextOrInteger:
            return value.text() != nullptr || value.integer() != nullptr;
        case Kind::kSwitch:
            return value.text() != nullptr || value.boolean() != nullptr;
        case Kind::kBooleanOrInteger:
            return value.boolean() != nullptr || value.integer() != nullptr;
        case Kind::kBooleanOrTable:
            return value.boolean() != nullptr || value.table() != nullptr;
        case Kind::kHeaders:
            return value.table() != nullptr;
    }
    return false;
}

void check_shape(const Table& document, Diagnostics& diagnostics) {
    check_table(document, {}, diagnostics);
}

}  // namespace sluice::config
