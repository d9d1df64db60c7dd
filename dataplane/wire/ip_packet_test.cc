#include "dataplane/wire/ip_packet.h"

#include <catch2/catch.hpp>
#include <vector>

#include "dataplane/base/random.h"

namespace sluice::wire {

namespace {

std::vector<uint8_t> v4_packet(size_t size, uint8_t traffic_class = 0, uint8_t header_words = 5) {
    std::vector<uint8_t> packet(size);
    packet[0] = static_cast<uint8_t>(0x40 | header_words);
    packet[1] = traffic_class;
    store_be16(packet.data() + 2, static_cast<uint16_t>(size));
    store_be32(packet.data() + 12, 0x0a000001);
    store_be32(packet.data() + 16, 0x0a000002);
    return packet;
}

std::vector<uint8_t> v6_packet(size_t size, uint8_t traffic_class = 0) {
    std::vector<uint8_t> packet(size);
    store_be32(packet.data(), 6u << 28 | uint32_t{traffic_class} << 20 | 0xabcde);
    store_be16(packet.data() + 4, static_cast<uint16_t>(size - 40));
    packet[8] = 0xfd;
    packet[24] = 0xfe;
    return packet;
}

uint16_t checksum_of(Bytes header) {
    uint32_t sum = 0;
    for (size_t i = 0; i < header.size(); i += 2)
        sum += load_be16(header.data() + i);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

}  // namespace

TEST_CASE("an IPv4 header is read") {
    const auto bytes = v4_packet(60, 0xb9);
    const auto packet = parse_ip_packet(bytes);
    REQUIRE(packet);
    CHECK(packet->is_v4());
    CHECK(packet->size == 60);
    CHECK(packet->traffic_class == 0xb9);
    CHECK(load_be32(packet->source.data()) == 0x0a000001);
    CHECK(load_be32(packet->destination.data()) == 0x0a000002);
    CHECK(packet->source.size() == 4);
}

TEST_CASE("an IPv6 header is read") {
    const auto bytes = v6_packet(60, 0xb9);
    const auto packet = parse_ip_packet(bytes);
    REQUIRE(packet);
    CHECK_FALSE(packet->is_v4());
    CHECK(packet->size == 60);
    CHECK(packet->traffic_class == 0xb9);
    CHECK(packet->source[0] == 0xfd);
    CHECK(packet->destination[0] == 0xfe);
    CHECK(packet->destination.size() == 16);
}

TEST_CASE("bytes behind the packet's own end are padding, a missing one is a lie") {
    for (const auto& whole : {v4_packet(60), v6_packet(60)}) {
        auto padded = whole;
        padded.resize(64);
        REQUIRE(parse_ip_packet(padded));
        CHECK(parse_ip_packet(padded)->size == 60);
        for (size_t size = 0; size < whole.size(); ++size) {
            const std::vector<uint8_t> cut(whole.begin(),
                                           whole.begin() + static_cast<ptrdiff_t>(size));
            CHECK_FALSE(parse_ip_packet(cut));
        }
    }
}

TEST_CASE("versions other than 4 and 6, and headers longer than the packet, are refused") {
    auto bytes = v4_packet(60);
    for (unsigned version = 0; version < 16; ++version) {
        bytes[0] = static_cast<uint8_t>(version << 4 | 5);
        // As version 6 the same bytes declare a payload of 0x0000.
        CHECK(parse_ip_packet(bytes).has_value() == (version == 4 || version == 6));
    }
    for (uint8_t words = 0; words < 16; ++words) {
        CHECK(parse_ip_packet(v4_packet(40, 0, words)).has_value() == (words >= 5 && words <= 10));
    }
}

TEST_CASE("a new traffic class leaves the IPv4 checksum right and all else alone") {
    SeededRandom random(1);
    for (int i = 0; i < 2000; ++i) {
        auto bytes = v4_packet(20, static_cast<uint8_t>(random.u32()));
        store_be32(bytes.data() + 4, random.u32());
        store_be32(bytes.data() + 12, random.u32());
        store_be16(bytes.data() + 10, checksum_of(bytes));
        REQUIRE(checksum_of(bytes) == 0);
        const auto traffic_class = static_cast<uint8_t>(random.u32());
        const auto before = bytes;
        set_traffic_class(bytes, traffic_class);
        REQUIRE(bytes[1] == traffic_class);
        REQUIRE(checksum_of(bytes) == 0);
        REQUIRE(std::equal(bytes.begin() + 2, bytes.begin() + 10, before.begin() + 2));
        REQUIRE(std::equal(bytes.begin() + 12, bytes.end(), before.begin() + 12));
    }
    for (unsigned traffic_class = 0; traffic_class < 256; ++traffic_class) {
        auto bytes = v6_packet(48, 0x5a);
        set_traffic_class(bytes, static_cast<uint8_t>(traffic_class));
        REQUIRE(bytes == v6_packet(48, static_cast<uint8_t>(traffic_class)));
    }
}

}  // namespace sluice::wire
