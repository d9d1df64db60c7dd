// Points in time and durations. Code gets them as arguments; only base/clock asks the system.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

using Duration = std::chrono::nanoseconds;

struct MonotonicTag {};
struct WallTag {};

// Time since an arbitrary start that never steps and counts suspend (CLOCK_BOOTTIME): all timers.
using Instant = std::chrono::time_point<MonotonicTag, Duration>;
// Time since 1970-01-01 UTC, which may step: certificates, TAI64N, logs. Never a timer.
using WallTime = std::chrono::time_point<WallTag, Duration>;

inline constexpr Instant kNever = Instant::max();

// One reading of both clocks, taken once per batch and passed down.
struct Now {
    Instant mono;
    WallTime wall;
};

}  // namespace sluice
