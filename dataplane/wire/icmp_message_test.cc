#include "dataplane/wire/icmp_message.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "dataplane/wire/ip_packet.h"

namespace sluice::wire {

namespace {

std::vector<uint8_t> v4_packet(std::string_view from, std::string_view to, size_t size,
                               uint8_t protocol = 17) {
    std::vector<uint8_t> packet(size);
    std::iota(packet.begin(), packet.end(), uint8_t{0});
    std::fill_n(packet.begin(), 20, uint8_t{0});
    packet[0] = 0x45;
    store_be16(&packet[2], static_cast<uint16_t>(size));
    packet[8] = 64;
    packet[9] = protocol;
    const IpAddress source = IpAddress::parse(from).value();
    const IpAddress destination = IpAddress::parse(to).value();
    std::copy_n(source.bytes.data(), 4, &packet[12]);
    std::copy_n(destination.bytes.data(), 4, &packet[16]);
    return packet;
}

// `headers`: what follows the fixed header, before `payload` bytes of filling.
std::vector<uint8_t> v6_packet(std::string_view from, std::string_view to, uint8_t next,
                               const std::vector<uint8_t>& headers, size_t payload) {
    std::vector<uint8_t> packet(40);
    packet[0] = 0x60;
    packet[6] = next;
    packet[7] = 64;
    const IpAddress source = IpAddress::parse(from).value();
    const IpAddress destination = IpAddress::parse(to).value();
    std::copy_n(source.bytes.data(), 16, &packet[8]);
    std::copy_n(destination.bytes.data(), 16, &packet[24]);
    packet.insert(packet.end(), headers.begin(), headers.end());
    for (size_t i = 0; i < payload; ++i)
        packet.push_back(static_cast<uint8_t>(i * 3 + 1));
    store_be16(&packet[4], static_cast<uint16_t>(packet.size() - 40));
    return packet;
}

std::vector<uint8_t> error_about(IcmpError error, uint16_t mtu, Bytes packet) {
    std::array<uint8_t, kIcmpErrorSizeMax> out;
    out.fill(0xee);
    const size_t size = write_icmp_error(error, mtu, packet, out);
    REQUIRE((size > 0) == icmp_error_allowed(packet));
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)};
}

// Another way than the product's: end-around carry at every step. A right checksum makes it ffff.
uint16_t ones_sum(Bytes bytes, uint32_t sum = 0) {
    for (size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<uint16_t>(sum);
}

constexpr auto kHere = "10.98.0.1";
constexpr auto kThere = "10.98.0.77";
constexpr auto kHere6 = "fd98::1";
constexpr auto kThere6 = "fd98::77";

bool allowed_v4(std::string_view from, std::string_view to) {
    return icmp_error_allowed(v4_packet(from, to, 60));
}
bool allowed_v6(std::string_view from, std::string_view to) {
    return icmp_error_allowed(v6_packet(from, to, 17, {}, 20));
}

}  // namespace

TEST_CASE("ICMP: host unreachable, from the address that is not there, with the packet quoted") {
    const auto packet = v4_packet(kHere, kThere, 100);
    const auto error = error_about(IcmpError::kUnreachable, 1420, packet);
    REQUIRE(error.size() == 20 + 8 + 100);
    const auto ip = parse_ip_packet(error);
    REQUIRE(ip);
    CHECK(ip->size == error.size());
    CHECK(IpAddress::v4(ip->source.data()) == IpAddress::parse(kThere));
    CHECK(IpAddress::v4(ip->destination.data()) == IpAddress::parse(kHere));
    CHECK(error[9] == 1);
    CHECK(ones_sum(Bytes(error).first(20)) == 0xffff);
    CHECK(error[20] == 3);
    CHECK(error[21] == 1);
    CHECK(ones_sum(Bytes(error).subspan(20)) == 0xffff);
    CHECK(load_be32(&error[24]) == 0);
    CHECK(std::equal(packet.begin(), packet.end(), error.begin() + 28));
}

TEST_CASE("ICMPv6: address unreachable") {
    const auto packet = v6_packet(kHere6, kThere6, 6, {}, 61);
    const auto error = error_about(IcmpError::kUnreachable, 1420, packet);
    REQUIRE(error.size() == 40 + 8 + packet.size());
    const auto ip = parse_ip_packet(error);
    REQUIRE(ip);
    CHECK(IpAddress::v6(ip->source.data()) == IpAddress::parse(kThere6));
    CHECK(IpAddress::v6(ip->destination.data()) == IpAddress::parse(kHere6));
    CHECK(error[6] == 58);
    CHECK(error[40] == 1);
    CHECK(error[41] == 3);
    CHECK(load_be32(&error[44]) == 0);
    const auto payload = static_cast<uint32_t>(error.size() - 40);
    CHECK(ones_sum(Bytes(error).subspan(8), payload + 58) == 0xffff);
    CHECK(std::equal(packet.begin(), packet.end(), error.begin() + 48));
}

TEST_CASE("what is too big is told the size that would go") {
    const auto v4 = error_about(IcmpError::kTooBig, 1380, v4_packet(kHere, kThere, 1420));
    CHECK(v4[20] == 3);
    CHECK(v4[21] == 4);
    CHECK(load_be32(&v4[24]) == 1380);
    CHECK(ones_sum(Bytes(v4).subspan(20)) == 0xffff);
    const auto v6 = error_about(IcmpError::kTooBig, 1380, v6_packet(kHere6, kThere6, 6, {}, 1380));
    CHECK(v6[40] == 2);
    CHECK(v6[41] == 0);
    CHECK(load_be32(&v6[44]) == 1380);
}

