// The part of World's loop that several of its files use with conditions of their own.
#pragma once

#include "tests/sim/world.h"

namespace sluice::sim {

// Handles events until `done()` holds after one of them (true), or the time is over (false).
template <typename Done>
bool World::run_until(Instant end, Done done) {
    events_.push(end, EventKind::kWake);
    while (!events_.empty() && events_.next().at <= end) {
        handle_next();
        if (done()) return true;
    }
    return false;
}

}  // namespace sluice::sim
