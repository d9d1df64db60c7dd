#include "control/config/text_forms.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

namespace sluice::config {

namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_label(std::string_view label) {
    // 63: RFC 1035 section 2.3.4. '_' is no host name by RFC 952, but names in use have it.
    if (label.empty() || label.size() > 63) return false;
    if (label.front() == '-' || label.back() == '-') return false;
    return std::all_of(label.begin(), label.end(),
                       [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
    return parse_duration(text, std::chrono::hours(24));
}

Result<Duration> parse_duration(std::string_view text, std::chrono::hours most) {
    static constexpr auto kUnits = std::to_array<std::pair<std::string_view, Duration>>({
        {"ms", std::chrono::milliseconds(1)},
        {"s", std::chrono::seconds(1)},
        {"m", std::chrono::minutes(1)},
        {"h", std::chrono::hours(1)},
    });
    int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
    const auto found = std::find_if(kUnits.begin(), kUnits.end(),
                                    [unit](const auto& known) { return known.first == unit; });
    if (error != std::errc() || found == kUnits.end()) {
        return fail("write a whole number and ms, s, m or h, such as \"250ms\", \"5s\" or \"2m\"");
    }
    if (count <= 0 || count > most / found->second) {
        return fail("write a duration from \"1ms\" to \"" + std::to_string(most.count()) + "h\"");
    }
    return count * found->second;
}

Result<contract::Key> parse_key(std::string_view text) {
    static constexpr size_t kTextBytes = 44;  // 32 bytes: 43 digits and one '='
    if (text.size() != kTextBytes || text.back() != '=') {
        return fail("a key is 44 characters of base64 that end in \"=\", as `wg pubkey` prints it");
    }
    contract::Key key{};
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t filled = 0;
    for (const char digit : text.substr(0, kTextBytes - 1)) {
        const size_t value = kBase64.find(digit);
        if (value == std::string_view::npos) {
            return fail("a key holds only letters, digits, \"+\" and \"/\" before its \"=\"");
        }
        bits = bits << 6 | static_cast<uint32_t>(value);
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            key[filled++] = static_cast<uint8_t>(bits >> bit_count);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0) {
        return fail("the last character of a key carries only four bits; this one was mistyped");
    }
    return key;
}

std::string key_text(Bytes key) {
    std::string text;
    for (size_t i = 0; i < key.size(); i += 3) {
        const size_t left = std::min<size_t>(3, key.size() - i);
        uint32_t bits = static_cast<uint32_t>(key[i]) << 16;
        if (left > 1) bits |= static_cast<uint32_t>(key[i + 1]) << 8;
        if (left > 2) bits |= key[i + 2];
        for (size_t digit = 0; digit < 4; ++digit) {
            text += digit <= left ? kBase64[bits >> (18 - 6 * digit) & 63] : '=';
        }
    }
    return text;
}

Result<std::string> parse_route_host(std::string_view text) {
    if (text == "*") return std::string(text);
    return parse_host(text);
}

Result<std::string> parse_host(std::string_view text) {
    std::string host(text);
    std::transform(host.begin(), host.end(), host.begin(), lower);
    std::string_view rest = host;
    if (rest.starts_with("*.")) rest.remove_prefix(2);
    if (rest.find('*') != std::string_view::npos) {
        return fail("\"*\" stands only for the whole first label, as in \"*.example.org\"");
    }
    // 253: RFC 1035 section 2.3.4, as text.
    if (rest.empty() || host.size() > 253) {
        return fail("write a host name of 1 to 253 characters, such as \"app.example.org\"");
    }
    if (rest.find(':') != std::string_view::npos) {
        return fail("write the name alone, without scheme and port, such as \"app.example.org\"");
    }
    if (rest.back() == '.') return fail("write it without the dot at its end");
    while (!rest.empty()) {
        const size_t dot = rest.find('.');
        if (!is_label(rest.substr(0, dot)) || dot + 1 == rest.size()) {
            return fail("write labels of letters, digits and \"-\", joined by single dots");
        }
        rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
    }
    return host;
}

std::string interface_fault(std::string_view text) {
    // IFNAMSIZ is 16 with the closing zero; the forbidden names are those of dev_valid_name().
    if (text.empty() || text.size() > 15) return "an interface name has 1 to 15 characters";
    if (text == "." || text == "..") return "\".\" and \"..\" are not interface names";
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
    });
    return plain ? "" : "an interface name holds letters, digits, \"-\", \"_\" and \".\" only";
}

std::string name_fault(std::string_view text) {
    // Names go into HTTP headers and tables: nothing in them may end a line or look like a space.
    if (text.empty() || text.size() > 253) return "a name has 1 to 253 characters";
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return is_letter_or_digit(c) ||
               std::string_view("-_.@+:").find(c) != std::string_view::npos;
    });
    return plain ? "" : "a name holds letters, digits and - _ . @ + : only";
}

}  // namespace sluice::config
