#include "dataplane/worker/inner_errors.h"

#include <catch2/catch.hpp>
#include <vector>

namespace sluice::worker {
namespace {

using namespace std::chrono_literals;

constexpr Instant kStart{1000s};

class RecordingTun final : public io::TunPort {
  public:
    bool write(const io::VirtioHeader& header, std::span<const Bytes> pieces) override {
        CHECK(header.flags == 0);
        CHECK(header.gso_type == 0);
        if (refuse) return false;
        auto& packet = written.emplace_back();
        for (const Bytes piece : pieces)
            packet.insert(packet.end(), piece.begin(), piece.end());
        return true;
    }
    bool refuse = false;
    std::vector<std::vector<uint8_t>> written;
};

std::vector<uint8_t> packet_to_nobody() {
    std::vector<uint8_t> packet(60);
    packet[0] = 0x45;
    packet[3] = 60;
    packet[9] = 17;
    store_be32(&packet[12], 0x0a620001);
    store_be32(&packet[16], 0x0a62004d);
    return packet;
}

}  // namespace

TEST_CASE("inner errors: what a sender can do something about is told, the rest is not") {
    const auto packet = packet_to_nobody();
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        const auto reason = static_cast<DropReason>(i);
        InnerErrors errors;
        RecordingTun tun;
        errors.tell(reason, packet, 1280, kStart, tun);
        const bool unreachable =
            reason == DropReason::kInnerNoPeer || reason == DropReason::kInnerNoEndpoint;
        const bool too_big = reason == DropReason::kInnerTooLarge;
        INFO(text_of(reason).name);
        REQUIRE(tun.written.size() == (unreachable || too_big ? 1 : 0));
        CHECK(errors.sent() == tun.written.size());
        if (tun.written.empty()) continue;
        CHECK(tun.written[0].size() == 20 + 8 + packet.size());
        CHECK(tun.written[0][20] == 3);
        CHECK(tun.written[0][21] == (too_big ? 4 : 1));
        CHECK(load_be16(&tun.written[0][26]) == (too_big ? 1280 : 0));
    }
}

TEST_CASE("inner errors: fifty at once, a hundred a second, and then silence") {
    const auto packet = packet_to_nobody();
    InnerErrors errors;
    RecordingTun tun;
    Instant now = kStart;
    for (int i = 0; i < 1000; ++i)
        errors.tell(DropReason::kInnerNoPeer, packet, 1420, now, tun);
    CHECK(tun.written.size() == 50);
    for (int i = 0; i < 10'000; ++i) {
        now += 1ms;
        errors.tell(DropReason::kInnerNoPeer, packet, 1420, now, tun);
    }
    CHECK(tun.written.size() == 50 + 1000);
    CHECK(errors.sent() == tun.written.size());
}

TEST_CASE("inner errors: one that the device refuses is not counted as sent") {
    InnerErrors errors;
    RecordingTun tun;
    tun.refuse = true;
    errors.tell(DropReason::kInnerNoPeer, packet_to_nobody(), 1420, kStart, tun);
    CHECK(errors.sent() == 0);
}

}  // namespace sluice::worker
