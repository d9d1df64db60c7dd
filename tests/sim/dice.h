// The chances of the world. Only integer and exact binary arithmetic: a seed must mean the same
// run on every machine, and the last bits of a logarithm do not.
#pragma once

#include <cstdint>

#include "dataplane/base/random.h"
#include "dataplane/base/time.h"

namespace sluice::sim {

class Dice {
  public:
    explicit Dice(uint64_t seed) : random_(seed) {}

    uint64_t below(uint64_t bound) { return random_.below(bound); }
    uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
    uint64_t word() { return random_.next(); }
    // In [0, 1).
    double unit() { return static_cast<double>(word() >> 11) * 0x1p-53; }
    bool chance(double probability) { return probability > 0 && unit() < probability; }
    Duration between(Duration least, Duration most) {
        return least + Duration(static_cast<int64_t>(
                           below(static_cast<uint64_t>((most - least).count()) + 1)));
    }
    // Mostly short, now and then four times the mean: the product of two uniform numbers.
    Duration about(Duration mean) {
        return Duration(
            static_cast<int64_t>(4.0 * unit() * unit() * static_cast<double>(mean.count())));
    }
    void fill(MutableBytes out) { random_.fill(out); }

  private:
    SeededRandom random_;
};

}  // namespace sluice::sim
