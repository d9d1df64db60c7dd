#include "dataplane/wire/http1_message.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/base/check.h"

namespace sluice::wire {

namespace {

constexpr auto kFaultTexts = std::to_array<Http1FaultText>({
#define X(enumerator, status, sentence) {status, sentence},
#include "dataplane/wire/http1_faults.def"
#undef X
});

constexpr std::array<bool, 256> make_token_table() {
    std::array<bool, 256> table{};
    for (unsigned c = 'a'; c <= 'z'; ++c)
        table[c] = true;
    for (unsigned c = 'A'; c <= 'Z'; ++c)
        table[c] = true;
    for (unsigned c = '0'; c <= '9'; ++c)
        table[c] = true;
    for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
        table[static_cast<uint8_t>(c)] = true;
    return table;
}
constexpr std::array<bool, 256> kTokenByte = make_token_table();

constexpr uint64_t kOnes = 0x0101010101010101;
constexpr uint64_t kHighs = 0x8080808080808080;

// Whether one of the eight bytes may be a control byte. Never false for one that has a control byte
// or DEL; may be true for a clean one (HTAB, and the byte above a bad one), which is then looked at
// closely. Bytes >= 0x80 are masked out first, because the subtraction below is only right without.
uint64_t may_have_control(uint64_t eight) {
    const uint64_t seven_bits = eight & ~kHighs;
    const uint64_t below_space = (seven_bits - kOnes * 0x20) & ~seven_bits;
    const uint64_t is_delete =
        ((seven_bits ^ (kOnes * 0x7f)) - kOnes) & ~(seven_bits ^ (kOnes * 0x7f));
    return (below_space | is_delete) & ~eight & kHighs;
}

bool is_clean_slow(const char* from, const char* end) {
    for (; from != end; ++from) {
        const auto byte = static_cast<uint8_t>(*from);
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
    }
    return true;
}

bool is_visible_ascii(std::string_view text) {
    bool all = true;
    for (const char c : text)
        all &= c > 0x20 && c < 0x7f;
    return all;
}

// The next line of a complete head, without its CRLF. The scanner has seen to it that every LF has
// a CR before it, and that the last line is there.
std::string_view take_line(std::string_view& rest) {
    const size_t line_feed = rest.find('\n');
    SLUICE_CHECK(line_feed != std::string_view::npos && line_feed > 0);
    const std::string_view line = rest.substr(0, line_feed - 1);
    rest.remove_prefix(line_feed + 1);
    return line;
}

bool is_space(char c) {
    return c == ' ' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

std::expected<std::span<const Http1Field>, Http1Fault> parse_fields(std::string_view rest,
                                                                    std::span<Http1Field> storage) {
    size_t count = 0;
    for (;;) {
        const std::string_view line = take_line(rest);
        if (line.empty()) return storage.first(count);
        if (is_space(line.front())) return std::unexpected(Http1Fault::kFieldFolded);
        if (count == storage.size()) return std::unexpected(Http1Fault::kTooManyFields);
        size_t colon = 0;
        while (colon < line.size() && kTokenByte[static_cast<uint8_t>(line[colon])])
            ++colon;
        if (colon == 0 || colon == line.size() || line[colon] != ':')
            return std::unexpected(Http1Fault::kFieldSyntax);
        const std::string_view value = line.substr(colon + 1);
        if (!is_http1_field_value(value)) return std::unexpected(Http1Fault::kControlByte);
        storage[count++] = {line.substr(0, colon), trimmed(value)};
    }
}

// "HTTP/1.1" or "HTTP/1.0" gives the minor version.
std::expected<uint8_t, Http1Fault> parse_version(std::string_view text) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || !is_digit(text[5]) || text[6] != '.' ||
        !is_digit(text[7]))
        return std::unexpected(Http1Fault::kVersionSyntax);
    if (text[5] != '1' || text[7] > '1') return std::unexpected(Http1Fault::kVersionUnsupported);
    return static_cast<uint8_t>(text[7] - '0');
}

}  // namespace

Http1FaultText text_of(Http1Fault fault) {
    return kFaultTexts[static_cast<size_t>(fault)];
}

bool is_http1_token(std::string_view text) {
    if (text.empty()) return false;
    return std::ranges::all_of(text, [](char c) { return kTokenByte[static_cast<uint8_t>(c)]; });
}

