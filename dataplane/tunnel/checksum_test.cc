#include "dataplane/tunnel/checksum.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/tunnel/naive_packets.h"

using namespace sluice;
using namespace sluice::tunnel;

namespace {

// The naive sum has no 0 for a multiple of 0xffff and ours may; they are the same number.
uint16_t canonical(uint16_t sum) {
    return sum == 0xffff ? 0 : sum;
}

uint16_t in_network_order(ChecksumSum sum) {
    return canonical(__builtin_bswap16(checksum_fold(sum)));
}

}  // namespace

TEST_CASE("The checksum is the naive one for every length and alignment") {
    SeededRandom random(1);
    std::vector<uint8_t> bytes(3000);
    random.fill(bytes);
    for (size_t size = 0; size < 700; ++size) {
        // Copied to a block of exactly this size, so that a sanitizer sees a read beyond it.
        for (size_t offset : {size_t{0}, size_t{1}, size_t{2}, size_t{7}, size_t{31}}) {
            const auto exact = std::make_unique<uint8_t[]>(size + offset);
            std::copy_n(bytes.begin(), size + offset, exact.get());
            const Bytes part(exact.get() + offset, size);
            const uint16_t expected =
                canonical(naive::sum_of({part.begin(), part.end()}, 0, part.size()));
            CHECK(in_network_order(checksum_add(0, part)) == expected);
            CHECK(in_network_order(detail::add_words(0, part)) == expected);
            if (detail::has_vectors()) {
                CHECK(in_network_order(detail::add_vectors(0, part)) == expected);
            }
        }
    }
}

TEST_CASE("The checksum carries where every word is at its largest") {
    const std::vector<uint8_t> ones(65535, 0xff);
    for (size_t size : {2u, 64u, 1420u, 65534u, 65535u}) {
        const uint16_t expected = canonical(naive::sum_of(ones, 0, size));
        CHECK(in_network_order(checksum_add(0, Bytes(ones).first(size))) == expected);
        CHECK(in_network_order(checksum_add(0xffffffffffff, Bytes(ones).first(size))) == expected);
    }
    CHECK(checksum_fold(0) == 0);
    CHECK(checksum_fold(0xffffffffffffffff) == 0xffff);
    CHECK(checksum_fold(0x1ffffffff) != 0);
}

TEST_CASE("A completed checksum is right, and never says that there is none") {
    SeededRandom random(2);
    size_t zeroes = 0;
    for (int round = 0; round < 20000; ++round) {
        naive::Spec spec;
        spec.v4 = random.below(2) == 0;
        spec.tcp = random.below(2) == 0;
        spec.payload.resize(random.below(40));
        random.fill(spec.payload);
        const naive::Packet whole = naive::build(spec);
        naive::Packet partial = whole;
        naive::make_checksum_partial(partial);
        // Some packets are bent so that their checksum comes out as 0.
        const naive::Shape shape = naive::shape_of(whole);
        naive::Packet expected = whole;
        if (spec.payload.size() >= 2 && round % 4 == 0) {
            const size_t at = whole.size() - spec.payload.size();
            const uint32_t word =
                naive::get(whole, at, 2) + naive::get(whole, naive::checksum_at(shape), 2);
            naive::put(partial, at, 2, word > 0xffff ? word - 0xffff : word);
            naive::put(expected, at, 2, word > 0xffff ? word - 0xffff : word);
            naive::fix_transport_checksum(expected);
            zeroes += naive::get(expected, naive::checksum_at(shape), 2) == 0xffff;
        }
        complete_checksum(MutableBytes(partial).subspan(shape.transport), spec.tcp ? 16 : 6);
        REQUIRE(partial == expected);
    }
    CHECK(zeroes > 1000);
}

TEST_CASE("The IPv4 header checksum is made and recognised") {
    SeededRandom random(3);
    for (int round = 0; round < 1000; ++round) {
        naive::Spec spec;
        spec.id = static_cast<uint16_t>(random.u32());
        spec.ttl = static_cast<uint8_t>(random.u32());
        spec.ip_extra.resize(4 * random.below(11), 1);
        naive::Packet packet = naive::build(spec);
        const Bytes header = Bytes(packet).first(20 + spec.ip_extra.size());
        REQUIRE(ipv4_header_valid(header));
        REQUIRE(load_native<uint16_t>(&packet[10]) == ipv4_header_checksum(header));
        packet[random.below(header.size())] ^= static_cast<uint8_t>(1u << random.below(8));
        REQUIRE_FALSE(ipv4_header_valid(header));
    }
}
