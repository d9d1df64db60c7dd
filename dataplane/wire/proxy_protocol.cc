#include "dataplane/wire/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

namespace sluice::wire {
namespace {

using Outcome = ProxyHeader::Outcome;

constexpr std::string_view kLineBegin = "PROXY ";
constexpr std::string_view kLineEnd = "\r\n";
// The shortest header that there is, "PROXY UNKNOWN\r\n". Version 2 is one byte longer.
constexpr size_t kHeaderMin = 15;
constexpr std::array<uint8_t, 12> kSignature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                             0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

constexpr uint8_t kLocal = 0x20;  // version 2 in the upper half
constexpr uint8_t kProxy = 0x21;
constexpr uint8_t kUnspecified = 0x00;
constexpr uint8_t kTcpOverIpv4 = 0x11;
constexpr uint8_t kTcpOverIpv6 = 0x21;

constexpr uint8_t kTlvCrc32c = 0x03;
constexpr size_t kTlvHeader = 3;

ProxyHeader more(size_t wanted) {
    return {.outcome = Outcome::kMore, .wanted = wanted};
}
ProxyHeader malformed() {
    return {.outcome = Outcome::kMalformed};
}

bool is_begin_of(Bytes bytes, Bytes expected) {
    const size_t common = std::min(bytes.size(), expected.size());
    return std::ranges::equal(bytes.first(common), expected.first(common));
}

// ---- Version 1 ----------------------------------------------------------------------------------

std::optional<uint16_t> parse_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return {};
    uint32_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size() || port > UINT16_MAX) return {};
    return static_cast<uint16_t>(port);
}

// "SOURCE DESTINATION PORT PORT", between single spaces.
bool parse_addresses(std::string_view text, IpAddress::Family family, ProxyHeader& header) {
    std::array<std::string_view, 4> fields;
    for (size_t i = 0; i < fields.size(); ++i) {
        const size_t space = text.find(' ');
        const bool last = i + 1 == fields.size();
        if ((space == std::string_view::npos) != last) return false;
        fields[i] = text.substr(0, space);
        text = last ? std::string_view() : text.substr(space + 1);
    }
    const auto client = IpAddress::parse(fields[0]);
    const auto server = IpAddress::parse(fields[1]);
    const auto client_port = parse_port(fields[2]);
    const auto server_port = parse_port(fields[3]);
    if (!client || !server || !client_port || !server_port) return false;
    if (client->family != family || server->family != family) return false;
    header.client = {client->unmapped(), *client_port};
    header.server = {server->unmapped(), *server_port};
    return true;
}

ProxyHeader parse_line(std::string_view line) {
    ProxyHeader header{.outcome = Outcome::kComplete,
                       .size = kLineBegin.size() + line.size() + kLineEnd.size()};
    constexpr std::string_view kUnknown = "UNKNOWN";
    constexpr std::string_view kTcp4 = "TCP4 ";
    constexpr std::string_view kTcp6 = "TCP6 ";
    bool understood = false;
    if (line.starts_with(kUnknown)) {
        // Whatever else the line says is to be ignored.
        understood = line.size() == kUnknown.size() || line[kUnknown.size()] == ' ';
    } else if (line.starts_with(kTcp4)) {
        understood = parse_addresses(line.substr(kTcp4.size()), IpAddress::Family::kV4, header);
    } else if (line.starts_with(kTcp6)) {
        understood = parse_addresses(line.substr(kTcp6.size()), IpAddress::Family::kV6, header);
    }
    return understood ? header : malformed();
}

// How much a line that has begun like this still needs at the very least, so that few reads are
// enough: its end and, of those with addresses, the fields that have not begun.
size_t line_wanted(std::string_view line, size_t have) {
    if (have < kHeaderMin) return kHeaderMin - have;
    if (!line.starts_with("TCP")) return kLineEnd.size();
    constexpr size_t kSpaces = 4;
    const auto spaces = std::min(kSpaces, static_cast<size_t>(std::ranges::count(line, ' ')));
    const size_t first_of_field = line.back() == ' ' ? 1 : 0;
    return first_of_field + 2 * (kSpaces - spaces) + kLineEnd.size();
}

ProxyHeader parse_text(Bytes bytes) {
    const std::string_view text = as_text(bytes.first(std::min(bytes.size(), kProxyLineMax)));
    for (size_t i = kLineBegin.size(); i < text.size(); ++i) {
        if (text[i] == '\r') {
            // One byte before the longest line's end there is no room for the rest of it.
            if (i + kLineEnd.size() > kProxyLineMax) return malformed();
            if (i + 1 == text.size()) return more(1);
            if (text[i + 1] != '\n') return malformed();
            return parse_line(text.substr(kLineBegin.size(), i - kLineBegin.size()));
        }
        if (text[i] < ' ' || text[i] > '~') return malformed();
    }
    if (text.size() + kLineEnd.size() > kProxyLineMax) return malformed();
    return more(line_wanted(text.substr(std::min(text.size(), kLineBegin.size())), text.size()));
}