bool is_http1_field_value(std::string_view text) {
    const char* from = text.data();
    const char* const end = from + text.size();
    for (; end - from >= 8; from += 8) {
        uint64_t eight;
        std::memcpy(&eight, from, sizeof eight);
        if (may_have_control(eight) != 0 && !is_clean_slow(from, from + 8)) return false;
    }
    return is_clean_slow(from, end);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

// The limits are asked before anything else is said of a line, and the first line's before the
// whole head's: so a line that is too long gets the same answer whether its end is there yet or
// not.
Http1HeadScanner::Result Http1HeadScanner::scan(Bytes buffer, Http1Kind kind,
                                                const Http1Limits& limits) {
    const bool has_request_line = kind == Http1Kind::kRequest;
    const size_t first_line_max = std::min(limits.request_line_max, limits.head_bytes_max);
    const auto fail = [this](Http1Fault fault) {
        fault_ = fault;
        return Result::kFault;
    };
    for (;;) {
        const auto* found =
            searched_ == buffer.size()
                ? nullptr  // and where nothing was read yet, memchr would be given a null pointer
                : static_cast<const uint8_t*>(
                      std::memchr(buffer.data() + searched_, '\n', buffer.size() - searched_));
        // Where the line ends, or where it ends at the least.
        const size_t end =
            found != nullptr ? static_cast<size_t>(found - buffer.data()) + 1 : buffer.size() + 1;
        if (has_request_line && first_line_ && end - line_begin_ > first_line_max)
            return fail(Http1Fault::kRequestLineTooLong);
        if (end > limits.head_bytes_max) return fail(Http1Fault::kHeadTooLarge);
        if (found == nullptr) {
            searched_ = static_cast<uint32_t>(buffer.size());
            return Result::kMore;
        }
        const size_t length = end - line_begin_;
        if (length < 2 || buffer[end - 2] != '\r') return fail(Http1Fault::kLineFeedAlone);
        searched_ = static_cast<uint32_t>(end);
        const bool empty_line_before = first_line_ && length == 2 && line_begin_ == 0;
        if (length == 2 && !(empty_line_before && has_request_line)) {
            // An empty first line is no head at all.
            if (first_line_)
                return fail(has_request_line ? Http1Fault::kRequestLineSyntax
                                             : Http1Fault::kStatusLineSyntax);
            return Result::kComplete;
        }
        line_begin_ = static_cast<uint32_t>(end);
        if (!empty_line_before) first_line_ = false;
    }
}

std::expected<Http1RequestHead, Http1Fault> parse_request_head(Bytes head,
                                                               std::span<Http1Field> storage) {
    std::string_view rest = as_text(head);
    std::string_view line = take_line(rest);
    if (line.empty()) line = take_line(rest);

    const size_t first_space = line.find(' ');
    const size_t last_space = line.rfind(' ');
    if (first_space == std::string_view::npos || first_space == last_space)
        return std::unexpected(Http1Fault::kRequestLineSyntax);
    Http1RequestHead request;
    request.method = line.substr(0, first_space);
    request.target = line.substr(first_space + 1, last_space - first_space - 1);
    if (!is_http1_token(request.method)) return std::unexpected(Http1Fault::kMethodSyntax);
    if (request.target.empty() || !is_visible_ascii(request.target))
        return std::unexpected(Http1Fault::kTargetSyntax);
    const auto version = parse_version(line.substr(last_space + 1));
    if (!version) return std::unexpected(version.error());
    request.minor_version = *version;

    const auto fields = parse_fields(rest, storage);
    if (!fields) return std::unexpected(fields.error());
    request.fields = *fields;
    return request;
}

std::expected<Http1ResponseHead, Http1Fault> parse_response_head(Bytes head,
                                                                 std::span<Http1Field> storage) {
    std::string_view rest = as_text(head);
    const std::string_view line = take_line(rest);
    const auto syntax = std::unexpected(Http1Fault::kStatusLineSyntax);
    if (line.size() < 12) return syntax;
    const auto version = parse_version(line.substr(0, 8));
    if (!version) return std::unexpected(version.error());
    if (line[8] != ' ') return syntax;

    Http1ResponseHead response;
    response.minor_version = *version;
    for (size_t i = 9; i < 12; ++i) {
        if (line[i] < '0' || line[i] > '9') return syntax;
        response.status = static_cast<uint16_t>(response.status * 10 + (line[i] - '0'));
    }
    if (response.status < 100 || response.status > 599) return syntax;
    // Servers leave out the space together with an empty reason; there is only one way to read
    // that.
    if (line.size() > 12) {
        if (line[12] != ' ') return syntax;
        response.reason = line.substr(13);
        if (!is_http1_field_value(response.reason))
            return std::unexpected(Http1Fault::kControlByte);
    }

    const auto fields = parse_fields(rest, storage);
    if (!fields) return std::unexpected(fields.error());
    response.fields = *fields;
    return response;
}

}  // namespace sluice::wire
