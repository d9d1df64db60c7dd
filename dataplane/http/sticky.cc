#include "dataplane/http/sticky.h"

#include <chrono>

#include "dataplane/crypto/blake2s.h"

namespace sluice::http {

namespace {

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

}  // namespace

std::string sticky_token(std::string_view backend, std::string_view server) {
    static constexpr std::string_view kPurpose = "sluice sticky cookie";
    const crypto::Hash key = crypto::blake2s({as_bytes(kPurpose), as_bytes(backend)});
    const crypto::Mac mac = crypto::blake2s_mac(key, {as_bytes(server)});
    std::string token;
    for (size_t i = 0; i < 8; ++i) {
        token += "0123456789abcdef"[mac[i] >> 4];
        token += "0123456789abcdef"[mac[i] & 15];
    }
    return token;
}

std::string_view cookie_value(const wire::Http1RequestHead& head, std::string_view name) {
    for (const wire::Http1Field& field : head.fields) {
        if (!wire::equals_ignoring_case(field.name, "cookie")) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const size_t end = std::min(rest.find(';'), rest.size());
            const std::string_view pair = trimmed(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
            if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
                return pair.substr(name.size() + 1);
        }
    }
    return {};
}

std::string sticky_cookie(const contract::StickyCookie& cookie, std::string_view token) {
    std::string text = cookie.name + "=";
    text.append(token).append("; Path=/");
    if (cookie.max_age > Duration::zero()) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(cookie.max_age);
        text += "; Max-Age=" + std::to_string(seconds.count());
    }
    if (cookie.http_only) text += "; HttpOnly";
    if (cookie.secure) text += "; Secure";
    if (!cookie.same_site.empty()) text += "; SameSite=" + cookie.same_site;
    return text;
}

}  // namespace sluice::http
