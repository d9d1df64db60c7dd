#include "control/config/http_forms.h"

#include <algorithm>
#include <array>
#include <utility>

#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

bool is_visible(char c) {
    return static_cast<uint8_t>(c) > 0x20 && static_cast<uint8_t>(c) < 0x7f;
}

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return is_letter_or_digit(c) ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}

std::string in_lower_case(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return result;
}

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// Whoever could write these could decide where a message ends, or what a connection is used for.
constexpr std::array<std::string_view, 14> kOfTheConnection = {"connection",
                                                               "content-length",
                                                               "expect",
                                                               "host",
                                                               "http2-settings",
                                                               "keep-alive",
                                                               "proxy-connection",
                                                               "proxy-authorization",
                                                               "proxy-authenticate",
                                                               "te",
                                                               "trailer",
                                                               "transfer-encoding",
                                                               "upgrade",
                                                               "proxy-authentication-info"};

bool says_who_is_calling(std::string_view name) {
    static constexpr std::array<std::string_view, 6> kNames = {
        "forwarded", "proxy", "x-original-url", "x-real-ip", "x-rewrite-url", "x-scheme"};
    static constexpr std::array<std::string_view, 5> kFamilies = {
        "x-forwarded-", "x-sluice-", "tailscale-", "ssl-client-", "x-ssl-client-"};
    return is_one_of(name, kNames) ||
           std::any_of(kFamilies.begin(), kFamilies.end(),
                       [name](std::string_view family) { return name.starts_with(family); });
}

// What OAuth proxies say of the user who signed in. These belong to the X-Forwarded family by their
// name only: they say nothing of the connection.
bool says_who_signed_in(std::string_view name) {
    static constexpr std::array<std::string_view, 5> kNames = {
        "x-forwarded-access-token", "x-forwarded-email", "x-forwarded-groups",
        "x-forwarded-preferred-username", "x-forwarded-user"};
    return is_one_of(name, kNames);
}

// A name that is an address gone wrong ("127.0.0.1.2", "300.1.1.1") would be looked up for ever;
// no top-level domain is a number.
bool looks_like_an_address(std::string_view host) {
    const std::string_view last = host.substr(host.rfind('.') + 1);
    return std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<uint16_t> parse_port(std::string_view text) {
    uint32_t port = 0;
    const bool digits =
        !text.empty() && text.size() <= 5 &&
        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    for (const char c : digits ? text : std::string_view())
        port = port * 10 + static_cast<uint32_t>(c - '0');
    if (port == 0 || port > 65535) return fail("write a port from 1 to 65535");
    return static_cast<uint16_t>(port);
}

// "HOST[:PORT]" into `server`.
Result<void> parse_authority(std::string_view authority, uint16_t default_port,
                             contract::ServerConfig& server) {
    std::optional<Endpoint> endpoint = Endpoint::parse(authority);
    if (!endpoint) {
        endpoint = Endpoint::parse(std::string(authority) + ":" + std::to_string(default_port));
    }
    if (endpoint) {
        if (endpoint->port == 0) return fail("port 0 cannot be connected to");
        server.address = *endpoint;
        server.host = authority;
        return {};
    }
    const size_t colon = authority.find(':');
    uint16_t port = default_port;
    if (colon != std::string_view::npos) {
        const auto written = parse_port(authority.substr(colon + 1));
        if (!written) return std::unexpected(written.error());
        port = *written;
    }
    const auto host = parse_host(authority.substr(0, colon));
    if (!host || host->starts_with('*') || looks_like_an_address(*host)) {
        return fail(
            "write an address or a name and a port, such as \"http://127.0.0.1:8080\", "
            "\"http://[::1]:8080\" or \"https://app.example\"");
    }
    server.dns_name = *host;
    server.address.port = port;
    server.host = *host;
    if (colon != std::string_view::npos) server.host += authority.substr(colon);
    return {};
}

Result<void> parse_socket_path(std::string_view path, contract::ServerConfig& server) {
    // 107: sockaddr_un holds 108 bytes with the closing zero.
    if (!path.starts_with('/') || path.size() > 107 || path.find('\0') != std::string_view::npos) {
        return fail("write the socket's absolute path, such as \"unix:/run/app.sock\"");
    }
    server.kind = contract::ServerKind::kUnix;
    server.unix_path = path;
    // A Host header there must be (RFC 9112 section 3.2), and a path is none.
    server.host = "localhost";
    return {};
}

constexpr std::string_view kUnix = "unix:";

}  // namespace

