#include "dataplane/worker/loop_guard.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

namespace sluice::worker {

namespace {

constexpr uint16_t kPort = 41621;
constexpr Instant kNow{std::chrono::seconds(100)};

std::vector<uint8_t> message_in_v4(const char* source, uint16_t port, uint32_t type,
                                   uint16_t fragment = 0, size_t options = 0) {
    std::vector<uint8_t> packet(20 + options + 8 + 32);
    packet[0] = static_cast<uint8_t>(0x45 + options / 4);
    store_be16(&packet[6], fragment);
    packet[9] = 17;
    std::memcpy(&packet[12], IpAddress::parse(source)->view().data(), 4);
    store_be16(&packet[20 + options], port);
    store_le32(&packet[28 + options], type);
    return packet;
}

std::vector<uint8_t> message_in_v6(const char* source, uint16_t port, uint32_t type,
                                   std::optional<uint16_t> fragment = {}) {
    const size_t extra = fragment ? 8 : 0;
    std::vector<uint8_t> packet(40 + extra + 8 + 32);
    packet[0] = 0x60;
    packet[6] = fragment ? 44 : 17;
    std::memcpy(&packet[8], IpAddress::parse(source)->view().data(), 16);
    if (fragment) {
        packet[40] = 17;
        store_be16(&packet[42], *fragment);
    }
    store_be16(&packet[40 + extra], port);
    store_le32(&packet[48 + extra], type);
    return packet;
}

bool is_loop(const std::vector<uint8_t>& packet) {
    LoopGuard guard;
    return guard.is_own_datagram(packet, kPort, kNow);
}

}  // namespace

TEST_CASE("a datagram of our own that comes out of the TUN device is recognised") {
    for (uint32_t type = 1; type <= 4; ++type) {
        CHECK(is_loop(message_in_v4("127.0.0.1", kPort, type)));
        CHECK(is_loop(message_in_v6("::1", kPort, type)));
    }
    constexpr uint16_t kMoreFragments = 0x2000;
    CHECK(is_loop(message_in_v4("127.0.0.1", kPort, 4, kMoreFragments)));
    CHECK(is_loop(message_in_v4("127.0.0.1", kPort, 4, 0, 8)));
    CHECK(is_loop(message_in_v6("::1", kPort, 4, 1)));  // more fragments
}

TEST_CASE("what is not our own datagram goes its way") {
    // Another machine's WireGuard, through this one.
    CHECK_FALSE(is_loop(message_in_v4("192.0.2.9", kPort, 4)));
    CHECK_FALSE(is_loop(message_in_v6("2001:db8::9", kPort, 4)));
    // Another program's, or another protocol.
    CHECK_FALSE(is_loop(message_in_v4("127.0.0.1", kPort + 1, 4)));
    CHECK_FALSE(is_loop(message_in_v4("127.0.0.1", kPort, 5)));
    CHECK_FALSE(is_loop(message_in_v4("127.0.0.1", kPort, 0x104)));
    auto tcp = message_in_v4("127.0.0.1", kPort, 4);
    tcp[9] = 6;
    CHECK_FALSE(is_loop(tcp));
    // Later fragments have no ports.
    CHECK_FALSE(is_loop(message_in_v4("127.0.0.1", kPort, 4, 0x2001)));
    CHECK_FALSE(is_loop(message_in_v6("::1", kPort, 4, 8)));
    // Whatever is cut off.
    for (const auto& whole :
         {message_in_v4("127.0.0.1", kPort, 4, 0, 40), message_in_v4("127.0.0.1", kPort, 4),
          message_in_v6("::1", kPort, 4, 1)}) {
        for (size_t size = 0; size < whole.size() - 28; ++size) {
            CHECK_FALSE(is_loop({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}));
        }
    }
}

TEST_CASE("an answer about an address is asked for again after a while, and for another one") {
    LoopGuard guard;
    for (int i = 0; i < 3; ++i) {
        const Instant now = kNow + std::chrono::seconds(2 * i);
        CHECK(guard.is_own_datagram(message_in_v4("127.0.0.1", kPort, 4), kPort, now));
        CHECK_FALSE(guard.is_own_datagram(message_in_v4("192.0.2.9", kPort, 4), kPort, now));
        CHECK(guard.is_own_datagram(message_in_v4("127.0.0.1", kPort, 4), kPort, now));
    }
}

}  // namespace sluice::worker
