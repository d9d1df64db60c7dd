#include "dataplane/http/trailers.h"

#include <algorithm>

#include "dataplane/base/bytes.h"
#include "dataplane/http/connection_options.h"
#include "dataplane/http/header_names.h"
#include "dataplane/wire/http1_writer.h"

namespace sluice::http {

namespace {

// Those of RFC 9110 section 6.5.1 that header_names does not know anyway: request modifiers,
// authentication, response controls, the content's format; and what frameworks take for the method.
constexpr std::string_view kForbidden[] = {
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "www-authenticate",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
};

// Case does not count, and an underscore is as good as a hyphen.
bool is_same(std::string_view name, std::string_view lower) {
    return std::ranges::equal(name, lower, [](char a, char b) {
        const auto fold = [](char c) {
            if (c == '_') return '-';
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
        };
        return fold(a) == fold(b);
    });
}

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

bool may_be_trailer(std::string_view name, const TrailerRules& rules) {
    if (recognise(name).name != HeaderName::kOther) return false;
    const auto same = [name](std::string_view other) { return is_same(name, other); };
    if (std::ranges::any_of(kForbidden, same)) return false;
    if (std::ranges::any_of(rules.reserved, same)) return false;
    if (rules.edits == nullptr) return true;
    return std::ranges::none_of(rules.edits->remove, same) &&
           std::ranges::none_of(rules.edits->set, same,
                                [](const auto& set) { return std::string_view(set.first); });
}

bool accepts_trailers(const wire::Http1RequestHead& head) {
    for (const wire::Http1Field& field : head.fields) {
        if (!wire::equals_ignoring_case(field.name, "te")) continue;
        for (std::string_view rest = field.value; !rest.empty();) {
            const size_t comma = rest.find(',');
            if (wire::equals_ignoring_case(trimmed(rest.substr(0, comma)), "trailers")) return true;
            rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
        }
    }
    return false;
}

bool may_be_trailer_list(std::string_view value) {
    ConnectionOptions names(value);
    while (const auto name = names.next())
        if (!may_be_trailer(*name, {})) return false;
    return !names.malformed();
}

std::string write_trailers(std::string_view came, const TrailerRules& rules) {
    std::string lines;
    while (!came.empty()) {
        const size_t end = came.find("\r\n");
        const std::string_view line = came.substr(0, end);
        came = end == std::string_view::npos ? std::string_view() : came.substr(end + 2);
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, colon);
        if (!may_be_trailer(name, rules)) continue;
        const std::string_view value = trimmed(line.substr(colon + 1));
        const size_t before = lines.size();
        lines.resize(before + name.size() + value.size() + std::string_view(": \r\n").size());
        const MutableBytes into(reinterpret_cast<uint8_t*>(lines.data()) + before,
                                lines.size() - before);
        wire::Http1HeadWriter writer(into);
        writer.field(name, value);
        if (!writer.ok()) lines.resize(before);
    }
    return lines;
}

}  // namespace sluice::http
