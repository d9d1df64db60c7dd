#include "dataplane/base/timer_wheel.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/base/random.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr Instant kStart{1234567890123ns};

Now at(Instant mono) {
    return {mono, WallTime{}};
}
Now at(Duration since_start) {
    return at(kStart + since_start);
}

class TestTimer : public Timer {
  public:
    TestTimer() = default;
    explicit TestTimer(std::function<void(Now)> action) : action_(std::move(action)) {}
    ~TestTimer() override = default;
    int fired = 0;
    Instant fired_at{};

  protected:
    void on_timer(Now now) override {
        ++fired;
        fired_at = now.mono;
        if (action_) action_(now);
    }

  private:
    std::function<void(Now)> action_;
};

TEST_CASE("timer wheel: never early, at the first advance after the rounded deadline") {
    TimerWheel wheel(kStart);
    TestTimer timer;
    wheel.set(timer, kStart + 10ms);  // rounded up to 12 ms
    CHECK(timer.pending());
    CHECK(timer.deadline() == kStart + 10ms);
    CHECK(wheel.next_deadline() == kStart + 12ms);
    wheel.advance(at(11999999ns));
    CHECK(timer.fired == 0);
    wheel.advance(at(12ms));
    CHECK(timer.fired == 1);
    CHECK_FALSE(timer.pending());
    CHECK(timer.deadline() == kNever);
    CHECK(wheel.size() == 0);
    CHECK(wheel.next_deadline() == kNever);
    wheel.advance(at(1h));
    CHECK(timer.fired == 1);
}

TEST_CASE("timer wheel: a past deadline fires at the next advance, even within one tick") {
    TimerWheel wheel(kStart);
    wheel.advance(at(1s + 1ms));
    TestTimer past;
    TestTimer before_start;
    wheel.set(past, kStart + 500ms);
    wheel.set(before_start, kStart - 1h);
    CHECK(wheel.next_deadline() <= kStart + 1s + 1ms);
    wheel.advance(at(1s + 1ms));
    CHECK(past.fired == 1);
    CHECK(before_start.fired == 1);
}

TEST_CASE("timer wheel: a timer that sets itself to now does not hold the advance") {
    TimerWheel wheel(kStart);
    TestTimer* self = nullptr;
    TestTimer timer([&](Now now) { wheel.set(*self, now.mono - 1s); });
    self = &timer;
    wheel.set(timer, kStart);
    for (int turn = 1; turn <= 3; ++turn) {
        wheel.advance(at(1s));
        CHECK(timer.fired == turn);
        CHECK(timer.pending());
    }
}

TEST_CASE("timer wheel: set moves, kNever cancels, destruction leaves the wheel") {
    TimerWheel wheel(kStart);
    TestTimer moved;
    TestTimer cancelled;
    auto destroyed = std::make_unique<TestTimer>();
    wheel.set(moved, kStart + 1s);
    wheel.set(moved, kStart + 1h);
    wheel.set(cancelled, kStart + 1s);
    wheel.set(cancelled, kNever);
    wheel.set(*destroyed, kStart + 1s);
    destroyed.reset();
    cancelled.cancel();  // again: does nothing
    CHECK(wheel.size() == 1);
    wheel.advance(at(59min));
    CHECK(moved.fired == 0);
    wheel.advance(at(1h));
    CHECK(moved.fired == 1);
    CHECK(cancelled.fired == 0);
}

TEST_CASE("timer wheel: a timer may cancel, destroy and set others of its own tick") {
    TimerWheel wheel(kStart);
    std::vector<std::unique_ptr<TestTimer>> timers(4);
    // Whichever of the first three fires first takes the other two out: one by cancelling, one by
    // destroying. The fourth is set anew for the same tick, which has begun: the next advance.
    const auto take_others_out = [&](size_t own) {
        timers[(own + 1) % 3]->cancel();
        timers[(own + 2) % 3].reset();
        wheel.set(*timers[3], kStart + 100ms);
    };
    for (size_t i = 0; i < 3; ++i) {
        timers[i] = std::make_unique<TestTimer>([&, i](Now) { take_others_out(i); });
    }
    timers[3] = std::make_unique<TestTimer>();
    for (size_t i = 0; i < 3; ++i)
        wheel.set(*timers[i], kStart + 100ms);
    wheel.advance(at(1s));
    int fired = 0;
    for (size_t i = 0; i < 3; ++i)
        fired += timers[i] ? timers[i]->fired : 0;
    CHECK(fired == 1);
    CHECK(timers[3]->fired == 0);
    CHECK(wheel.size() == 1);
    wheel.advance(at(1s));
    CHECK(timers[3]->fired == 1);
}

