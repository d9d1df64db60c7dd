#include "dataplane/tunnel/coalescer.h"

#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/tunnel/naive_packets.h"
#include "dataplane/tunnel/round_trip.h"

using namespace sluice;
using namespace sluice::tunnel;
using naive::Packet;
using naive::RoundTrip;
using naive::Spec;

namespace {

class SeededChance final : public naive::Chance {
  public:
    explicit SeededChance(uint64_t seed) : random_(seed) {}
    uint32_t below(uint32_t bound) override { return static_cast<uint32_t>(random_.below(bound)); }
    bool exhausted() const override { return false; }

  private:
    SeededRandom random_;
};

// The packet that follows `spec` in its flow, with `size` bytes of payload.
Spec following(Spec spec, size_t size) {
    spec.sequence += static_cast<uint32_t>(spec.payload.size());
    ++spec.id;
    const auto last = static_cast<uint8_t>(spec.payload.empty() ? 0 : spec.payload.back());
    spec.payload.assign(size, static_cast<uint8_t>(last + 1));
    return spec;
}

Spec first_of(bool v4, bool tcp, size_t size) {
    Spec spec;
    spec.v4 = v4;
    spec.tcp = tcp;
    spec.payload.assign(size, 7);
    return spec;
}

std::vector<Packet> run_of(Spec spec, size_t count) {
    std::vector<Packet> packets;
    for (size_t i = 0; i < count; ++i) {
        packets.push_back(naive::build(spec));
        spec = following(spec, spec.payload.size());
    }
    return packets;
}

// How many packets the coalescer makes of these; everything else about them is checked on the way.
size_t packets_made_of(const std::vector<Packet>& packets, Coalescer::Options options = {}) {
    Coalescer coalescer(options);
    RoundTrip judge;
    for (const Packet& packet : packets)
        judge.feed(coalescer, packet);
    coalescer.flush(judge);
    CHECK(judge.verdict() == "");
    return judge.outputs().size();
}

}  // namespace

TEST_CASE("Packets that follow each other become one") {
    for (const bool v4 : {true, false}) {
        for (const bool tcp : {true, false}) {
            for (const size_t size : {1u, 2u, 20u, 28u, 53u, 1380u}) {
                CHECK(packets_made_of(run_of(first_of(v4, tcp, size), 40)) == 1);
            }
            std::vector<Packet> packets = run_of(first_of(v4, tcp, 1000), 1);
            Spec spec = following(first_of(v4, tcp, 1000), 1000);
            packets.push_back(naive::build(spec));
            spec = following(spec, 999);
            packets.push_back(naive::build(spec));
            CHECK(packets_made_of(packets) == 1);  // a shorter one may be the last
            spec = following(spec, 999);
            packets.push_back(naive::build(spec));
            CHECK(packets_made_of(packets) == 2);
            spec = following(spec, 1001);  // a longer one never follows
            packets.push_back(naive::build(spec));
            CHECK(packets_made_of(packets) == 3);
        }
    }
}

TEST_CASE("A super-packet is never larger than an IPv4 packet can be") {
    for (const bool v4 : {true, false}) {
        const size_t headers = v4 ? 40 : 60;
        const size_t fit = (65535 - headers) / 1380;
        CHECK(packets_made_of(run_of(first_of(v4, true, 1380), fit)) == 1);
        CHECK(packets_made_of(run_of(first_of(v4, true, 1380), fit + 1)) == 2);
        CHECK(packets_made_of(run_of(first_of(v4, true, 1380), 10 * fit)) == 10);
        // Exactly full.
        const size_t exact = (65535 - headers) / 5;
        CHECK(packets_made_of(run_of(first_of(v4, true, exact), 5)) == 1);
        CHECK(packets_made_of(run_of(first_of(v4, true, 65535 - headers), 2)) == 2);
        const size_t one_too_much = (65536 - headers) / 4;
        CHECK(packets_made_of(run_of(first_of(v4, true, one_too_much), 4)) == 2);
    }
    CHECK(packets_made_of(run_of(first_of(true, false, 10), 64)) == 1);
    CHECK(packets_made_of(run_of(first_of(true, false, 10), 65)) == 2);
}

