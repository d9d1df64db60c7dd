#include "dataplane/http/authority.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "dataplane/base/ip.h"

namespace sluice::http {

namespace {

bool is_host_byte(char c) {
    // The underscore is no host name character, but resolvers and Kubernetes service names know it.
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// Digits after the colon; none at all is the same as no colon (RFC 3986 section 3.2.3).
std::optional<uint16_t> parse_port(std::string_view digits) {
    if (digits.size() > 5) return std::nullopt;
    uint32_t port = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9') return std::nullopt;
        port = port * 10 + static_cast<uint32_t>(c - '0');
    }
    if (port > 65535 || (port == 0 && !digits.empty())) return std::nullopt;
    return static_cast<uint16_t>(port);
}

// Writes the host into storage; its length, or nothing if it is none.
std::optional<size_t> write_host(std::string_view host, AuthorityStorage& storage) {
    if (host.size() > 1 && host.back() == '.') host.remove_suffix(1);
    if (host.empty() || host.size() > kHostMax || host.front() == '.' || host.back() == '.')
        return std::nullopt;
    char previous = '\0';
    for (size_t i = 0; i < host.size(); ++i) {
        const char c =
            host[i] >= 'A' && host[i] <= 'Z' ? static_cast<char>(host[i] | 0x20) : host[i];
        if (!is_host_byte(c) || (c == '.' && previous == '.')) return std::nullopt;
        storage[i] = previous = c;
    }
    return host.size();
}

std::optional<size_t> write_ipv6(std::string_view bracketed, AuthorityStorage& storage) {
    const auto address = IpAddress::parse(bracketed.substr(1, bracketed.size() - 2));
    if (!address || !address->is_v6()) return std::nullopt;
    const std::string text = "[" + address->text() + "]";
    std::memcpy(storage.data(), text.data(), text.size());
    return text.size();
}

}  // namespace

std::expected<Authority, wire::Http1Fault> parse_authority(std::string_view text,
                                                           AuthorityStorage& storage) {
    const auto syntax = std::unexpected(wire::Http1Fault::kHostSyntax);
    const bool bracketed = !text.empty() && text.front() == '[';
    const size_t host_end = bracketed ? text.find(']') + 1 : std::min(text.find(':'), text.size());
    if (host_end == 0) return syntax;  // no closing bracket, or nothing
    const std::string_view host = text.substr(0, host_end);
    std::string_view rest = text.substr(host_end);

    const auto size = bracketed ? write_ipv6(host, storage) : write_host(host, storage);
    if (!size) return syntax;
    std::optional<uint16_t> port = 0;
    if (!rest.empty()) {
        if (rest.front() != ':') return syntax;
        port = parse_port(rest.substr(1));
        if (!port) return syntax;
    }

    Authority authority;
    authority.host = {storage.data(), *size};
    authority.port = *port;
    size_t end = *size;
    if (*port != 0) {
        storage[end++] = ':';
        end = static_cast<size_t>(
            std::to_chars(storage.data() + end, storage.data() + storage.size(), *port).ptr -
            storage.data());
    }
    authority.text = {storage.data(), end};
    return authority;
}

}  // namespace sluice::http
