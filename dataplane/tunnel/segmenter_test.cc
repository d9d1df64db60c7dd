#include "dataplane/tunnel/segmenter.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/tunnel/naive_packets.h"

using namespace sluice;
using namespace sluice::tunnel;
using naive::Packet;
using naive::Spec;

namespace {

Offload offload_for(const Spec& spec, size_t gso_size) {
    const size_t transport = (spec.v4 ? 20 : 40) + spec.ip_extra.size();
    return {.flags = Offload::kNeedsChecksum,
            .gso_type = static_cast<uint8_t>(!spec.tcp ? Offload::kGsoUdpL4
                                             : spec.v4 ? Offload::kGsoTcp4
                                                       : Offload::kGsoTcp6),
            .gso_size = static_cast<uint16_t>(gso_size),
            .checksum_start = static_cast<uint16_t>(transport),
            .checksum_offset = static_cast<uint16_t>(spec.tcp ? 16 : 6)};
}

Packet super_packet(const Spec& spec) {
    Packet packet = naive::build(spec);
    naive::make_checksum_partial(packet);
    return packet;
}

// What one sender would have sent without any offload, built segment by segment.
std::vector<Packet> sent_one_by_one(const Spec& whole, size_t gso_size) {
    std::vector<Packet> packets;
    for (size_t at = 0; at < whole.payload.size(); at += gso_size) {
        const size_t end = std::min(at + gso_size, whole.payload.size());
        Spec part = whole;
        part.payload.assign(whole.payload.begin() + static_cast<ptrdiff_t>(at),
                            whole.payload.begin() + static_cast<ptrdiff_t>(end));
        part.sequence += static_cast<uint32_t>(at);
        part.id = static_cast<uint16_t>(part.id + packets.size());
        if (at > 0) part.flags &= 0x7f;
        if (end < whole.payload.size()) part.flags &= 0xf6;
        packets.push_back(naive::build(part));
    }
    return packets;
}

// Cuts in a block of exactly the packet's size, and spoils each segment once it has been looked at,
// as who encrypts in place would.
std::vector<Packet> cut(const Offload& offload, const Packet& packet) {
    const auto exact = std::make_unique<uint8_t[]>(packet.size());
    std::copy(packet.begin(), packet.end(), exact.get());
    Segmenter segmenter(offload, {exact.get(), packet.size()});
    REQUIRE_FALSE(segmenter.malformed());
    std::vector<Packet> segments;
    while (const auto segment = segmenter.next()) {
        segments.emplace_back(segment->begin(), segment->end());
        std::fill(segment->begin(), segment->end(), uint8_t{0xee});
    }
    CHECK_FALSE(segmenter.next());
    return segments;
}

Spec random_spec(SeededRandom& random) {
    Spec spec;
    spec.v4 = random.below(2) == 0;
    spec.tcp = random.below(3) > 0;
    spec.id = static_cast<uint16_t>(random.u32());
    spec.tos = static_cast<uint8_t>(random.u32());
    spec.dont_fragment = random.below(2) == 0;
    spec.sequence = random.u32();
    spec.flags = static_cast<uint8_t>(random.u32());
    spec.window = static_cast<uint16_t>(random.u32());
    if (random.below(3) == 0) {
        spec.ip_extra = spec.v4 ? Packet(4 * random.below(11), 1) : Packet(8 * random.below(40), 0);
        if (!spec.v4 && !spec.ip_extra.empty()) {
            spec.ip_extra[1] = static_cast<uint8_t>(spec.ip_extra.size() / 8 - 1);
        }
    }
    spec.tcp_options.resize(4 * random.below(11));
    random.fill(spec.tcp_options);
    return spec;
}

}  // namespace

TEST_CASE("A super-packet is cut into what would have been sent without it") {
    SeededRandom random(10);
    for (int round = 0; round < 3000; ++round) {
        Spec spec = random_spec(random);
        const size_t gso_size = 1 + random.below(random.below(2) == 0 ? 16 : 1500);
        spec.payload.resize(1 + random.below(std::min<size_t>(60000, gso_size * 60)));
        random.fill(spec.payload);
        Offload offload = offload_for(spec, gso_size);
        if (spec.tcp && random.below(2) == 0) offload.gso_type |= Offload::kGsoEcn;
        const auto expected = sent_one_by_one(spec, gso_size);
        REQUIRE(cut(offload, super_packet(spec)) == expected);
        offload.gso_type &= 0x7f;
        REQUIRE(naive::segments_of(offload, super_packet(spec)) == expected);
    }
}

TEST_CASE("Edge sizes: one byte, exact multiples, one more, one less, and the largest packet") {
    SeededRandom random(11);
    for (const bool v4 : {true, false}) {
        for (const bool tcp : {true, false}) {
            for (const size_t gso_size : {1u, 2u, 7u, 28u, 536u, 1380u, 8940u, 65495u}) {
                for (const size_t count : {1u, 2u, 7u}) {
                    for (const int more : {-1, 0, 1}) {
                        const size_t size = gso_size * count + static_cast<size_t>(more);
                        if (size == 0 || size > 65535 - 60) continue;
                        Spec spec{.v4 = v4, .tcp = tcp, .id = 0xfffe, .sequence = 0xfffffff0};
                        spec.flags = 0x99;  // CWR, ACK, PSH, FIN
                        spec.payload.resize(size);
                        random.fill(spec.payload);
                        REQUIRE(cut(offload_for(spec, gso_size), super_packet(spec)) ==
                                sent_one_by_one(spec, gso_size));
                    }
                }
            }
        }
    }
    Spec largest;
    largest.payload.resize(65535 - 40, 0xff);
    CHECK(cut(offload_for(largest, 1380), super_packet(largest)) == sent_one_by_one(largest, 1380));
}