TEST_CASE("What the kernel's GRO would not join is not joined") {
    using Change = std::function<void(Spec&)>;
    const auto joined_after = [](const Spec& first, const Change& change) {
        Spec second = following(first, first.payload.size());
        change(second);
        return packets_made_of({naive::build(first), naive::build(second)}) == 1;
    };
    for (const bool v4 : {true, false}) {
        for (const bool tcp : {true, false}) {
            Spec first = first_of(v4, tcp, 500);
            first.dont_fragment = false;
            first.tcp_options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1};
            const auto joined = [&](const Change& change) { return joined_after(first, change); };
            REQUIRE(joined([](Spec&) {}));
            CHECK_FALSE(joined([](Spec& s) { s.source_host = 9; }));
            CHECK_FALSE(joined([](Spec& s) { s.destination_host = 9; }));
            CHECK_FALSE(joined([](Spec& s) { s.source_port ^= 1; }));
            CHECK_FALSE(joined([](Spec& s) { s.destination_port ^= 1; }));
            CHECK_FALSE(joined([](Spec& s) { s.ttl ^= 1; }));
            CHECK_FALSE(joined([](Spec& s) { s.tos ^= 1; }));
            CHECK_FALSE(joined([](Spec& s) { s.tos ^= 0x10; }));
            CHECK(joined([](Spec& s) { s.flow_label = 1; }) == v4);
            CHECK(joined([](Spec& s) { s.dont_fragment = true; }) == !v4);
            CHECK(joined([](Spec& s) { ++s.id; }) == !v4);
            CHECK(joined([](Spec& s) { --s.id; }) == !v4);
            CHECK_FALSE(joined([](Spec& s) { s.tcp = !s.tcp; }));
            CHECK_FALSE(joined([](Spec& s) { s.v4 = !s.v4; }));
            CHECK_FALSE(joined([](Spec& s) { s.payload.clear(); }));
            CHECK_FALSE(joined([v4](Spec& s) {
                s.ip_extra = v4 ? Packet{1, 1, 1, 1} : Packet{0, 0, 1, 4, 0, 0, 0, 0};
            }));
            if (!tcp) continue;
            CHECK_FALSE(joined([](Spec& s) { ++s.sequence; }));
            CHECK_FALSE(joined([](Spec& s) { --s.sequence; }));
            CHECK_FALSE(joined([](Spec& s) { ++s.acknowledgment; }));
            CHECK_FALSE(joined([](Spec& s) { ++s.window; }));
            CHECK_FALSE(joined([](Spec& s) { ++s.urgent; }));
            CHECK_FALSE(joined([](Spec& s) { s.tcp_options[7] = 2; }));
            CHECK_FALSE(joined([](Spec& s) { s.tcp_options[11] = 2; }));
            CHECK_FALSE(joined([](Spec& s) { s.tcp_options.clear(); }));
            CHECK(joined([](Spec& s) { s.flags |= 0x08; }));
            for (const uint8_t flag : {0x01, 0x02, 0x04, 0x10, 0x20, 0x40, 0x80}) {
                CHECK_FALSE(joined([flag](Spec& s) { s.flags ^= flag; }));
                Spec odd = first;
                odd.flags ^= flag;
                CHECK_FALSE(joined_after(odd, [](Spec&) {}));
            }
        }
    }
}

TEST_CASE("With DF the ID means nothing; without it, it counts up") {
    for (const bool dont_fragment : {true, false}) {
        std::vector<Packet> packets;
        Spec spec = first_of(true, true, 100);
        spec.dont_fragment = dont_fragment;
        for (const uint16_t id : {0xffff, 0, 0, 7}) {
            spec.id = id;
            packets.push_back(naive::build(spec));
            spec = following(spec, 100);
        }
        CHECK(packets_made_of(packets) == (dont_fragment ? 1u : 3u));
    }
}

TEST_CASE("PSH ends a super-packet, and stays with the last segment") {
    Spec spec = first_of(true, true, 100);
    std::vector<Packet> packets{naive::build(spec)};
    spec = following(spec, 100);
    spec.flags = 0x18;
    packets.push_back(naive::build(spec));
    CHECK(packets_made_of(packets) == 1);
    spec = following(spec, 100);
    spec.flags = 0x10;
    packets.push_back(naive::build(spec));
    CHECK(packets_made_of(packets) == 2);
    // At once, not at the end of the batch.
    Coalescer coalescer({});
    RoundTrip judge;
    judge.feed(coalescer, packets[0]);
    CHECK(judge.outputs().empty());
    judge.feed(coalescer, packets[1]);
    CHECK(judge.outputs().size() == 1);
}

TEST_CASE("Packets that are wrong by their checksum field go alone") {
    Spec spec = first_of(true, false, 100);
    std::vector<Packet> packets = run_of(spec, 3);
    naive::put(packets[1], 26, 2, 0);  // UDP without a checksum
    CHECK(packets_made_of(packets) == 3);
    packets = run_of(spec, 3);
    packets[1][10] ^= 1;  // IPv4 header checksum: the kernel shall drop it
    CHECK(packets_made_of(packets) == 3);
    packets = run_of(spec, 3);
    packets[1][50] ^= 1;  // in the payload: vouched for by who decrypted it
    CHECK(packets_made_of(packets) == 1);
}

