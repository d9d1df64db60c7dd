#include "dataplane/base/source_limits.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace sluice {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Instant at(Duration since) {
    return Instant(std::chrono::hours(1) + since);
}

TEST_CASE("SipHash-2-4 as its authors give it") {
    // The reference's key and messages: 00 01 02 ...
    const SourceHash hash({0x0706050403020100, 0x0f0e0d0c0b0a0908});
    std::vector<uint8_t> message;
    CHECK(hash.of(message) == 0x726fdb47dd0e0e31);
    for (uint8_t i = 0; i < 15; ++i)
        message.push_back(i);
    CHECK(hash.of(message) == 0xa129ca6149be45e5);
}

TEST_CASE("a source is an address, or 64 bits of IPv6") {
    SeededRandom random(1);
    const SourceHash hash(random);
    const auto of = [&](const char* text, uint64_t purpose = 1) {
        return hash.of(*IpAddress::parse(text), purpose);
    };
    CHECK(of("192.0.2.1") == of("192.0.2.1"));
    CHECK(of("192.0.2.1") != of("192.0.2.2"));
    CHECK(of("192.0.2.1") != of("192.0.2.1", 2));
    CHECK(of("2001:db8::1") == of("2001:db8::2"));
    CHECK(of("2001:db8::1") != of("2001:db8:0:1::1"));
    CHECK(of("c000:201::") != of("192.0.2.1"));
}

TEST_CASE("so many at once, then at an even pace") {
    PaceTable table;
    const Pace pace = Pace::of(10, seconds(1), 5);
    for (int i = 0; i < 5; ++i)
        CHECK(table.take(77, pace, at({})) == Duration::zero());
    CHECK(table.take(77, pace, at({})) == milliseconds(100));
    CHECK(table.take(77, pace, at(milliseconds(40))) == milliseconds(60));
    // A refusal takes nothing.
    CHECK(table.take(77, pace, at(milliseconds(100))) == Duration::zero());
    CHECK(table.take(77, pace, at(milliseconds(100))) > Duration::zero());
    // Somebody else.
    CHECK(table.take(uint64_t{78} << 48 | 77, pace, at(milliseconds(100))) == Duration::zero());
    // After a rest all is there again.
    int passed = 0;
    while (table.take(77, pace, at(seconds(10))) == Duration::zero())
        ++passed;
    CHECK(passed == 5);
}

TEST_CASE("over a long time the pace is the configured one") {
    PaceTable table;
    const Pace pace = Pace::of(7, seconds(1), 3);
    int passed = 0;
    for (int ms = 0; ms < 20'000; ++ms)
        passed += table.take(5, pace, at(milliseconds(ms))) == Duration::zero() ? 1 : 0;
    CHECK(passed >= 140);
    CHECK(passed <= 143);
}

TEST_CASE("a full line forgets who owes least") {
    PaceTable table;
    const Pace slow = Pace::of(1, seconds(100), 1);
    const Pace fast = Pace::of(1000, seconds(1), 1000);
    const auto source = [](uint64_t tag) { return tag << 48 | 3; };
    for (uint64_t tag = 1; tag <= 7; ++tag)
        CHECK(table.take(source(tag), slow, at({})) == Duration::zero());
    for (uint64_t tag = 8; tag < 100; ++tag)
        CHECK(table.take(source(tag), fast, at({})) == Duration::zero());
    for (uint64_t tag = 1; tag <= 7; ++tag)
        CHECK(table.take(source(tag), slow, at({})) > Duration::zero());
}

TEST_CASE("so many at one time") {
    CountTable table;
    {
        CountTable::Place first = table.enter(9, 2);
        CountTable::Place second = table.enter(9, 2);
        CHECK(first.taken());
        CHECK(second.taken());
        CHECK_FALSE(table.enter(9, 2).taken());
        CHECK(table.enter(uint64_t{1} << 50 | 9, 2).taken());
        CountTable::Place moved = std::move(first);
        CHECK_FALSE(table.enter(9, 2).taken());
        moved = CountTable::Place();
        CHECK(table.enter(9, 2).taken());
        CHECK(table.enter(9, 0).taken());
    }
    std::vector<CountTable::Place> places;
    for (int i = 0; i < 2; ++i)
        places.push_back(table.enter(9, 2));
    CHECK_FALSE(table.enter(9, 2).taken());
}

TEST_CASE("workers count together") {
    PaceTable paces;
    CountTable counts;
    const Pace pace = Pace::of(1, seconds(1000), 1000);
    std::atomic<int> passed = 0;
    {
        std::vector<std::jthread> workers;
        for (int worker = 0; worker < 4; ++worker) {
            workers.emplace_back([&] {
                for (int i = 0; i < 2000; ++i) {
                    if (paces.take(42, pace, at({})) == Duration::zero()) ++passed;
                    const CountTable::Place place = counts.enter(42, 2);
                }
            });
        }
    }
    CHECK(passed == 1000);
    // A slot that frees itself between two looks may, rarely, lead two workers to two slots; the
    // count is then of each. What must hold is that nothing is left behind.
    CountTable::Place first = counts.enter(42, 2);
    CountTable::Place second = counts.enter(42, 2);
    CHECK(first.taken());
    CHECK(second.taken());
    CHECK_FALSE(counts.enter(42, 2).taken());
}

}  // namespace
}  // namespace sluice