Result<contract::ServerConfig> parse_server_url(std::string_view text) {
    static constexpr std::string_view kHttp = "http://";
    static constexpr std::string_view kHttps = "https://";
    contract::ServerConfig server;
    server.url = text;
    if (text == "builtin:welcome") {
        server.kind = contract::ServerKind::kWelcome;
        return server;
    }
    Result<void> parsed;
    if (text.starts_with(kUnix)) {
        parsed = parse_socket_path(text.substr(kUnix.size()), server);
    } else if (text.starts_with(kHttp) || text.starts_with(kHttps)) {
        const bool tls = text.starts_with(kHttps);
        std::string_view authority = text.substr(tls ? kHttps.size() : kHttp.size());
        if (authority.ends_with('/')) authority.remove_suffix(1);
        if (authority.find_first_of("/?#@") != std::string_view::npos) {
            return fail("a server is a host and a port only; a path or user has no place in it");
        }
        server.kind = tls ? contract::ServerKind::kHttps : contract::ServerKind::kHttp;
        parsed = parse_authority(authority, tls ? 443 : 80, server);
    } else {
        return fail(
            "write \"http://HOST:PORT\", \"https://HOST:PORT\", \"unix:/PATH\" or "
            "\"builtin:welcome\"");
    }
    if (!parsed) return std::unexpected(parsed.error());
    return server;
}

Result<ServiceUrl> parse_service_url(std::string_view text) {
    const bool socket = text.starts_with(kUnix);
    if (!socket && !text.starts_with("http://") && !text.starts_with("https://")) {
        return fail(
            "write the URL that is asked, such as \"http://127.0.0.1:4180/oauth2/auth\" or "
            "\"unix:/run/auth.sock:/verify\"");
    }
    // The path begins behind the authority, or behind the colon that ends a socket's path.
    size_t path = socket ? text.find(":/", kUnix.size()) : text.find_first_of("/?#", 8);
    ServiceUrl url;
    const auto server = parse_server_url(text.substr(0, path));
    if (!server) return std::unexpected(server.error());
    url.server = *server;
    url.server.url = text;
    if (socket && path != std::string_view::npos) ++path;
    url.path = path == std::string_view::npos ? "/" : std::string(text.substr(path));
    if (url.path.starts_with('?')) url.path.insert(0, "/");
    if (std::string fault = path_and_query_fault(url.path); !fault.empty()) {
        return fail(std::move(fault));
    }
    return url;
}

Result<std::string> parse_header_name(std::string_view text, HeaderUse use) {
    if (!is_token(text)) {
        return fail("a header's name holds letters, digits and \"-\", such as \"x-team\"");
    }
    std::string name = in_lower_case(text);
    // Many servers make one variable of "X-Real-IP" and "X_Real_IP".
    std::string plain = name;
    std::replace(plain.begin(), plain.end(), '_', '-');
    if (is_one_of(plain, kOfTheConnection)) {
        return fail("this header belongs to the connection; Sluice writes it by itself");
    }
    const bool response = use == HeaderUse::kResponseEdit;
    const bool signed_in = use == HeaderUse::kFromForwardAuth && says_who_signed_in(plain);
    if (!response && !signed_in && says_who_is_calling(plain)) {
        return fail(
            "this header tells servers who is calling; Sluice writes it by itself and removes it "
            "from what clients send");
    }
    return name;
}

