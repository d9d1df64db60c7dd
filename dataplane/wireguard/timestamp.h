// TAI64N: the time that an initiation carries, so that a recorded one cannot be sent again.
// Compared as bytes; later is greater. Source: the paper, section 5.1; cr.yp.to/libtai/tai64.html.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

using Timestamp = std::array<uint8_t, 12>;  // all zero: none; less than any real one

// The wall clock as our initiations may show it. A peer never takes an initiation that is older
// than the newest it saw, so one message made while the clock was years ahead would lock us out of
// that peer from our next start on. A jump is therefore believed only after it has stood for
// kClockTrustedAfter; until then time goes on from where it was, by the monotonic clock. What is
// shown meanwhile is behind the wall clock, which does no harm: it still grows.
// The first reading is believed, because there is nothing to hold it against.
// Thread: one.
class TimestampClock {
  public:
    WallTime read(Now now) {
        const Duration offset = now.wall.time_since_epoch() - now.mono.time_since_epoch();
        const bool known = believed_ && now.mono.time_since_epoch() + *believed_ >= kClockPlausible;
        if (!known || near(offset, *believed_)) return believe(now, offset);
        if (!claimed_ || !near(offset, *claimed_)) {
            claimed_ = offset;
            claimed_since_ = now.mono;
        }
        if (now.mono - claimed_since_ >= kClockTrustedAfter) return believe(now, offset);
        return WallTime(now.mono.time_since_epoch() + *believed_);
    }

  private:
    static bool near(Duration a, Duration b) { return (a < b ? b - a : a - b) <= kClockSlewMax; }
    WallTime believe(Now now, Duration offset) {
        believed_ = offset;
        claimed_.reset();
        return now.wall;
    }

    // Between the wall clock and the monotonic one.
    std::optional<Duration> believed_;
    std::optional<Duration> claimed_;  // after a jump, since when
    Instant claimed_since_{};
};

// The wall clock rounded down to kTimestampGranularityNs, but always greater than `last`: a clock
// that was set back would otherwise shut us out until it has caught up.
inline Timestamp next_timestamp(WallTime wall, const Timestamp& last) {
    constexpr uint64_t kTaiOffset = 0x400000000000000aULL;
    constexpr uint32_t kSecond = 1'000'000'000;
    const auto since_epoch = static_cast<uint64_t>(wall.time_since_epoch().count());
    uint64_t second = kTaiOffset + since_epoch / kSecond;
    auto nanosecond = static_cast<uint32_t>(since_epoch % kSecond) & ~(kTimestampGranularityNs - 1);
    Timestamp stamp;
    store_be64(stamp.data(), second);
    store_be32(stamp.data() + 8, nanosecond);
    if (stamp > last) return stamp;
    second = load_be64(last.data());
    nanosecond = load_be32(last.data() + 8) + kTimestampGranularityNs;
    if (nanosecond >= kSecond) {
        nanosecond = 0;
        ++second;
    }
    store_be64(stamp.data(), second);
    store_be32(stamp.data() + 8, nanosecond);
    return stamp;
}

}  // namespace sluice::wireguard
