#include "tests/sim/sim_clock.h"

#include "dataplane/base/check.h"

namespace sluice::sim {

void SimClock::advance_to(Instant instant) {
    SLUICE_CHECK(instant >= mono_);
    mono_ = instant;
}

void EventQueue::push(Instant at, EventKind kind, uint32_t subject, uint32_t detail) {
    heap_.push({at, sequence_++, kind, subject, detail});
}

Event EventQueue::pop() {
    const Event event = heap_.top();
    heap_.pop();
    return event;
}

}  // namespace sluice::sim
