// What can go wrong, and how much of each a seed gets: swarm testing. Every seed turns a random
// half of the faults off and draws the weights of the rest over a factor of sixteen, because a mix
// that always holds everything finds less than many lopsided ones (Groce et al., 2012).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/base/time.h"
#include "tests/sim/dice.h"

namespace sluice::sim {

enum class Fault : uint8_t {
#define X(enumerator, name, sentence) enumerator,
#include "tests/sim/faults.def"
#undef X
};

struct FaultText {
    std::string_view name;
    std::string_view sentence;
};

inline constexpr auto kFaultTexts = std::to_array<FaultText>({
#define X(enumerator, name, sentence) {name, sentence},
#include "tests/sim/faults.def"
#undef X
});
inline constexpr size_t kFaultCount = kFaultTexts.size();

// One direction between two nodes. Zero: that fault is off.
struct LinkFaults {
    double loss = 0;
    double duplicate = 0;
    double corrupt = 0;
    double truncate = 0;
    Duration delay_least{};
    Duration delay_mean{};     // on top; varies from datagram to datagram and so reorders
    uint32_t capacity = 0;     // datagrams in flight; more are dropped at the tail
    uint32_t largest = 65535;  // longer datagrams vanish
};

class FaultPlan {
  public:
    // Nothing goes wrong.
    FaultPlan() = default;
    explicit FaultPlan(Dice& dice);

    // 0: off; else in [1/16, 1].
    double weight(Fault fault) const { return weights_[static_cast<size_t>(fault)]; }
    bool on(Fault fault) const { return weight(fault) > 0; }
    // Time until a timed fault strikes next; on(fault) is the precondition.
    Duration interval(Fault fault, Dice& dice) const;
    LinkFaults draw_link(Dice& dice) const;

  private:
    std::array<double, kFaultCount> weights_{};
};

// Whether it comes at times of its own (and not to each datagram or call).
bool strikes_at_times(Fault fault);

// A link after healing.
LinkFaults healthy_link(Dice& dice);

}  // namespace sluice::sim
