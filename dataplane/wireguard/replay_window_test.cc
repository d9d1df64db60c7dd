#include "dataplane/wireguard/replay_window.h"

#include <catch2/catch.hpp>
#include <set>

#include "dataplane/base/random.h"

namespace sluice::wireguard {

namespace {

// The same by definition instead of by bits.
class NaiveWindow {
  public:
    bool accept(uint64_t counter) {
        if (counter >= kRejectAfterMessages || seen_.contains(counter)) return false;
        if (!seen_.empty() && counter + ReplayWindow::kReach < *seen_.rbegin()) return false;
        seen_.insert(counter);
        return true;
    }
    uint64_t highest() const { return seen_.empty() ? 0 : *seen_.rbegin(); }

  private:
    std::set<uint64_t> seen_;
};

}  // namespace

TEST_CASE("the window reaches 8128 counters behind the highest") {
    CHECK(ReplayWindow::kReach == 8128);
}

TEST_CASE("a counter is accepted once, in any order") {
    ReplayWindow window;
    CHECK(window.accept(0));
    CHECK_FALSE(window.accept(0));
    CHECK(window.accept(1));
    CHECK_FALSE(window.accept(1));
    CHECK(window.accept(9));
    CHECK(window.accept(8));
    CHECK(window.accept(7));
    CHECK_FALSE(window.accept(9));
    CHECK_FALSE(window.accept(8));
    CHECK_FALSE(window.accept(0));
    CHECK(window.accept(2));
}

TEST_CASE("the edges of the window") {
    constexpr uint64_t kReach = ReplayWindow::kReach;
    for (const uint64_t base : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{65},
                                uint64_t{8191}, uint64_t{8192}, uint64_t{1} << 40}) {
        ReplayWindow window;
        REQUIRE(window.accept(base + kReach));
        CHECK(window.accept(base));
        CHECK_FALSE(window.accept(base));
        REQUIRE(window.accept(base + kReach + 1));
        CHECK_FALSE(window.would_accept(base));
        CHECK(window.accept(base + 1));
        // A jump further than the ring is long forgets all of it.
        REQUIRE(window.accept(base + 3 * kReplayWindowBits));
        CHECK_FALSE(window.accept(base + kReach + 1));
        CHECK(window.accept(base + 3 * kReplayWindowBits - 1));
        CHECK(window.accept(base + 3 * kReplayWindowBits - kReach));
        CHECK_FALSE(window.accept(base + 3 * kReplayWindowBits - kReach - 1));
    }
}

TEST_CASE("the last counters of a session") {
    ReplayWindow window;
    CHECK(window.accept(kRejectAfterMessages - 1));
    CHECK_FALSE(window.accept(kRejectAfterMessages - 1));
    CHECK_FALSE(window.accept(kRejectAfterMessages));
    CHECK_FALSE(window.accept(UINT64_MAX));
    CHECK(window.accept(kRejectAfterMessages - 2));
}

TEST_CASE("asking first changes nothing") {
    ReplayWindow window;
    CHECK(window.would_accept(5));
    CHECK(window.would_accept(5));
    CHECK(window.accept(5));
    CHECK_FALSE(window.would_accept(5));
}

TEST_CASE("random counters: the same as a set") {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        SeededRandom random(seed);
        ReplayWindow window;
        NaiveWindow naive;
        for (int i = 0; i < 3000; ++i) {
            const uint64_t around = naive.highest();
            uint64_t counter = 0;
            switch (random.below(5)) {
                case 0:
                    counter = around + random.below(3);
                    break;
                case 1:
                    counter = around + random.below(200);
                    break;
                case 2:
                    counter = around - std::min(around, random.below(100));
                    break;
                case 3:
                    counter =
                        around - std::min(around, ReplayWindow::kReach - 5 + random.below(10));
                    break;
                default:
                    counter = around + random.below(2 * kReplayWindowBits) -
                              std::min<uint64_t>(around, kReplayWindowBits);
                    break;
            }
            const bool asked = window.would_accept(counter);
            const bool expected = naive.accept(counter);
            REQUIRE(asked == expected);
            REQUIRE(window.accept(counter) == expected);
        }
    }
}

}  // namespace sluice::wireguard