TEST_CASE("A plain packet passes as it is, or with its checksum completed") {
    SeededRandom random(12);
    for (int round = 0; round < 500; ++round) {
        Spec spec = random_spec(random);
        spec.payload.resize(random.below(1400));
        random.fill(spec.payload);
        const Packet whole = naive::build(spec);
        Offload offload = offload_for(spec, 0);
        offload.gso_type = Offload::kGsoNone;
        REQUIRE(cut(offload, super_packet(spec)) == std::vector<Packet>{whole});
        REQUIRE(cut({}, whole) == std::vector<Packet>{whole});
    }
    CHECK(cut({}, {1, 2, 3}) == std::vector<Packet>{{1, 2, 3}});
}

TEST_CASE("An offload header that does not fit the packet gives nothing") {
    Spec spec;
    spec.payload.resize(3000);
    const Offload good = offload_for(spec, 1000);
    const Packet packet = super_packet(spec);
    const auto refused = [](const Offload& offload, Packet bytes) {
        Segmenter segmenter(offload, bytes);
        return segmenter.malformed() && !segmenter.next();
    };
    REQUIRE_FALSE(refused(good, packet));
    const auto with = [&good](auto change) {
        Offload offload = good;
        change(offload);
        return offload;
    };
    CHECK(refused(with([](Offload& o) { o.flags = 0; }), packet));
    CHECK(refused(with([](Offload& o) { o.gso_size = 0; }), packet));
    CHECK(refused(with([](Offload& o) { o.gso_type = Offload::kGsoTcp6; }), packet));
    CHECK(refused(with([](Offload& o) { o.gso_type = Offload::kGsoUdpL4; }), packet));
    CHECK(
        refused(with([](Offload& o) { o.gso_type = 3; }), packet));  // UFO, which nobody asked for
    CHECK(refused(with([](Offload& o) { o.gso_type = Offload::kGsoEcn; }), packet));
    CHECK(refused(with([](Offload& o) { o.checksum_start = 24; }), packet));
    CHECK(refused(with([](Offload& o) { o.checksum_offset = 6; }), packet));
    CHECK(refused(with([](Offload& o) { o.checksum_start = 0xffff; }), packet));
    CHECK(refused(with([](Offload& o) { o.checksum_offset = 0xffff; }), packet));

    const auto bent = [&packet](size_t at, uint8_t value) {
        Packet bytes = packet;
        bytes.at(at) = value;
        return bytes;
    };
    CHECK(refused(good, bent(0, 0x65)));   // another version
    CHECK(refused(good, bent(0, 0x44)));   // IPv4 header shorter than any
    CHECK(refused(good, bent(0, 0x4f)));   // header longer than said elsewhere
    CHECK(refused(good, bent(3, 0xff)));   // length field lies
    CHECK(refused(good, bent(6, 0x20)));   // a fragment
    CHECK(refused(good, bent(9, 17)));     // UDP by its header, TCP by the offload
    CHECK(refused(good, bent(32, 0x40)));  // TCP header shorter than any
    for (size_t size = 0; size < packet.size(); size += size < 80 ? 1 : 331) {
        CHECK(refused(good, Packet(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(size))));
    }

    Spec udp{.tcp = false};
    udp.payload.resize(3000);
    Packet lying = super_packet(udp);
    lying[24] ^= 1;  // UDP length
    CHECK(refused(offload_for(udp, 1000), lying));

    Spec v6{.v4 = false};
    v6.ip_extra.resize(8 * 60);
    v6.ip_extra[1] = 59;
    v6.payload.resize(3000);
    CHECK(refused(offload_for(v6, 1000), super_packet(v6)));  // more headers than are kept
    v6.ip_extra.resize(8);
    v6.ip_extra[1] = 0;
    const Packet extended = super_packet(v6);
    CHECK_FALSE(refused(offload_for(v6, 1000), extended));
    Packet endless = extended;
    endless[41] = 0xff;
    endless.resize(1000);
    naive::put(endless, 4, 2, 960);
    CHECK(refused(offload_for(v6, 1000), endless));  // the extension header leaves the packet
    Packet fragment = extended;
    fragment[6] = 44;
    CHECK(refused(offload_for(v6, 1000), fragment));
}

TEST_CASE("A plain packet's checksum place must lie inside it") {
    Packet packet(40);
    const Offload inside{.flags = 1, .checksum_start = 20, .checksum_offset = 18};
    const Offload outside{.flags = 1, .checksum_start = 20, .checksum_offset = 19};
    CHECK_FALSE(Segmenter(inside, packet).malformed());
    CHECK(Segmenter(outside, packet).malformed());
    CHECK(Segmenter({.flags = 1}, MutableBytes()).malformed());
    CHECK_FALSE(Segmenter({}, MutableBytes()).malformed());
}
