#include "dataplane/base/ip.h"

#include <arpa/inet.h>

#include <catch2/catch.hpp>

#include "dataplane/base/random.h"

namespace sluice {
namespace {

IpAddress address(std::string_view text) {
    const auto parsed = IpAddress::parse(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

IpPrefix prefix(std::string_view text) {
    const auto parsed = IpPrefix::parse(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

TEST_CASE("ip: addresses are read and written") {
    for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1",
                             "fe80::1:2:3:4", "::ffff:192.0.2.1"}) {
        CHECK(address(text).text() == text);
    }
    CHECK(address("192.0.2.1").is_v4());
    CHECK(address("192.0.2.1").view().size() == 4);
    CHECK(address("192.0.2.1").bytes[3] == 1);
    CHECK(address("2001:db8::1").is_v6());
    CHECK(address("2001:DB8:0::01").text() == "2001:db8::1");
    CHECK(IpAddress().text() == "none");
    CHECK_FALSE(IpAddress().is_set());
    CHECK(IpAddress().bits() == 0);
}

TEST_CASE("ip: what is not an address is refused") {
    for (const char* text :
         {"", " ", "192.0.2", "192.0.2.256", "192.0.2.1.1", "192.0.2.1 ", " 192.0.2.1", "1",
          "192.0.2.-1", "0x7f.0.0.1", "2001:db8::1::2", "2001:db8:", "[::1]", "::1%eth0", "::g",
          "1:2:3:4:5:6:7:8:9", "192.0.2.1/24", "example.org"}) {
        CAPTURE(text);
        CHECK_FALSE(IpAddress::parse(text).has_value());
    }
    CHECK_FALSE(IpAddress::parse(std::string(1000, '1')).has_value());
    CHECK_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)).has_value());
    CHECK_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)).has_value());
}

TEST_CASE("ip: only mapped addresses unmap") {
    CHECK(address("::ffff:192.0.2.1").unmapped() == address("192.0.2.1"));
    CHECK(address("::ffff:192.0.2.1") != address("192.0.2.1"));
    CHECK(address("::192.0.2.1").unmapped().is_v6());
    CHECK(address("2001:db8::ffff:c000:201").unmapped().is_v6());
    CHECK(address("192.0.2.1").unmapped() == address("192.0.2.1"));
    CHECK_FALSE(IpAddress().unmapped().is_set());
}

TEST_CASE("ip: an IPv4 address and an IPv6 address of the same bytes differ") {
    const std::array<uint8_t, 16> bytes{10, 0, 0, 1};
    CHECK(IpAddress::v4(bytes.data()) != IpAddress::v6(bytes.data()));
}

TEST_CASE("ip: prefixes are read and written") {
    CHECK(prefix("10.98.0.0/24").text() == "10.98.0.0/24");
    CHECK(prefix("10.98.0.7").text() == "10.98.0.7/32");
    CHECK(prefix("fd98::/64").length == 64);
    CHECK(prefix("fd98::1").length == 128);
    CHECK(prefix("0.0.0.0/0").length == 0);
    CHECK(prefix("10.98.0.7/24").text() == "10.98.0.7/24");
    CHECK(prefix("10.98.0.7/24").masked().text() == "10.98.0.0/24");
    CHECK(prefix("255.255.255.255/1").masked().text() == "128.0.0.0/1");
    CHECK(prefix("ffff::ffff/3").masked().text() == "e000::/3");
    for (const char* text : {"", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+1",
                             "::/129", "10.0.0.0/8/8", "10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0.0/0x8",
                             "10.0.0.0/256", "10.0.0.0/4294967304"}) {
        CAPTURE(text);
        CHECK_FALSE(IpPrefix::parse(text).has_value());
    }
}

TEST_CASE("ip: contains agrees with comparing bit by bit") {
    SeededRandom random(11);
    int inside = 0;
    for (int round = 0; round < 20000; ++round) {
        const bool v4 = random.below(2) == 0;
        std::array<uint8_t, 16> bytes;
        random.fill(bytes);
        IpPrefix range{v4 ? IpAddress::v4(bytes.data()) : IpAddress::v6(bytes.data()), 0};
        const unsigned bits = range.address.bits();
        range.length = static_cast<uint8_t>(random.below(bits + 1));
        IpAddress other = range.address;
        // One flipped bit is the hardest case; sometimes several, sometimes none.
        for (uint64_t flips = random.below(3); flips > 0; --flips) {
            const uint64_t bit = random.below(bits);
            other.bytes[bit / 8] ^= static_cast<uint8_t>(0x80u >> (bit % 8));
        }
        bool expected = true;
        for (unsigned bit = 0; bit < range.length; ++bit) {
            const auto mask = static_cast<uint8_t>(0x80u >> (bit % 8));
            if ((other.bytes[bit / 8] ^ range.address.bytes[bit / 8]) & mask) expected = false;
        }
        REQUIRE(range.contains(other) == expected);
        REQUIRE(range.masked().contains(other) == expected);
        inside += expected;
    }
    CHECK(inside > 1000);
    CHECK(inside < 19000);
}

TEST_CASE("ip: families never contain each other, and nothing contains no address") {
    CHECK(prefix("0.0.0.0/0").contains(address("255.1.2.3")));
    CHECK_FALSE(prefix("0.0.0.0/0").contains(address("::1")));
    CHECK_FALSE(prefix("::/0").contains(address("10.0.0.1")));
    CHECK_FALSE(prefix("::/0").contains(IpAddress()));
    CHECK_FALSE(prefix("::/0").contains(address("::ffff:10.0.0.1").unmapped()));
}

TEST_CASE("ip: endpoints are read and written") {
    for (const char* text : {"192.0.2.1:51820", "[2001:db8::1]:51820", "[::]:0", "0.0.0.0:65535"}) {
        const auto parsed = Endpoint::parse(text);
        REQUIRE(parsed.has_value());
        CHECK(parsed->text() == text);
        CHECK(parsed->is_set());
    }
    CHECK(Endpoint::parse("192.0.2.1:51820")->port == 51820);
    CHECK_FALSE(Endpoint().is_set());
    for (const char* text :
         {"", ":", ":1", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1",
          "192.0.2.1:1x", "2001:db8::1:51820", "[2001:db8::1]", "[2001:db8::1]51820",
          "[192.0.2.1]:51820", "[]:1", "[:1", "]:1", "192.0.2.1:1:1", "192.0.2.1: 1"}) {
        CAPTURE(text);
        CHECK_FALSE(Endpoint::parse(text).has_value());
    }
}

}  // namespace
}  // namespace sluice
