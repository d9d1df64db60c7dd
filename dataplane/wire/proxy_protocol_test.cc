#include "dataplane/wire/proxy_protocol.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice::wire {
namespace {

using Outcome = ProxyHeader::Outcome;

// Decides after each byte, and again as a reader does that takes only what
// is wanted; all must come to the same, and that reader must take nothing of what follows.
ProxyHeader decide(const std::string& bytes) {
    const ProxyHeader whole = parse_proxy_header(as_bytes(bytes));
    for (size_t size = 0; size <= bytes.size(); ++size) {
        const ProxyHeader part = parse_proxy_header(as_bytes(bytes).first(size));
        INFO("after " << size << " bytes of " << bytes.size());
        if (part.outcome == Outcome::kMore) {
            CHECK(part.wanted > 0);
            if (whole.outcome == Outcome::kComplete) CHECK(size + part.wanted <= whole.size);
            continue;
        }
        REQUIRE(part.outcome == whole.outcome);
        CHECK(part.size == whole.size);
        CHECK(part.client == whole.client);
        CHECK(part.server == whole.server);
    }
    if (whole.outcome == Outcome::kComplete) {
        size_t taken = 0;
        ProxyHeader part = parse_proxy_header({});
        while (part.outcome == Outcome::kMore) {
            taken += part.wanted;
            REQUIRE(taken <= bytes.size());
            part = parse_proxy_header(as_bytes(bytes).first(taken));
        }
        CHECK(taken == whole.size);
    }
    return whole;
}

void check_addresses(const std::string& bytes, std::string_view client, std::string_view server) {
    INFO(bytes);
    const std::string follows = "GET / HTTP/1.1\r\n\r\n";
    for (const std::string& sent : {bytes, bytes + follows}) {
        const ProxyHeader header = decide(sent);
        REQUIRE(header.outcome == Outcome::kComplete);
        CHECK(header.size == bytes.size());
        CHECK(header.client.text() == client);
        CHECK(header.server.text() == server);
    }
}

void check_keeps_real(const std::string& bytes) {
    const ProxyHeader header = decide(bytes + "\x16\x03\x01");
    INFO(bytes);
    REQUIRE(header.outcome == Outcome::kComplete);
    CHECK(header.size == bytes.size());
    CHECK_FALSE(header.client.is_set());
    CHECK_FALSE(header.server.is_set());
}

void check_malformed(const std::string& bytes) {
    INFO(bytes);
    CHECK(decide(bytes).outcome == Outcome::kMalformed);
}

const std::string kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};

std::string binary(uint8_t command, uint8_t family, const std::string& rest,
                   std::optional<size_t> length = {}) {
    const size_t said = length.value_or(rest.size());
    return kSignature + static_cast<char>(command) + static_cast<char>(family) +
           static_cast<char>(said >> 8) + static_cast<char>(said & 0xff) + rest;
}
std::string tlv(uint8_t type, const std::string& value) {
    return static_cast<char>(type) + std::string{static_cast<char>(value.size() >> 8)} +
           static_cast<char>(value.size() & 0xff) + value;
}
// 192.0.2.7:40000 to 203.0.113.9:443.
const std::string kV4{"\xc0\x00\x02\x07\xcb\x00\x71\x09\x9c\x40\x01\xbb", 12};
// [2001:db8::7]:40000 to [2001:db8::9]:443.
const std::string kV6 = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + '\x07' +
                        std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + '\x09' +
                        std::string("\x9c\x40\x01\xbb", 4);