TEST_CASE("timer wheel: a timer may destroy itself") {
    TimerWheel wheel(kStart);
    std::unique_ptr<TestTimer> self;
    bool ran = false;
    self = std::make_unique<TestTimer>([&](Now) {
        ran = true;
        // The action lives in the timer; it is moved out to outlive it.
        const auto doomed = std::move(self);
    });
    TestTimer after;
    wheel.set(*self, kStart + 8ms);
    wheel.set(after, kStart + 8ms);
    wheel.advance(at(8ms));
    CHECK(ran);
    CHECK(self == nullptr);
    CHECK(after.fired == 1);
    CHECK(wheel.size() == 0);
}

TEST_CASE("timer wheel: a wheel that goes leaves its timers usable") {
    TestTimer timer;
    {
        TimerWheel first(kStart);
        first.set(timer, kStart + 1s);
        TimerWheel second(kStart);
        second.set(timer, kStart + 2s);  // moves between wheels
        CHECK(first.size() == 0);
        CHECK(second.size() == 1);
    }
    CHECK_FALSE(timer.pending());
    TimerWheel third(kStart);
    third.set(timer, kStart + 1s);
    third.advance(at(1s));
    CHECK(timer.fired == 1);
}

TEST_CASE("timer wheel: deadlines beyond the range are kept exactly") {
    TimerWheel wheel(kStart);
    TestTimer year;
    TestTimer farthest;
    wheel.set(year, kStart + 24h * 365 + 10ms);
    wheel.set(farthest, kNever - 1ns);
    int wakeups = 0;
    while (wheel.next_deadline() < kStart + 24h * 365) {
        const Instant next = wheel.next_deadline();
        wheel.advance(at(next));
        REQUIRE(wheel.next_deadline() > next);
        REQUIRE(++wakeups < 20);
    }
    CHECK(year.fired == 0);
    wheel.advance(at(24h * 365 + 11ms));
    CHECK(year.fired == 0);
    wheel.advance(at(24h * 365 + 12ms));
    CHECK(year.fired == 1);
    CHECK(farthest.fired == 0);
    CHECK(farthest.deadline() == kNever - 1ns);
    wheel.advance(at(24h * 365 * 5));
    CHECK(farthest.fired == 0);
}

TEST_CASE("timer wheel: who sleeps until next_deadline misses nothing and wakes rarely") {
    SeededRandom random(7);
    TimerWheel wheel(kStart);
    std::vector<TestTimer> timers(500);
    for (TestTimer& timer : timers) {
        wheel.set(timer, kStart + 1ns * static_cast<int64_t>(random.below(1ull << 47)));
    }
    std::vector<Instant> deadlines;
    for (const TestTimer& timer : timers)
        deadlines.push_back(timer.deadline());
    size_t wakeups = 0;
    while (wheel.size() > 0) {
        wheel.advance(at(wheel.next_deadline()));
        ++wakeups;
    }
    for (size_t i = 0; i < timers.size(); ++i) {
        CHECK(timers[i].fired == 1);
        CHECK(timers[i].fired_at >= deadlines[i]);
        CHECK(timers[i].fired_at < deadlines[i] + TimerWheel::kTick);
    }
    CHECK(wakeups <= timers.size() * 4);
}

// The model: deadlines in a plain list, looked through from end to end.
struct Model {
    struct Entry {
        std::optional<Instant> deadline;
        bool deferred = false;  // set when its tick had passed: waits for the next advance
    };
    std::vector<Entry> entries;
    int64_t current = 0;

