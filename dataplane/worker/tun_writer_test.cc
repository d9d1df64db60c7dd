// What reaches the kernel when it refuses joined packets: every packet, byte for byte, and joined
// ones again later.
#include "dataplane/worker/tun_writer.h"

#include <catch2/catch.hpp>
#include <vector>

#include "dataplane/tunnel/naive_packets.h"

namespace sluice::worker {
namespace {

using tunnel::Coalescer;
using tunnel::Offload;
using tunnel::naive::Packet;
using tunnel::naive::Spec;

// A kernel that takes what it is told to take.
class PickyTun final : public io::TunPort {
  public:
    bool write(const io::VirtioHeader& header, std::span<const Bytes> pieces) override {
        if (is_down) return false;
        if (header.gso_type != io::VirtioHeader::kGsoNone) {
            const bool udp = header.gso_type == io::VirtioHeader::kGsoUdpL4;
            if (udp ? refuse_udp : refuse_tcp) {
                ++refused;
                return false;
            }
            ++joined;
        } else {
            CHECK(header.flags == 0);
            CHECK(pieces.size() == 1);
            single.emplace_back(pieces[0].begin(), pieces[0].end());
        }
        return true;
    }
    bool is_down = false;
    bool refuse_tcp = false;
    bool refuse_udp = false;
    size_t refused = 0;
    size_t joined = 0;
    std::vector<std::vector<uint8_t>> single;
};

// A writer behind a coalescer, as in the tunnel's path.
class Path final : public tunnel::CoalescerOutput {
  public:
    explicit Path(const contract::OffloadConfig& config = {})
        : writer(config, drops), coalescer(writer.coalescer_options()) {}

    void on_packet(const Offload& offload, uint16_t header_length, Bytes packet) override {
        writer.write(tun, offload, header_length, packet);
    }
    void batch(const std::vector<Packet>& packets) {
        for (const Packet& packet : packets) {
            const MutableBytes room = coalescer.buffer(packet.size(), *this);
            std::copy(packet.begin(), packet.end(), room.begin());
            coalescer.commit(packet.size(), *this);
        }
        coalescer.flush(*this);
        writer.end_batch(coalescer);
    }
    contract::OffloadReport report(std::string_view name) const {
        std::vector<contract::OffloadReport> all;
        writer.report(coalescer, all);
        for (const auto& one : all) {
            if (one.name == name) return one;
        }
        return {};
    }
    uint64_t dropped() const { return drops.value(DropReason::kTunWriteFailed); }

    DropCounters drops;
    PickyTun tun;
    TunWriter writer;
    Coalescer coalescer;
};

// Packets of one flow, the last one shorter.
std::vector<Packet> run(bool v4, bool tcp, size_t count) {
    Spec spec;
    spec.v4 = v4;
    spec.tcp = tcp;
    std::vector<Packet> packets;
    for (size_t i = 0; i < count; ++i) {
        spec.payload.assign(i + 1 < count ? 1000 : 333, static_cast<uint8_t>(i));
        packets.push_back(tunnel::naive::build(spec));
        spec.sequence += static_cast<uint32_t>(spec.payload.size());
        ++spec.id;
    }
    return packets;
}

}  // namespace

TEST_CASE("TUN writer: joined packets are written as one") {
    Path path;
    path.batch(run(true, true, 10));
    path.batch(run(false, false, 7));
    CHECK(path.tun.joined == 2);
    CHECK(path.tun.single.empty());
    CHECK(path.dropped() == 0);
    const auto tcp = path.report("tcp_coalescing");
    CHECK(tcp.state == "on");
    CHECK(tcp.reason.empty());
    CHECK(tcp.uses == 10);
    CHECK(path.report("udp_coalescing").uses == 7);
}

TEST_CASE("TUN writer: what is refused joined goes packet by packet, and joining rests") {
    const bool v4 = GENERATE(true, false);
    const bool tcp = GENERATE(true, false);
    const std::string name = tcp ? "tcp_coalescing" : "udp_coalescing";
    const std::string other = tcp ? "udp_coalescing" : "tcp_coalescing";
    Path path;
    (tcp ? path.tun.refuse_tcp : path.tun.refuse_udp) = true;
    const auto packets = run(v4, tcp, 12);
    path.batch(packets);
    CHECK(path.tun.refused == 1);
    CHECK(path.tun.single == packets);
    CHECK(path.dropped() == 0);
    CHECK(path.report(name).state == "off");
    CHECK(path.report(name).reason ==
          "1 joined packets were refused by the kernel and written one by one; it rests");
    CHECK(path.report(other).state == "on");

    // Nothing is joined while it rests, and the other protocol is not touched by that.
    for (uint32_t i = 0; i < TunWriter::kBatchesWithoutJoining; ++i) {
        REQUIRE(path.report(name).state == "off");
        path.tun.single.clear();
        path.batch(packets);
        REQUIRE(path.tun.single == packets);
    }
    CHECK(path.tun.refused == 1);
    path.batch(run(v4, !tcp, 5));
    CHECK(path.tun.joined == 1);

    // Then it is tried: refused again, and later taken.
    CHECK(path.report(name).state == "on");
    path.batch(packets);
    CHECK(path.tun.refused == 2);
    CHECK(path.report(name).state == "off");
    path.tun.refuse_tcp = path.tun.refuse_udp = false;
    for (uint32_t i = 0; i < TunWriter::kBatchesWithoutJoining; ++i)
        path.batch({});
    path.tun.single.clear();
    path.batch(packets);
    CHECK(path.tun.joined == 2);
    CHECK(path.tun.single.empty());
    CHECK(path.report(name).state == "on");
    CHECK(path.report(name).reason ==
          "2 joined packets were refused by the kernel and written one by one; it is tried again");
    CHECK(path.dropped() == 0);
}

TEST_CASE("TUN writer: a device that takes nothing is no reason not to join") {
    Path path;
    path.tun.is_down = true;
    path.batch(run(true, true, 10));
    CHECK(path.dropped() == 10);
    CHECK(path.report("tcp_coalescing").state == "on");
    path.batch(run(true, true, 1));
    CHECK(path.dropped() == 11);
    path.tun.is_down = false;
    path.batch(run(true, true, 10));
    CHECK(path.tun.joined == 1);
}

TEST_CASE("TUN writer: what is switched off is never joined") {
    const bool tcp = GENERATE(true, false);
    contract::OffloadConfig config;
    (tcp ? config.tcp_coalescing : config.udp_coalescing) = contract::Wanted::kOff;
    Path path(config);
    const auto packets = run(true, tcp, 9);
    path.batch(packets);
    CHECK(path.tun.single == packets);
    path.batch(run(true, !tcp, 9));
    CHECK(path.tun.joined == 1);
    const auto report = path.report(tcp ? "tcp_coalescing" : "udp_coalescing");
    CHECK(report.state == "off");
    CHECK(report.reason == "switched off");
    CHECK(report.uses == 0);
}

}  // namespace sluice::worker
