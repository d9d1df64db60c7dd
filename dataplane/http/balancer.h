// Whose turn it is: smooth weighted round robin, or whoever has the least to do for its weight.
//
// Round robin: each pick adds to every candidate its weight and takes the one with the most, which
// then pays the sum of all weights. With weights 3 and 1 that gives a a b a, not a a a b: no server
// gets its share in one burst. Over any sum-of-weights picks without exclusions the shares are
// exact. Weights may change from one pick to the next.
// Least connections: the smallest (active requests + 1) / weight; round robin among equals.
//
// Cost: one or two passes over the backend's servers per pick. Thread: the worker's.
// Source: the round robin is nginx's of 2012.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::http {

class Balancer {
  public:
    explicit Balancer(size_t servers) : credits_(servers) {}

    // The server with the turn. `weight(index)`: 0 for one that is not to be asked.
    template <typename Weight>
    std::optional<uint32_t> pick(Weight weight) {
        int64_t sum = 0;
        std::optional<uint32_t> best;
        for (uint32_t i = 0; i < credits_.size(); ++i) {
            const int64_t own = weight(i);
            if (own == 0) continue;
            credits_[i] += own;
            sum += own;
            if (!best || credits_[i] > credits_[*best]) best = i;
        }
        if (best) credits_[*best] -= sum;
        return best;
    }

    // `active(index)`: how many requests it has now.
    template <typename Weight, typename Active>
    std::optional<uint32_t> pick_least(Weight weight, Active active) {
        // The load of the least loaded one, as a fraction; compared crosswise, without rounding.
        uint64_t load = 0;
        uint64_t share = 0;
        for (uint32_t i = 0; i < credits_.size(); ++i) {
            const uint64_t own = weight(i);
            if (own == 0) continue;
            const uint64_t wanted = uint64_t{active(i)} + 1;
            if (share != 0 && wanted * share >= load * own) continue;
            load = wanted;
            share = own;
        }
        if (share == 0) return std::nullopt;
        return pick([&](uint32_t i) -> uint64_t {
            const uint64_t own = weight(i);
            return (uint64_t{active(i)} + 1) * share == load * own ? own : 0;
        });
    }

  private:
    std::vector<int64_t> credits_;  // they add up to 0 between picks
};

}  // namespace sluice::http