    static int64_t tick_of(Instant deadline) {
        const int64_t tick = TimerWheel::kTick.count();
        const int64_t since = (deadline - kStart).count();
        return since <= 0 ? 0 : (since + tick - 1) / tick;
    }
    void set(size_t id, Instant deadline) {
        entries[id] = {deadline, tick_of(deadline) <= current};
    }
    size_t pending() const {
        size_t count = 0;
        for (const Entry& entry : entries)
            count += entry.deadline.has_value();
        return count;
    }
    std::optional<Instant> earliest_rounded() const {
        std::optional<Instant> earliest;
        for (const Entry& entry : entries) {
            if (!entry.deadline) continue;
            const int64_t tick = std::max(tick_of(*entry.deadline), current);
            const Instant rounded = kStart + TimerWheel::kTick * tick;
            if (!earliest || rounded < *earliest) earliest = rounded;
        }
        return earliest;
    }
};

// A wheel and a model under the same random operations, also from inside callbacks.
class Duel {
  public:
    explicit Duel(uint64_t seed) : random_(seed), wheel_(kStart) {
        model_.entries.resize(40);
        timers_.resize(40);
        for (size_t id = 0; id < timers_.size(); ++id)
            make(id);
    }

    void run(int operations) {
        for (int i = 0; i < operations; ++i) {
            if (random_.below(4) == 0) {
                advance();
            } else {
                operate();
            }
            check_state();
        }
    }

  private:
    // Half of all draws lie around the borders of slots and levels, where wheels go wrong.
    Duration draw_duration() {
        const auto shift = random_.below(44);
        auto value = static_cast<int64_t>(random_.below((1ull << shift) + 1));
        if (random_.below(2) == 0) {
            value = (int64_t{1} << (8 * random_.below(4))) * TimerWheel::kTick.count() +
                    static_cast<int64_t>(random_.below(5)) - 2;
        }
        return Duration(value);
    }

    void make(size_t id) {
        timers_[id] = std::make_unique<TestTimer>([this, id](Now) { fired(id); });
    }

    void fired(size_t id) {
        Model::Entry& entry = model_.entries[id];
        REQUIRE(advancing_);
        REQUIRE(entry.deadline.has_value());
        REQUIRE(*entry.deadline <= now_);
        const int64_t tick = Model::tick_of(*entry.deadline);
        if (tick > model_.current) {
            model_.current = tick;
        } else {
            // In order of tick; and what was set too late waits for the next advance.
            REQUIRE((tick == model_.current || entry.deferred));
            REQUIRE_FALSE(set_late_[id]);
        }
        entry = {};
        for (uint64_t i = random_.below(3); i > 0; --i)
            operate();
    }

    void operate() {
        const size_t id = random_.below(timers_.size());
        switch (random_.below(8)) {
            case 0:
                timers_[id]->cancel();
                model_.entries[id] = {};
                break;
            case 1:
                if (advancing_) return;  // the running callback belongs to one of them
                make(id);
                model_.entries[id] = {};
                break;
            default: {
                const Duration away = draw_duration();
                const Instant deadline = random_.below(10) == 0 ? now_ - away : now_ + away;
                wheel_.set(*timers_[id], deadline);
                model_.set(id, deadline);
                set_late_[id] = advancing_ && model_.entries[id].deferred;
            }
        }
    }

    void advance() {
        now_ += draw_duration();
        set_late_.assign(timers_.size(), false);
        advancing_ = true;
        wheel_.advance(at(now_));
        advancing_ = false;
        model_.current = (now_ - kStart) / TimerWheel::kTick;
        for (size_t id = 0; id < timers_.size(); ++id) {
            const Model::Entry& entry = model_.entries[id];
            if (!entry.deadline || set_late_[id]) continue;
            REQUIRE(Model::tick_of(*entry.deadline) > model_.current);
        }
    }

    void check_state() {
        REQUIRE(wheel_.size() == model_.pending());
        const auto earliest = model_.earliest_rounded();
        REQUIRE(wheel_.next_deadline() <= earliest.value_or(kNever));
        if (!earliest) REQUIRE(wheel_.next_deadline() == kNever);
        for (size_t id = 0; id < timers_.size(); ++id) {
            REQUIRE(timers_[id]->deadline() == model_.entries[id].deadline.value_or(kNever));
        }
    }

    SeededRandom random_;
    TimerWheel wheel_;
    Model model_;
    std::vector<std::unique_ptr<TestTimer>> timers_;
    std::vector<bool> set_late_ = std::vector<bool>(40);
    Instant now_ = kStart;
    bool advancing_ = false;
};

TEST_CASE("timer wheel: equals a naive model under random operations") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        Duel(seed).run(400);
    }
}

}  // namespace
}  // namespace sluice
