// Counts allocations by operator new: "nothing is allocated on the packet path" as a number.
// Blind under the sanitizers, which bring their own operator new. Thread: one.
#pragma once

#include <cstdint>

namespace sluice::sim {

uint64_t allocations_so_far();

}  // namespace sluice::sim