TEST_CASE("as much is quoted as an error may hold, and never what is behind the packet's end") {
    for (size_t size = 20; size <= 1500; size += 37) {
        auto packet = v4_packet(kHere, kThere, size);
        const auto error = error_about(IcmpError::kUnreachable, 0, packet);
        REQUIRE(error.size() == std::min<size_t>(28 + size, 576));
        packet.resize(size + 100, 0xab);
        REQUIRE(error_about(IcmpError::kUnreachable, 0, packet) == error);
    }
    for (size_t payload = 0; payload <= 1500; payload += 37) {
        auto packet = v6_packet(kHere6, kThere6, 17, {}, payload);
        const auto error = error_about(IcmpError::kUnreachable, 0, packet);
        REQUIRE(error.size() == std::min<size_t>(48 + 40 + payload, 1280));
        const auto sum = static_cast<uint32_t>(error.size() - 40) + 58;
        REQUIRE(ones_sum(Bytes(error).subspan(8), sum) == 0xffff);
        packet.resize(packet.size() + 100, 0xab);
        REQUIRE(error_about(IcmpError::kUnreachable, 0, packet) == error);
    }
    // The largest there is: a super-packet of the TUN device.
    CHECK(error_about(IcmpError::kTooBig, 1420, v4_packet(kHere, kThere, 65535)).size() == 576);
}

TEST_CASE("only a packet from one host to one host is answered") {
    CHECK(allowed_v4(kHere, kThere));
    CHECK(allowed_v4("192.0.2.1", "8.8.8.8"));
    for (const auto* nobody : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.250",
                               "240.0.0.1", "255.255.255.255"}) {
        INFO(nobody);
        CHECK_FALSE(allowed_v4(nobody, kThere));
        CHECK_FALSE(allowed_v4(kHere, nobody));
    }
    CHECK(allowed_v6(kHere6, kThere6));
    CHECK(allowed_v6("fe80::1", "2001:db8::1"));
    for (const auto* nobody : {"::", "::1", "ff02::1", "ff0e::101"}) {
        INFO(nobody);
        CHECK_FALSE(allowed_v6(nobody, kThere6));
        CHECK_FALSE(allowed_v6(kHere6, nobody));
    }
    CHECK_FALSE(icmp_error_allowed({}));
    CHECK_FALSE(icmp_error_allowed(std::vector<uint8_t>(60, 0)));
}

TEST_CASE("an ICMP error is never answered with one, and what is unknown may be an error") {
    for (unsigned type = 0; type < 256; ++type) {
        auto packet = v4_packet(kHere, kThere, 60, 1);
        packet[20] = static_cast<uint8_t>(type);
        const bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
        CHECK(icmp_error_allowed(packet) == (type <= 18 && !error));
        packet = v6_packet(kHere6, kThere6, 58, {static_cast<uint8_t>(type)}, 20);
        CHECK(icmp_error_allowed(packet) == (type >= 128));
    }
    // So short that its type cannot be seen.
    CHECK_FALSE(icmp_error_allowed(v4_packet(kHere, kThere, 20, 1)));
    CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, 58, {}, 0)));
    // Behind the header's options.
    auto optioned = v4_packet(kHere, kThere, 60, 1);
    optioned[0] = 0x46;
    optioned[20] = 8;
    optioned[24] = 3;
    CHECK_FALSE(icmp_error_allowed(optioned));
    optioned[24] = 8;
    CHECK(icmp_error_allowed(optioned));
}

TEST_CASE("fragments behind the first are not answered") {
    auto packet = v4_packet(kHere, kThere, 60);
    packet[6] = 0x20;  // more follow
    CHECK(icmp_error_allowed(packet));
    packet[7] = 1;
    CHECK_FALSE(icmp_error_allowed(packet));
    packet[6] = 0x40;  // the other flag
    packet[7] = 0;
    CHECK(icmp_error_allowed(packet));
    CHECK(icmp_error_allowed(v6_packet(kHere6, kThere6, 44, {17, 0, 0, 1, 0, 0, 0, 0}, 20)));
    CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, 44, {17, 0, 0, 8, 0, 0, 0, 0}, 20)));
}

TEST_CASE("an ICMPv6 error is found behind extension headers, and a chain without end is refused") {
    const std::vector<uint8_t> options = {58, 0, 1, 4, 0, 0, 0, 0};
    for (const uint8_t kind : {uint8_t{0}, uint8_t{43}, uint8_t{60}}) {
        auto chain = options;
        chain.push_back(1);
        CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, kind, chain, 20)));
        chain.back() = 128;
        CHECK(icmp_error_allowed(v6_packet(kHere6, kThere6, kind, chain, 20)));
        // One that says it is longer than the packet.
        chain[1] = 255;
        CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, kind, chain, 20)));
    }
    // An authentication header counts in words of four.
    std::vector<uint8_t> authentication(24);
    authentication[0] = 58;
    authentication[1] = 4;
    authentication.push_back(1);
    CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, 51, authentication, 20)));
    authentication.back() = 129;
    CHECK(icmp_error_allowed(v6_packet(kHere6, kThere6, 51, authentication, 20)));
    // Only headers, to the last byte.
    std::vector<uint8_t> endless;
    for (int i = 0; i < 100; ++i)
        endless.insert(endless.end(), {60, 0, 1, 4, 0, 0, 0, 0});
    CHECK_FALSE(icmp_error_allowed(v6_packet(kHere6, kThere6, 60, endless, 0)));
}

}  // namespace sluice::wire
