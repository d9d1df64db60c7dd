#include "dataplane/wire/transport_header.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

using namespace sluice;
using namespace sluice::wire;

namespace {

using Packet = std::vector<uint8_t>;

// IPv4 with `options` bytes of options, then `transport`.
Packet ipv4(uint8_t protocol, size_t options, const Packet& transport) {
    Packet packet(20 + options);
    packet[0] = static_cast<uint8_t>(0x40 | (20 + options) / 4);
    packet[9] = protocol;
    packet.insert(packet.end(), transport.begin(), transport.end());
    store_be16(&packet[2], static_cast<uint16_t>(packet.size()));
    return packet;
}

Packet ipv6(uint8_t next, const Packet& rest) {
    Packet packet(40);
    packet[0] = 0x60;
    packet[6] = next;
    packet.insert(packet.end(), rest.begin(), rest.end());
    store_be16(&packet[4], static_cast<uint16_t>(rest.size()));
    return packet;
}

Packet tcp(size_t options, size_t payload) {
    Packet bytes(20 + options + payload);
    bytes[12] = static_cast<uint8_t>((20 + options) / 4 << 4);
    return bytes;
}

Packet udp(size_t payload) {
    Packet bytes(8 + payload);
    store_be16(&bytes[4], static_cast<uint16_t>(bytes.size()));
    return bytes;
}

Packet after(const Packet& extension, const Packet& transport) {
    Packet bytes = extension;
    bytes.insert(bytes.end(), transport.begin(), transport.end());
    return bytes;
}

}  // namespace

TEST_CASE("The headers of whole TCP and UDP packets are found") {
    auto layout = transport_layout(ipv4(6, 0, tcp(12, 100)));
    REQUIRE(layout);
    CHECK(layout->ip_version == 4);
    CHECK(layout->protocol == kTransportTcp);
    CHECK_FALSE(layout->ip_extended);
    CHECK(layout->transport_offset == 20);
    CHECK(layout->payload_offset == 52);
    CHECK(layout->payload_size == 100);

    layout = transport_layout(ipv4(17, 40, udp(0)));
    REQUIRE(layout);
    CHECK(layout->protocol == kTransportUdp);
    CHECK(layout->ip_extended);
    CHECK(layout->payload_offset == 68);
    CHECK(layout->payload_size == 0);

    // Hop-by-hop of 8 bytes, routing of 16, destination options of 8, UDP.
    Packet extensions(32);
    extensions[0] = 43;
    extensions[8] = 60;
    extensions[9] = 1;
    extensions[24] = 17;
    layout = transport_layout(ipv6(0, after(extensions, udp(5))));
    REQUIRE(layout);
    CHECK(layout->ip_version == 6);
    CHECK(layout->ip_extended);
    CHECK(layout->transport_offset == 72);
    CHECK(layout->payload_size == 5);
}

TEST_CASE("What is not one whole TCP or UDP packet has no layout") {
    CHECK_FALSE(transport_layout({}));
    CHECK_FALSE(transport_layout(ipv4(1, 0, Packet(30))));             // ICMP
    CHECK_FALSE(transport_layout(ipv6(58, Packet(30))));               // ICMPv6
    CHECK_FALSE(transport_layout(ipv6(44, after(Packet(8, 6), {}))));  // a fragment
    CHECK_FALSE(transport_layout(ipv6(51, Packet(60))));               // authentication header

    const auto with = [](Packet packet, size_t at, uint8_t value) {
        packet.at(at) = value;
        return packet;
    };
    const Packet good = ipv4(6, 0, tcp(0, 10));
    REQUIRE(transport_layout(good));
    CHECK_FALSE(transport_layout(with(good, 0, 0x75)));   // another version
    CHECK_FALSE(transport_layout(with(good, 0, 0x44)));   // header too short
    CHECK_FALSE(transport_layout(with(good, 3, 49)));     // shorter than it is
    CHECK_FALSE(transport_layout(with(good, 3, 51)));     // longer than it is
    CHECK_FALSE(transport_layout(with(good, 6, 0x20)));   // more fragments
    CHECK_FALSE(transport_layout(with(good, 7, 1)));      // a later fragment
    CHECK(transport_layout(with(good, 6, 0x40)));         // "don't fragment" is none
    CHECK_FALSE(transport_layout(with(good, 32, 0x40)));  // TCP header too short
    CHECK_FALSE(transport_layout(with(good, 32, 0x80)));  // TCP header longer than the packet
    const Packet datagram = ipv4(17, 0, udp(10));
    REQUIRE(transport_layout(datagram));
    CHECK_FALSE(transport_layout(with(datagram, 25, 17)));
    CHECK_FALSE(transport_layout(with(datagram, 25, 19)));
}

TEST_CASE("A packet cut off anywhere has no layout and is not read beyond its end") {
    Packet extension(16);
    extension[0] = 6;
    extension[1] = 1;
    for (const Packet& whole : {ipv4(6, 8, tcp(20, 0)), ipv6(60, after(extension, tcp(0, 0))),
                                ipv4(17, 0, udp(0)), ipv6(17, udp(0))}) {
        REQUIRE(transport_layout(whole));
        for (size_t size = 0; size < whole.size(); ++size) {
            // A block of exactly this size, for the sanitizer; and the length field does not give
            // the cut away.
            const auto cut = std::make_unique<uint8_t[]>(size);
            std::copy_n(whole.begin(), size, cut.get());
            if (size >= 40 && whole[0] >> 4 == 6) {
                store_be16(&cut[4], static_cast<uint16_t>(size - 40));
            } else if (size >= 20 && whole[0] >> 4 == 4) {
                store_be16(&cut[2], static_cast<uint16_t>(size));
            }
            CHECK_FALSE(transport_layout({cut.get(), size}));
        }
    }
}
