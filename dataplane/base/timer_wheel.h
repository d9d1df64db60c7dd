// Very many timers, most of them moved before they fire: hierarchical timing wheel (Varghese and
// Lauck, 1987), four levels of 256 slots, one slot of the first level being one tick.
// Set, move and cancel are O(1) and allocate nothing; firing is amortised O(1).
// Thread: one. Precision: a timer fires at the first advance() at or after its deadline rounded up
// to a tick; never before its deadline. Timers of one tick fire in no promised order.
// Ownership: timers belong to who made them; the wheel only links them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/time.h"

namespace sluice {

class TimerWheel;

// A place in one of the wheel's circular lists; also the head of such a list.
struct TimerLink {
    TimerLink* previous = nullptr;
    TimerLink* next = nullptr;
};

// Derive from it, or hold one as a member, to be called. It leaves its wheel when destroyed.
class Timer : private TimerLink {
  public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    bool pending() const { return next != nullptr; }
    Instant deadline() const { return deadline_; }  // kNever when not pending
    void cancel();

  protected:
    virtual ~Timer() { cancel(); }
    // The timer is not pending any more. May set, move or cancel any timer of the wheel, this one
    // included, and may destroy itself or others. May not call advance() or destroy the wheel.
    virtual void on_timer(Now now) = 0;

  private:
    friend class TimerWheel;
    TimerWheel* wheel_ = nullptr;
    Instant deadline_ = kNever;
    uint32_t slot_ = 0;  // which of the wheel's lists holds it; says nothing unless pending
};

class TimerWheel {
  public:
    // 4 ms: finer than any timer of the protocols here needs (WireGuard's jitter is 334 ms, HTTP's
    // time-outs are seconds), coarse enough that an idle worker wakes only for real deadlines.
    static constexpr Duration kTick = std::chrono::milliseconds(4);

    explicit TimerWheel(Instant start);
    ~TimerWheel();  // cancels what is pending
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    // Sets or moves. A deadline that the wheel has already passed fires at the next advance(), not
    // in the running one, so that a timer that keeps setting itself to "now" cannot hold the
    // worker. kNever cancels. Deadlines beyond the wheel's range (198 days) are kept exactly too.
    void set(Timer& timer, Instant deadline);
    // Fires all that is due, in order of tick.
    void advance(Now now);
    // When advance() next has something to do: the earliest pending deadline rounded up to a tick,
    // or earlier where timers move down a level first (at most three times in a timer's life, more
    // only beyond the range). The wheel's own time if a deadline has already passed, kNever when
    // nothing is pending. Costs a look at a few words whatever the number of timers.
    Instant next_deadline() const;
    size_t size() const { return size_; }

  private:
    friend class Timer;
    static constexpr unsigned kLevelBits = 8;
    static constexpr unsigned kSlots = 1 << kLevelBits;
    static constexpr unsigned kLevels = 4;
    // After the slots of all levels: timers whose tick has passed. They wait for the next
    // advance().
    static constexpr unsigned kDue = kLevels * kSlots;
    static constexpr uint64_t kNoTick = UINT64_MAX;

    uint64_t tick_of(Instant deadline) const;
    Instant instant_of(uint64_t tick) const;
    uint64_t next_tick() const;
    void place(Timer& timer, uint64_t tick);
    void cascade(unsigned level);
    void fire(unsigned slot, Now now);
    void remove(Timer& timer);
    void take_all(unsigned slot, TimerLink& into);

    Instant start_;
    uint64_t current_ = 0;  // the last tick that was fired
    size_t size_ = 0;
    bool advancing_ = false;
    // One bit a slot that is not empty, so that time without timers is stepped over, not through.
    std::array<std::array<uint64_t, kSlots / 64>, kLevels> occupied_{};
    std::array<TimerLink, kDue + 1> slots_;
};

}  // namespace sluice