std::string header_value_fault(std::string_view text) {
    // RFC 9110 section 5.5, without the bytes above ASCII, which servers read differently.
    const bool plain = std::all_of(text.begin(), text.end(),
                                   [](char c) { return is_visible(c) || c == ' ' || c == '\t'; });
    if (!plain) return "a header's value holds only visible ASCII characters and spaces";
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    if (!text.empty() && (blank(text.front()) || blank(text.back()))) {
        return "a header's value neither begins nor ends with a space";
    }
    return {};
}

std::string token_fault(std::string_view text) {
    return is_token(text) ? "" : "write a word of letters, digits and \"-\" or \"_\"";
}

std::string signin_url_fault(std::string_view text) {
    const bool absolute = text.starts_with("https://") || text.starts_with("http://");
    // "//host" and "/\host" are other hosts for a browser.
    const bool path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    if (!absolute && !path) {
        return "write a URL, such as \"https://login.example.org/start\", or a path on the "
               "host that was asked for, such as \"/oauth2/sign_in\"";
    }
    if (!std::all_of(text.begin(), text.end(), is_visible)) {
        return "a URL holds only visible ASCII characters; write others as %XX";
    }
    return {};
}

std::string path_fault(std::string_view text) {
    if (!text.starts_with('/')) return "a path begins with \"/\"";
    for (const char c : text) {
        if (!is_visible(c)) {
            return "a path holds only visible ASCII characters; write others as %XX";
        }
        if (c == '?' || c == '#') return "a path ends before \"?\" and \"#\"";
    }
    if (text.find("//") != std::string_view::npos) return "an empty segment (\"//\") never matches";
    const std::string closed = std::string(text) + "/";
    if (closed.find("/./") != std::string::npos || closed.find("/../") != std::string::npos) {
        return "a segment \".\" or \"..\" never matches";
    }
    return {};
}

std::string path_and_query_fault(std::string_view text) {
    if (std::string fault = path_fault(text.substr(0, text.find('?'))); !fault.empty()) {
        return fault;
    }
    const bool visible = std::all_of(text.begin(), text.end(), is_visible);
    if (visible && text.find('#') == std::string_view::npos) return {};
    return "a query holds only visible ASCII characters and no \"#\"";
}

std::string path_prefix_fault(std::string_view text) {
    if (!text.starts_with('/')) return "a path prefix begins with \"/\"";
    if (text != "/" && text.ends_with('/')) {
        return "write it without the \"/\" at its end; it matches whole segments: "
               "\"/a\" means \"/a\" and all below it";
    }
    return path_fault(text);
}

Result<std::string> parse_subject_uri(std::string_view text) {
    const size_t colon = text.find(':');
    if (colon == 0 || colon == std::string_view::npos ||
        !std::all_of(text.begin(), text.end(), is_visible)) {
        return fail("write a URI, such as \"spiffe://example.org/ci\"");
    }
    return std::string(text);
}

Result<std::string> parse_subject_email(std::string_view text) {
    const size_t at = text.rfind('@');
    if (at == 0 || at == std::string_view::npos ||
        !std::all_of(text.begin(), text.end(), is_visible)) {
        return fail("write an e-mail address, such as \"ann@example.org\"");
    }
    const auto host = parse_host(text.substr(at + 1));
    if (!host || host->starts_with('*')) {
        return fail("write an e-mail address, such as \"ann@example.org\"");
    }
    return std::string(text.substr(0, at + 1)) + *host;
}

Result<std::string> parse_serial(std::string_view text) {
    std::string digits = in_lower_case(text);
    std::erase(digits, ':');
    const bool hexadecimal = std::all_of(digits.begin(), digits.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
    // 40 digits: RFC 5280 section 4.1.2.2 has at most 20 bytes.
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    if (!hexadecimal || digits.empty() || digits.size() > 40) {
        return fail("write the serial number in hexadecimal, as `openssl x509 -serial` prints it");
    }
    return digits;
}

}  // namespace sluice::config
