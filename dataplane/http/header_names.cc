#include "dataplane/http/header_names.h"

#include <array>
#include <cstddef>
#include <iterator>

namespace sluice::http {

namespace {

struct Known {
    std::string_view text;  // lower case
    HeaderName name;
};

// By length, so that a header is compared with the two or three names that it could be.
constexpr Known kKnown[] = {
    {"te", HeaderName::kHopByHop},
    {"host", HeaderName::kHost},
    {"date", HeaderName::kDate},
    // CGI programs find the value of "Proxy" in HTTP_PROXY, the variable that names their proxy.
    {"proxy", HeaderName::kIdentity},
    {"expect", HeaderName::kExpect},
    {"upgrade", HeaderName::kHopByHop},
    {"trailer", HeaderName::kTrailer},
    {"x-scheme", HeaderName::kIdentity},
    {"forwarded", HeaderName::kIdentity},
    {"x-real-ip", HeaderName::kIdentity},
    {"connection", HeaderName::kConnection},
    {"keep-alive", HeaderName::kHopByHop},
    // Frameworks that believe these route by another path than the one that was authorised.
    {"x-rewrite-url", HeaderName::kIdentity},
    {"content-length", HeaderName::kContentLength},
    {"http2-settings", HeaderName::kHopByHop},
    {"x-original-url", HeaderName::kIdentity},
    {"proxy-connection", HeaderName::kHopByHop},
    {"transfer-encoding", HeaderName::kTransferEncoding},
    {"proxy-authenticate", HeaderName::kHopByHop},
    {"proxy-authorization", HeaderName::kHopByHop},
    {"proxy-authentication-info", HeaderName::kHopByHop},
};

constexpr bool is_sorted_by_length() {
    for (size_t i = 1; i < std::size(kKnown); ++i)
        if (kKnown[i - 1].text.size() > kKnown[i].text.size()) return false;
    return true;
}
static_assert(is_sorted_by_length());

constexpr std::string_view kIdentityFamilies[] = {"x-forwarded-", "x-sluice-", "tailscale-",
                                                  "ssl-client-", "x-ssl-client-"};

constexpr std::array<char, 256> make_fold_table() {
    std::array<char, 256> table{};
    for (unsigned c = 0; c < 256; ++c)
        table[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    table['_'] = '-';
    return table;
}
constexpr std::array<char, 256> kFold = make_fold_table();

constexpr size_t kLongest = std::size(kKnown[std::size(kKnown) - 1].text);

// Where the names of a length begin in kKnown.
constexpr std::array<uint8_t, kLongest + 2> make_index() {
    std::array<uint8_t, kLongest + 2> index{};
    size_t known = 0;
    for (size_t length = 0; length < index.size(); ++length) {
        while (known < std::size(kKnown) && kKnown[known].text.size() < length)
            ++known;
        index[length] = static_cast<uint8_t>(known);
    }
    return index;
}
constexpr std::array<uint8_t, kLongest + 2> kByLength = make_index();

// Every byte that begins a name or family above.
constexpr bool begins_any(char first) {
    for (const Known& known : kKnown)
        if (known.text.front() == first) return true;
    for (const std::string_view family : kIdentityFamilies)
        if (family.front() == first) return true;
    return false;
}
constexpr std::array<bool, 256> make_first_table() {
    std::array<bool, 256> table{};
    for (unsigned c = 0; c < 256; ++c)
        table[c] = begins_any(kFold[c]);
    return table;
}
constexpr std::array<bool, 256> kFirst = make_first_table();

bool folds_to(std::string_view name, std::string_view lower) {
    for (size_t i = 0; i < lower.size(); ++i) {
        if (kFold[static_cast<uint8_t>(name[i])] != lower[i]) return false;
    }
    return true;
}

HeaderName look_up(std::string_view name) {
    if (name.empty() || !kFirst[static_cast<uint8_t>(name.front())]) return HeaderName::kOther;
    if (name.size() <= kLongest) {
        for (size_t i = kByLength[name.size()]; i < kByLength[name.size() + 1]; ++i) {
            if (folds_to(name, kKnown[i].text)) return kKnown[i].name;
        }
    }
    for (const std::string_view family : kIdentityFamilies) {
        if (name.size() >= family.size() && folds_to(name, family)) return HeaderName::kIdentity;
    }
    return HeaderName::kOther;
}

}  // namespace

NamedHeader recognise(std::string_view name) {
    NamedHeader header{look_up(name), false};
    if (header.name != HeaderName::kOther)
        header.disguised = name.find('_') != std::string_view::npos;
    return header;
}

}  // namespace sluice::http