// Bit by bit; what RFC 9260 says, and not how the product does it.
uint32_t crc32c(const std::string& bytes) {
    uint32_t crc = ~0u;
    for (const char c : bytes) {
        crc ^= static_cast<uint8_t>(c);
        for (int i = 0; i < 8; ++i)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}
// A header with a right sum before `more`.
std::string summed(const std::string& more) {
    std::string header = binary(0x21, 0x11, kV4 + tlv(3, std::string(4, '\0')) + more);
    store_be32(reinterpret_cast<uint8_t*>(header.data()) + 16 + 12 + 3, crc32c(header));
    return header;
}

TEST_CASE("PROXY protocol, version 1: addresses") {
    check_addresses("PROXY TCP4 192.0.2.7 203.0.113.9 40000 443\r\n", "192.0.2.7:40000",
                    "203.0.113.9:443");
    check_addresses("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0",
                    "255.255.255.255:65535");
    check_addresses("PROXY TCP6 2001:db8::7 2001:DB8::9 40000 443\r\n", "[2001:db8::7]:40000",
                    "[2001:db8::9]:443");
    check_addresses("PROXY TCP6 :: ::1 0 0\r\n", "[::]:0", "[::1]:0");
    // A socket for both families calls an IPv4 client so.
    check_addresses("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.9 1 2\r\n", "192.0.2.7:1",
                    "203.0.113.9:2");
    const std::string full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check_addresses("PROXY TCP6 " + full + " " + full + " 65535 65535\r\n", "[" + full + "]:65535",
                    "[" + full + "]:65535");
}

TEST_CASE("PROXY protocol, version 1: UNKNOWN keeps the real addresses, whatever follows it") {
    check_keeps_real("PROXY UNKNOWN\r\n");
    check_keeps_real("PROXY UNKNOWN  a b c\r\n");
    const std::string full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    const std::string longest = "PROXY UNKNOWN " + full + " " + full + " 65535 65535\r\n";
    CHECK(longest.size() == kProxyLineMax);
    check_keeps_real(longest);
}

TEST_CASE("PROXY protocol, version 1: what is refused") {
    for (const char* const line : {
             "TCP4 192.0.2.7 203.0.113.9 40000",
             "TCP4 192.0.2.7 203.0.113.9 40000 443 ",
             "TCP4 192.0.2.7 203.0.113.9 40000 443 1",
             "TCP4  192.0.2.7 203.0.113.9 40000 443",
             " TCP4 192.0.2.7 203.0.113.9 40000 443",
             "TCP4 192.0.2.7 203.0.113.9 40000 0443",
             "TCP4 192.0.2.7 203.0.113.9 40000 00",
             "TCP4 192.0.2.7 203.0.113.9 65536 443",
             "TCP4 192.0.2.7 203.0.113.9 -1 443",
             "TCP4 192.0.2.7 203.0.113.9 +1 443",
             "TCP4 192.0.2.7 203.0.113.9 0x1 443",
             "TCP4 192.0.2.07 203.0.113.9 1 443",
             "TCP4 192.0.2.256 203.0.113.9 1 443",
             "TCP4 192.0.2 203.0.113.9 1 443",
             "TCP4 192.0.2.7/32 203.0.113.9 1 443",
             "TCP4 2001:db8::7 2001:db8::9 1 443",
             "TCP4 192.0.2.7 2001:db8::9 1 443",
             "TCP6 192.0.2.7 203.0.113.9 1 443",
             "TCP6 2001:db8:::7 2001:db8::9 1 443",
             "TCP6 fe80::7%lo 2001:db8::9 1 443",
             "TCP6 [2001:db8::7] 2001:db8::9 1 443",
             "UDP4 192.0.2.7 203.0.113.9 1 443",
             "tcp4 192.0.2.7 203.0.113.9 1 443",
             "TCP4",
             "TCP4 ",
             "TCP6 ",
             "UNKNOWNS",
             "unknown",
             "",
             "/ HTTP/1.1",
         })
        check_malformed("PROXY " + std::string(line) + "\r\n");
    check_malformed("PROXY TCP4 192.0.2.7 203.0.113.9 40000 443\n");
    check_malformed("PROXY TCP4 192.0.2.7 203.0.113.9 40000 443\r\r\n");
    check_malformed("PROXY TCP4\t192.0.2.7 203.0.113.9 40000 443\r\n");
    check_malformed("PROXY UNKNOWN \x80\r\n");
    check_malformed("PROXY UNKNOWN " + std::string(1, '\0') + "\r\n");
    check_malformed("PROXY UNKNOWN " + std::string(kProxyLineMax - 15, 'x') + "\r\n");
    check_malformed("PROXY UNKNOWN " + std::string(2 * kProxyLineMax, 'x'));
}

TEST_CASE("PROXY protocol: no header of either version") {
    for (const std::string bytes : {"GET / HTTP/1.1\r\n", "PROXX", "proxy TCP4", "\x16\x03\x01",
                                    "\r\n\r\nGET", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"})
        CHECK(decide(bytes).outcome == Outcome::kMissing);
    CHECK(parse_proxy_header(as_bytes("X")).outcome == Outcome::kMissing);
    CHECK(decide("").outcome == Outcome::kMore);
    CHECK(decide("PROXY ").outcome == Outcome::kMore);
    CHECK(decide(kSignature).outcome == Outcome::kMore);
}

TEST_CASE("PROXY protocol, version 2: addresses") {
    check_addresses(binary(0x21, 0x11, kV4), "192.0.2.7:40000", "203.0.113.9:443");
    check_addresses(binary(0x21, 0x21, kV6), "[2001:db8::7]:40000", "[2001:db8::9]:443");
    const std::string mapped = std::string(10, '\0') + "\xff\xff" + kV4.substr(0, 4);
    check_addresses(binary(0x21, 0x21, mapped + mapped + kV4.substr(8)), "192.0.2.7:40000",
                    "192.0.2.7:443");
    const std::string more = tlv(2, "a.test") + tlv(4, "") + tlv(0xea, "vpce") + tlv(5, "\x01");
    check_addresses(binary(0x21, 0x11, kV4 + more), "192.0.2.7:40000", "203.0.113.9:443");
    check_addresses(binary(0x21, 0x21, kV6 + more), "[2001:db8::7]:40000", "[2001:db8::9]:443");
}

TEST_CASE("PROXY protocol, version 2: who keeps the real addresses") {
    check_keeps_real(binary(0x20, 0x00, ""));
    check_keeps_real(binary(0x20, 0x11, kV4));     // LOCAL: the family does not count
    check_keeps_real(binary(0x20, 0xff, "\x03"));  // nor what else there is
    check_keeps_real(binary(0x21, 0x00, ""));      // unspecified
    check_keeps_real(binary(0x21, 0x00, "\x03xx"));
    check_keeps_real(binary(0x21, 0x12, kV4));  // UDP
    check_keeps_real(binary(0x21, 0x22, kV6));
    check_keeps_real(binary(0x21, 0x31, std::string(216, '/')));
    check_keeps_real(binary(0x21, 0x32, std::string(216, '/')));
}

TEST_CASE("PROXY protocol, version 2: what is refused") {
    for (const uint8_t command : {0x00, 0x01, 0x11, 0x22, 0x2f, 0x31, 0xff})
        check_malformed(binary(command, 0x11, kV4));
    for (const uint8_t family : {0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff})
        check_malformed(binary(0x21, family, std::string(216, '\0')));
    // Too short for its own addresses; nobody waits for them.
    check_malformed(binary(0x21, 0x11, "", 11));
    check_malformed(binary(0x21, 0x21, "", 35));
    check_malformed(binary(0x21, 0x31, "", 215));
    check_malformed(binary(0x21, 0x11, ""));
    check_malformed(binary(0x21, 0x11, kV4 + "\x04"));
    check_malformed(binary(0x21, 0x11, kV4 + std::string("\x04\0", 2)));
    check_malformed(binary(0x21, 0x11, kV4 + std::string("\x04\0\x01", 3)));
    check_malformed(binary(0x21, 0x11, kV4 + tlv(4, "x") + "\x04"));
}

TEST_CASE("PROXY protocol, version 2: how long it may be") {
    const auto filled = [](size_t rest) {
        return binary(0x21, 0x11, kV4 + tlv(4, std::string(rest - 12 - 3, 'x')));
    };
    CHECK(parse_proxy_header(as_bytes(filled(kProxyBinaryRestMax))).size == kProxyHeaderMax);
    check_malformed(filled(kProxyBinaryRestMax + 1).substr(0, 16));
    check_malformed(binary(0x20, 0x00, "", 0xffff));
}

TEST_CASE("PROXY protocol, version 2: a checksum counts where there is one") {
    CHECK(crc32c("123456789") == 0xe3069283);
    check_addresses(summed(""), "192.0.2.7:40000", "203.0.113.9:443");
    check_addresses(summed(tlv(4, "filling")), "192.0.2.7:40000", "203.0.113.9:443");
    const std::string good = summed(tlv(4, "filling"));
    for (size_t i = 16; i < good.size(); ++i) {
        if (i == 28) continue;  // its type: then there is no sum
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x10);
        INFO("byte " << i);
        CHECK(parse_proxy_header(as_bytes(bad)).outcome == Outcome::kMalformed);
    }
    check_malformed(binary(0x21, 0x11, kV4 + tlv(3, "abc")));
    check_malformed(binary(0x21, 0x11, kV4 + tlv(3, "abcde")));
    // Two sums of which each would have to hold with the other one in place.
    check_malformed(summed(tlv(3, std::string(4, '\0'))));
}

}  // namespace
}  // namespace sluice::wire
