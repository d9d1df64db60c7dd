// Any bytes: every fragmentation decides alike, a reader that takes what is wanted takes the header
// and nothing more, and a parser written in another way, over the whole input, agrees.
#include <algorithm>
#include <string>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/proxy_protocol.h"

using namespace sluice;
using namespace sluice::wire;
using Outcome = ProxyHeader::Outcome;

namespace {

std::vector<std::string> split(const std::string& text, const std::string& between) {
    std::vector<std::string> parts;
    size_t from = 0;
    for (size_t at; (at = text.find(between, from)) != std::string::npos;
         from = at + between.size())
        parts.push_back(text.substr(from, at - from));
    parts.push_back(text.substr(from));
    return parts;
}

// A number in decimal without leading zeros; -1: it is none.
long decimal(const std::string& text, long most) {
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return -1;
    if (text.find_first_not_of("0123456789") != std::string::npos) return -1;
    const long value = std::stol(text);
    return value <= most ? value : -1;
}

bool naive_v4(const std::string& text, std::string& bytes) {
    const auto parts = split(text, ".");
    if (parts.size() != 4) return false;
    for (const std::string& part : parts) {
        const long value = decimal(part, 255);
        if (value < 0) return false;
        bytes += static_cast<char>(value);
    }
    return true;
}

// Groups between single colons, the last of which may be an IPv4 address.
bool naive_groups(const std::string& text, bool at_end, std::string& bytes) {
    if (text.empty()) return true;
    const auto parts = split(text, ":");
    for (size_t i = 0; i < parts.size(); ++i) {
        const std::string& part = parts[i];
        if (at_end && i + 1 == parts.size() && part.find('.') != std::string::npos)
            return naive_v4(part, bytes);
        if (part.empty() || part.size() > 4 ||
            part.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
            return false;
        const long value = std::stol(part, nullptr, 16);
        bytes += static_cast<char>(value >> 8);
        bytes += static_cast<char>(value & 0xff);
    }
    return true;
}

bool naive_v6(const std::string& text, std::string& bytes) {
    const auto halves = split(text, "::");
    if (halves.size() == 1) return naive_groups(text, true, bytes) && bytes.size() == 16;
    if (halves.size() != 2) return false;
    std::string behind;
    if (!naive_groups(halves[0], false, bytes) || !naive_groups(halves[1], true, behind))
        return false;
    if (bytes.size() + behind.size() > 14) return false;
    bytes.resize(16 - behind.size());
    bytes += behind;
    return true;
}

Endpoint endpoint(const std::string& bytes, long port) {
    const auto* const raw = reinterpret_cast<const uint8_t*>(bytes.data());
    return {(bytes.size() == 4 ? IpAddress::v4(raw) : IpAddress::v6(raw)).unmapped(),
            static_cast<uint16_t>(port)};
}

constexpr ProxyHeader kBad{.outcome = Outcome::kMalformed};

ProxyHeader naive_text(const std::string& input) {
    const std::string line = input.substr(0, kProxyLineMax);
    const size_t end = line.find("\r\n");
    const std::string visible = line.substr(0, std::min(end, line.size()));
    for (size_t i = 0; i < visible.size(); ++i) {
        // A last CR may be the first half of the end.
        const bool may_end =
            end == std::string::npos && visible[i] == '\r' && i + 1 == visible.size() && i <= 105;
        if ((visible[i] < ' ' || visible[i] > '~') && !may_end) return kBad;
    }
    if (end == std::string::npos) {
        const bool half = !line.empty() && line.back() == '\r';
        return line.size() > (half ? 106u : 105u) ? kBad : ProxyHeader{};
    }
    ProxyHeader header{.outcome = Outcome::kComplete, .size = end + 2};
    const auto words = split(line.substr(0, end), " ");
    if (words.size() >= 2 && words[1] == "UNKNOWN") return header;
    if (words.size() != 6) return kBad;
    std::string from, to;
    const bool right = words[1] == "TCP4"   ? naive_v4(words[2], from) && naive_v4(words[3], to)
                       : words[1] == "TCP6" ? naive_v6(words[2], from) && naive_v6(words[3], to)
                                            : false;
    const long from_port = decimal(words[4], 65535);
    const long to_port = decimal(words[5], 65535);
    if (!right || from_port < 0 || to_port < 0) return kBad;
    header.client = endpoint(from, from_port);
    header.server = endpoint(to, to_port);
    return header;
}

uint32_t naive_crc(const std::string& bytes) {
    uint32_t crc = 0xffffffff;
    for (const char c : bytes)
        for (int bit = 0; bit < 8; ++bit) {
            const bool one = ((crc ^ (static_cast<uint8_t>(c) >> bit)) & 1) != 0;
            crc = (crc >> 1) ^ (one ? 0x82f63b78u : 0);
        }
    return ~crc;
}

size_t number(const std::string& bytes, size_t at) {
    return static_cast<uint8_t>(bytes[at]) * 256u + static_cast<uint8_t>(bytes[at + 1]);
}

bool naive_tlvs(const std::string& header, size_t at) {
    int sums = 0;
    bool right = true;
    while (at != header.size()) {
        if (at + 3 > header.size()) return false;
        const size_t length = number(header, at + 1);
        if (at + 3 + length > header.size()) return false;
        if (header[at] == 3) {
            if (++sums > 1 || length != 4) return false;
            std::string zeroed = header;
            zeroed.replace(at + 3, 4, 4, '\0');
            const size_t said = number(header, at + 3) * 65536 + number(header, at + 5);
            right = naive_crc(zeroed) == said;
        }
        at += 3 + length;
    }
    return right;
}

ProxyHeader naive_binary(const std::string& input) {
    const size_t size = input.size();
    if (size < 13) return {};
    const auto command = static_cast<uint8_t>(input[12]);
    if (command >> 4 != 2 || (command & 15) > 1) return kBad;
    if (size < 14) return {};
    const bool local = (command & 15) == 0;
    const uint8_t family = static_cast<uint8_t>(input[13]) >> 4;
    const uint8_t transport = static_cast<uint8_t>(input[13]) & 15;
    const bool unspecified = family == 0 && transport == 0;
    const bool known = family >= 1 && family <= 3 && (transport == 1 || transport == 2);
    if (!local && !unspecified && !known) return kBad;
    if (size < 16) return {};
    const size_t rest = number(input, 14);
    const size_t addresses = local || unspecified ? 0 : family == 1 ? 12 : family == 2 ? 36 : 216;
    if (rest > 4096 || rest < addresses) return kBad;
    if (size < 16 + rest) return {};
    const std::string header = input.substr(0, 16 + rest);
    ProxyHeader result{.outcome = Outcome::kComplete, .size = header.size()};
    if (local || unspecified) return result;
    if (!naive_tlvs(header, 16 + addresses)) return kBad;
    if (transport == 2 || family == 3) return result;
    const size_t width = family == 1 ? 4 : 16;
    const size_t ports = 16 + 2 * width;
    result.client = endpoint(header.substr(16, width), static_cast<long>(number(header, ports)));
    result.server =
        endpoint(header.substr(16 + width, width), static_cast<long>(number(header, ports + 2)));
    return result;
}

ProxyHeader naive(const std::string& input) {
    const std::string line = "PROXY ";
    const std::string signature("\r\n\r\n\0\r\nQUIT\n", 12);
    if (line.starts_with(input.substr(0, line.size()))) return naive_text(input);
    if (signature.starts_with(input.substr(0, signature.size()))) return naive_binary(input);
    return {.outcome = Outcome::kMissing};
}

void check_same(const ProxyHeader& a, const ProxyHeader& b) {
    SLUICE_CHECK(a.outcome == b.outcome && a.size == b.size);
    SLUICE_CHECK(a.client == b.client && a.server == b.server);
}

ProxyHeader parse_copy(const std::string& input, size_t size) {
    // Exactly so much memory, so that a sanitizer sees a step beyond it.
    const std::vector<uint8_t> exact(input.begin(),
                                     input.begin() + static_cast<std::ptrdiff_t>(size));
    return parse_proxy_header(exact);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // Longer than the longest header, so that its limit is in reach.
    const std::string input(data, data + std::min<size_t>(size, kProxyHeaderMax + 16));
    const ProxyHeader whole = parse_copy(input, input.size());
    check_same(whole, naive(input));
    // Each size while it is cheap; of long ones, those around where something changes.
    for (size_t part = 0; part < input.size(); part += part < 400 ? 1 : 97) {
        const ProxyHeader some = parse_copy(input, part);
        if (some.outcome == Outcome::kMore) {
            SLUICE_CHECK(some.wanted > 0);
            if (whole.outcome == Outcome::kComplete) SLUICE_CHECK(part + some.wanted <= whole.size);
        } else {
            check_same(some, whole);
        }
    }
    size_t taken = 0;
    ProxyHeader some = parse_copy(input, 0);
    while (some.outcome == Outcome::kMore && taken + some.wanted <= input.size())
        some = parse_copy(input, taken += some.wanted);
    if (whole.outcome == Outcome::kComplete) {
        SLUICE_CHECK(taken == whole.size);
        check_same(some, whole);
    }
    return 0;
}
