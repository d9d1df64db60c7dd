#include "tests/sim/faults.h"

#include "dataplane/base/check.h"

namespace sluice::sim {

using namespace std::chrono_literals;

FaultPlan::FaultPlan(Dice& dice) {
    for (double& weight : weights_) {
        const bool on = dice.below(2) == 0;
        weight = 1.0 / static_cast<double>(uint64_t{1} << dice.below(5));
        if (!on) weight = 0;
    }
}

// Means at full weight. They are chosen so that a fault of average weight strikes several times in
// the minutes of one seed, and yet leaves enough calm for sessions to grow old.
static Duration mean_interval(Fault fault) {
    switch (fault) {
        case Fault::kClog:
            return 10s;
        case Fault::kPartition:
            return 25s;
        case Fault::kRebind:
            return 15s;
        case Fault::kRoam:
            return 20s;
        case Fault::kRestart:
            return 60s;
        case Fault::kPause:
            return 100s;
        case Fault::kClockJump:
            return 60s;
        case Fault::kReconfigure:
            return 40s;
        case Fault::kNewPresharedKey:
            return 100s;
        case Fault::kNewPrivateKey:
        case Fault::kRemovePeer:
            return 100s;
        case Fault::kBurst:
            return 60s;
        case Fault::kFlood:
            return 100s;
        case Fault::kWindowStorm:
            return 1500s;
        case Fault::kForgedHandshake:
            return 10s;
        case Fault::kStranger:
            return 10s;
        case Fault::kReplayData:
        case Fault::kReplayInitiation:
        case Fault::kReplayResponse:
        case Fault::kReplayCookie:
        case Fault::kReflect:
        case Fault::kAlter:
        case Fault::kGarbage:
        case Fault::kForgedData:
        case Fault::kForgedCookie:
        case Fault::kBadMac:
            return 2s;
        default:
            return Duration::zero();  // strikes each datagram or call, not at times
    }
}

Duration FaultPlan::interval(Fault fault, Dice& dice) const {
    const Duration mean = mean_interval(fault);
    SLUICE_CHECK(on(fault) && mean > Duration::zero());
    return dice.about(
               Duration(static_cast<int64_t>(static_cast<double>(mean.count()) / weight(fault)))) +
           1ms;
}

bool strikes_at_times(Fault fault) {
    return mean_interval(fault) > Duration::zero();
}

LinkFaults FaultPlan::draw_link(Dice& dice) const {
    LinkFaults link = healthy_link(dice);
    link.loss = 0.30 * weight(Fault::kLoss) * dice.unit();
    link.duplicate = 0.50 * weight(Fault::kDuplicate) * dice.unit();
    link.corrupt = 0.05 * weight(Fault::kCorrupt) * dice.unit();
    link.truncate = 0.05 * weight(Fault::kTruncate) * dice.unit();
    if (on(Fault::kReorder)) {
        link.delay_mean = Duration(static_cast<int64_t>(100e6 * weight(Fault::kReorder)));
    }
    if (on(Fault::kCapacity)) link.capacity = static_cast<uint32_t>(dice.between(2, 20));
    if (on(Fault::kBlackHole)) link.largest = static_cast<uint32_t>(dice.between(1280, 1500));
    return link;
}

LinkFaults healthy_link(Dice& dice) {
    LinkFaults link;
    link.delay_least = dice.between(Duration(100us), Duration(30ms));
    return link;
}

}  // namespace sluice::sim