TEST_CASE("Each kind of joining has its switch") {
    for (const bool v4 : {true, false}) {
        const auto tcp = run_of(first_of(v4, true, 100), 5);
        const auto udp = run_of(first_of(v4, false, 100), 5);
        CHECK(packets_made_of(tcp, {.tcp = false}) == 5);
        CHECK(packets_made_of(udp, {.tcp = false}) == 1);
        CHECK(packets_made_of(udp, {.udp = false}) == 5);
        CHECK(packets_made_of(tcp, {.udp = false}) == 1);
        CHECK(packets_made_of(tcp, {.flows_max = 0}) == 5);
    }
}

TEST_CASE("Interleaved flows are joined each, up to as many as are kept") {
    const auto interleaved = [](size_t flows) {
        std::vector<Packet> packets;
        for (size_t i = 0; i < 20; ++i) {
            for (size_t flow = 0; flow < flows; ++flow) {
                Spec spec = first_of(flow % 2 == 0, flow % 3 != 0, 500);
                spec.source_port = static_cast<uint16_t>(1000 + flow);
                spec.sequence += static_cast<uint32_t>(500 * i);
                spec.id = static_cast<uint16_t>(i);
                spec.payload.assign(500, static_cast<uint8_t>(16 * flow + i));
                packets.push_back(naive::build(spec));
            }
        }
        return packets;
    };
    CHECK(packets_made_of(interleaved(2)) == 2);
    CHECK(packets_made_of(interleaved(8)) == 8);
    CHECK(packets_made_of(interleaved(9)) == 180);  // one too many: always the one needed next goes
    CHECK(packets_made_of(interleaved(2), {.flows_max = 2}) == 2);
    CHECK(packets_made_of(interleaved(2), {.flows_max = 1}) == 40);
}

TEST_CASE("An abandoned buffer leaves no trace") {
    for (const bool v4 : {true, false}) {
        for (const size_t size : {1u, 10u, 39u, 40u, 41u, 1380u}) {
            Coalescer coalescer({});
            RoundTrip judge;
            const Packet garbage(1420, 0xdd);
            judge.feed_and_abandon(coalescer, garbage);
            for (const Packet& packet : run_of(first_of(v4, true, size), 20)) {
                judge.feed_and_abandon(coalescer, garbage);
                judge.feed(coalescer, packet);
                judge.feed_and_abandon(coalescer, garbage);
            }
            coalescer.flush(judge);
            CHECK(judge.verdict() == "");
            CHECK(judge.outputs().size() == 1);
            CHECK(coalescer.coalesced_packets() == 20);
        }
    }
}

TEST_CASE("The expected packet needs no copy: it is decrypted where it stays") {
    Coalescer coalescer({});
    RoundTrip judge;
    const auto packets = run_of(first_of(true, true, 1000), 3);
    const uint8_t* first = coalescer.buffer(1040, judge).data();
    coalescer.abandon();
    judge.feed(coalescer, packets[0]);
    CHECK(coalescer.buffer(1040, judge).data() == first + 1000);
    coalescer.abandon();
    judge.feed(coalescer, packets[1]);
    CHECK(coalescer.buffer(1040, judge).data() == first + 2000);
    coalescer.abandon();
}

TEST_CASE("More than a datagram can bring is refused") {
    Coalescer coalescer({});
    RoundTrip judge;
    CHECK(coalescer.buffer(1 << 20, judge).empty());
    CHECK(coalescer.buffer(0, judge).empty());
    coalescer.commit(0,
                     judge);  // an empty packet is passed on, as any other that is not understood
    CHECK(judge.outputs().size() == 1);
    for (const Packet& packet : run_of(first_of(true, true, 60000), 3)) {
        judge.feed(coalescer, packet);
    }
    CHECK(judge.outputs().size() == 3);
}

TEST_CASE("What goes in comes out, whatever the traffic") {
    size_t fed = 0;
    size_t made = 0;
    for (uint64_t seed = 0; seed < 400; ++seed) {
        SeededChance chance(seed);
        naive::Traffic traffic(chance);
        Coalescer coalescer({.flows_max = 1 + chance.below(8)});
        RoundTrip judge;
        for (int step = 0; step < 150; ++step)
            traffic.step(coalescer, judge);
        coalescer.flush(judge);
        INFO("seed " << seed);
        REQUIRE(judge.verdict() == "");
        fed += judge.came_out().size();
        made += judge.outputs().size();
        // The room's own segmenter agrees with the model.
        std::vector<Packet> segments;
        for (auto output : judge.outputs()) {
            Segmenter segmenter(output.offload, output.packet);
            REQUIRE_FALSE(segmenter.malformed());
            while (const auto segment = segmenter.next()) {
                segments.emplace_back(segment->begin(), segment->end());
            }
        }
        REQUIRE(segments == judge.came_out());
    }
    CHECK(made < fed * 2 / 3);  // the traffic was worth joining, and was joined
}
