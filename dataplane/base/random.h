// The only source of chance.
// Thread: an object belongs to one thread.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/bytes.h"

namespace sluice {

class Random {
  public:
    virtual ~Random() = default;
    virtual void fill(MutableBytes out) = 0;

    uint32_t u32();
    uint64_t u64();
    // Uniform in [0, bound); bound > 0.
    uint64_t below(uint64_t bound);
};

// getrandom(2). A failure to read it ends the process: no key may be made without entropy.
class SystemRandom final : public Random {
  public:
    void fill(MutableBytes out) override;
};

// xoshiro256**, the same sequence for the same seed on every machine: tests, simulation, fuzzing.
// Never for keys of a real node.
class SeededRandom final : public Random {
  public:
    explicit SeededRandom(uint64_t seed);
    void fill(MutableBytes out) override;
    uint64_t next();

  private:
    std::array<uint64_t, 4> state_;
};

}  // namespace sluice
