// Lines come out as they went in, whole and in order; what does not fit is counted; a sleeper is
// always woken.
#include "dataplane/base/line_ring.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

namespace sluice {

namespace {

std::string read_all(LineRing& ring, size_t piece) {
    std::string all;
    std::array<uint8_t, 64> buffer{};
    while (const size_t count = ring.read(MutableBytes(buffer).first(piece)))
        all.append(reinterpret_cast<const char*>(buffer.data()), count);
    return all;
}

}  // namespace

TEST_CASE("line ring: a line goes in whole or not at all") {
    Doorbell bell;
    LineRing ring(16, bell);
    CHECK(ring.is_empty());
    CHECK(ring.push("0123456789\n"));
    CHECK_FALSE(ring.push("abcdef\n"));
    CHECK(ring.dropped() == 1);
    CHECK(ring.push("abcd\n"));
    CHECK(read_all(ring, 3) == "0123456789\nabcd\n");
    CHECK(ring.is_empty());
    CHECK_FALSE(ring.push("0123456789abcdefg"));
    CHECK(ring.dropped() == 2);
    // Over the end of the memory, at every place.
    for (int i = 0; i < 40; ++i) {
        CHECK(ring.push("xyz" + std::to_string(i) + "\n"));
        CHECK(read_all(ring, 64) == "xyz" + std::to_string(i) + "\n");
    }
}

TEST_CASE("line ring: a consumer that sleeps misses nothing") {
    static constexpr int kLines = 20000;
    Doorbell bell;
    LineRing ring(4096, bell);
    std::string got;
    std::thread consumer([&] {
        std::array<uint8_t, 512> buffer{};
        while (!got.ends_with("end\n")) {
            const size_t count = ring.read(buffer);
            got.append(reinterpret_cast<const char*>(buffer.data()), count);
            if (count > 0) continue;
            bell.announce_sleep();
            if (ring.is_empty()) {
                bell.sleep();
            } else {
                bell.stay_awake();
            }
        }
    });
    std::string sent;
    for (int i = 0; i < kLines; ++i) {
        const std::string line = std::to_string(i) + "\n";
        while (!ring.push(line))
            std::this_thread::yield();
        sent += line;
    }
    while (!ring.push("end\n"))
        std::this_thread::yield();
    consumer.join();
    CHECK(got == sent + "end\n");
}

}  // namespace sluice
