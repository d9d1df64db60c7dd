// Virtual time: a clock that stands still until the next event, and the events in their order.
// Not its job: knowing what an event means. Thread: one.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/time.h"

namespace sluice::sim {

class SimClock final : public Clock {
  public:
    // An arbitrary start, as a machine's that has been up for a while, so that nothing can take
    // the zero of a clock for "never".
    static constexpr Instant kStart{std::chrono::hours(1000)};
    static constexpr WallTime kWallStart{std::chrono::seconds(1'700'000'000)};

    Now now() override { return {mono_, kWallStart + (mono_ - kStart)}; }
    Instant mono() const { return mono_; }
    Duration elapsed() const { return mono_ - kStart; }
    void advance_to(Instant instant);

  private:
    Instant mono_ = kStart;
};

enum class EventKind : uint8_t {
    kArrival,      // a datagram, `subject` is its slot in the network
    kTick,         // a node's deadline
    kTraffic,      // a flow has a packet to send
    kMischief,     // a timed fault strikes
    kResume,       // a paused node goes on
    kBoot,         // a node that was down starts
    kRestorePeer,  // a peer that was removed from `subject` comes back
    kSweep,        // what must hold without any event of its own is looked at
    kWake,         // nothing: lets a phase end in time
};

struct Event {
    Instant at;
    uint64_t sequence = 0;  // ties are broken by age, so that a run has one order only
    EventKind kind = EventKind::kWake;
    uint32_t subject = 0;
    uint32_t detail = 0;
};

class EventQueue {
  public:
    void push(Instant at, EventKind kind, uint32_t subject = 0, uint32_t detail = 0);
    bool empty() const { return heap_.empty(); }
    const Event& next() const { return heap_.top(); }
    Event pop();

  private:
    struct Later {
        bool operator()(const Event& a, const Event& b) const {
            return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
        }
    };
    std::priority_queue<Event, std::vector<Event>, Later> heap_;
    uint64_t sequence_ = 0;
};

}  // namespace sluice::sim
