// Proves that what one thread puts into a ring another takes out, whole and in order, whatever the
// sizes and however often the end is reached.
#include "dataplane/worker/handover_ring.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "dataplane/base/random.h"

namespace sluice::worker {

TEST_CASE("records come out whole and in order, across threads") {
    HandoverRing ring(HandoverRing::kBytesMin);
    constexpr uint64_t kRecords = 20'000;
    const auto size_of = [](SeededRandom& random) {
        // Mostly small ones, and now and then the largest.
        return random.below(20) == 0 ? HandoverRing::kRecordBytesMax - random.below(100)
                                     : 8 + random.below(3000);
    };
    std::thread producer([&] {
        SeededRandom random(1);
        for (uint64_t number = 0; number < kRecords; ++number) {
            const size_t size = size_of(random);
            MutableBytes room;
            while ((room = ring.reserve(size)).empty())
                std::this_thread::yield();
            std::ranges::fill(room, static_cast<uint8_t>(number));
            std::memcpy(room.data(), &number, sizeof number);
            ring.publish();
        }
    });
    SeededRandom random(1);
    bool intact = true;
    for (uint64_t number = 0; number < kRecords; ++number) {
        MutableBytes record;
        while ((record = ring.front()).empty())
            std::this_thread::yield();
        uint64_t got = 0;
        std::memcpy(&got, record.data(), sizeof got);
        intact = intact && got == number && record.size() == size_of(random) &&
                 std::ranges::all_of(record.subspan(sizeof got), [&](uint8_t byte) {
                     return byte == static_cast<uint8_t>(number);
                 });
        std::ranges::fill(record, uint8_t{0xee});  // it is ours to overwrite
        ring.pop();
    }
    producer.join();
    CHECK(intact);
    CHECK(ring.front().empty());
}

TEST_CASE("a full ring has no room, loses nothing, and takes more when there is room again") {
    HandoverRing ring(HandoverRing::kBytesMin);
    size_t records = 0;
    while (!ring.reserve(HandoverRing::kRecordBytesMax).empty()) {
        ring.publish();
        ++records;
    }
    CHECK(records >= 2);
    for (int round = 0; round < 100; ++round) {
        REQUIRE(ring.front().size() == HandoverRing::kRecordBytesMax);
        ring.pop();
        REQUIRE_FALSE(ring.reserve(HandoverRing::kRecordBytesMax).empty());
        ring.publish();
        REQUIRE(ring.reserve(HandoverRing::kRecordBytesMax).empty());
    }
    while (!ring.front().empty()) {
        ring.pop();
        --records;
    }
    CHECK(records == 0);
}

TEST_CASE("what was reserved and not published is never seen") {
    HandoverRing ring(HandoverRing::kBytesMin);
    REQUIRE_FALSE(ring.reserve(100).empty());
    CHECK(ring.front().empty());
    REQUIRE(ring.reserve(7).size() == 7);
    ring.publish();
    CHECK(ring.front().size() == 7);
    ring.pop();
    CHECK(ring.front().empty());
}

}  // namespace sluice::worker