// ---- Version 2 ----------------------------------------------------------------------------------

// CRC-32C: the polynomial 0x1edc6f41, its bits in reverse. A byte at a time is enough: it is asked
// for once in a connection.
constexpr std::array<uint32_t, 256> kCrcTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
        table[i] = value;
    }
    return table;
}();

uint32_t add_crc(uint32_t crc, Bytes bytes) {
    for (const uint8_t byte : bytes)
        crc = (crc >> 8) ^ kCrcTable[(crc ^ byte) & 0xff];
    return crc;
}

// Of the header with the sum itself, at `at`, as zeros.
uint32_t crc_without(Bytes header, size_t at) {
    static constexpr std::array<uint8_t, 4> kZeros{};
    uint32_t crc = add_crc(~0u, header.first(at));
    crc = add_crc(crc, kZeros);
    return ~add_crc(crc, header.subspan(at + kZeros.size()));
}

bool tlvs_are_right(Bytes header, size_t at) {
    std::optional<size_t> sum;
    while (at < header.size()) {
        if (header.size() - at < kTlvHeader) return false;
        const uint8_t type = header[at];
        const size_t length = load_be16(header.data() + at + 1);
        at += kTlvHeader;
        if (length > header.size() - at) return false;
        if (type == kTlvCrc32c) {
            if (sum || length != sizeof(uint32_t)) return false;
            sum = at;
        }
        at += length;
    }
    return !sum || load_be32(header.data() + *sum) == crc_without(header, *sum);
}

// Nothing: this combination of family and protocol is not specified.
std::optional<size_t> address_size(uint8_t family) {
    switch (family) {
        case kUnspecified:
            return 0;
        case kTcpOverIpv4:
        case 0x12:  // UDP
            return 2 * 4 + 2 * 2;
        case kTcpOverIpv6:
        case 0x22:
            return 2 * 16 + 2 * 2;
        case 0x31:  // Unix sockets
        case 0x32:
            return 2 * 108;
        default:
            return {};
    }
}

void read_addresses(const uint8_t* at, uint8_t family, ProxyHeader& header) {
    if (family == kTcpOverIpv4) {
        header.client = {IpAddress::v4(at), load_be16(at + 8)};
        header.server = {IpAddress::v4(at + 4), load_be16(at + 10)};
    } else if (family == kTcpOverIpv6) {
        header.client = {IpAddress::v6(at).unmapped(), load_be16(at + 32)};
        header.server = {IpAddress::v6(at + 16).unmapped(), load_be16(at + 34)};
    }
}

ProxyHeader parse_binary(Bytes bytes) {
    // Each byte is judged when it is there, so that nobody waits for the rest of what is wrong.
    if (bytes.size() > 12 && bytes[12] != kLocal && bytes[12] != kProxy) return malformed();
    const bool local = bytes.size() > 12 && bytes[12] == kLocal;
    if (bytes.size() > 13 && !local && !address_size(bytes[13])) return malformed();
    if (bytes.size() < kProxyBinaryPrefix) {
        const size_t least = bytes.size() < kHeaderMin ? kHeaderMin : kProxyBinaryPrefix;
        return more(least - bytes.size());
    }
    const uint8_t family = bytes[13];
    const size_t rest = load_be16(bytes.data() + 14);
    if (rest > kProxyBinaryRestMax) return malformed();
    if (!local && rest < *address_size(family)) return malformed();
    const size_t size = kProxyBinaryPrefix + rest;
    if (bytes.size() < size) return more(size - bytes.size());

    ProxyHeader header{.outcome = Outcome::kComplete, .size = size};
    if (local || family == kUnspecified) return header;
    if (!tlvs_are_right(bytes.first(size), kProxyBinaryPrefix + *address_size(family)))
        return malformed();
    read_addresses(bytes.data() + kProxyBinaryPrefix, family, header);
    return header;
}

}  // namespace

ProxyHeader parse_proxy_header(Bytes bytes) {
    if (is_begin_of(bytes, as_bytes(kLineBegin))) return parse_text(bytes);
    if (is_begin_of(bytes, kSignature)) return parse_binary(bytes);
    return {.outcome = Outcome::kMissing};
}

}  // namespace sluice::wire
