// Very many timers, most of them moved before they fire: hierarchical timing wheel (Varghese and
// Lauck, 1987), four levels of 256 slots, one slot of the first level being one tick.
// Set, move and cancel are O(1) and allocate nothing; firing is amortised O(1).
// Thread: one. Precision: a timer fires at the first advance() at or after its deadline rounded up
// to a tick; never before its deadline.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/time.h"

namespace sluice {

class TimerWheel;

// Derive from it, or hold one as a member, to be called. It leaves its wheel when destroyed.
class Timer {
  public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    bool pending() const { return next_ != nullptr; }
    Instant deadline() const { return deadline_; }  // kNever when not pending
    void cancel();

  protected:
    virtual ~Timer() { cancel(); }
    // May set, move or cancel any timer of the wheel, this one included, and may destroy itself.
    virtual void on_timer(Now now) = 0;

  private:
    friend class TimerWheel;
    Timer* previous_ = nullptr;
    Timer* next_ = nullptr;
    TimerWheel* wheel_ = nullptr;
    Instant deadline_ = kNever;
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

    // Sets or moves. A deadline in the past fires at the next advance().
    void set(Timer& timer, Instant deadline);
    // Fires all that is due, in order of tick.
    void advance(Now now);
    // No later than the earliest deadline that is pending, kNever when none is. May be earlier (a
    // cascade of a higher level), never later than one tick after it.
    Instant next_deadline() const;
    size_t size() const { return size_; }

  private:
    friend class Timer;
    static constexpr int kLevelBits = 8;
    static constexpr int kSlots = 1 << kLevelBits;
    static constexpr int kLevels = 4;

    struct Slot;
    struct Impl;
    void* impl_;  // replaced by the implementation's own members
    size_t size_ = 0;
};

}  // namespace sluice
