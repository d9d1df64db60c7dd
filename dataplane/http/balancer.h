// Whose turn it is: smooth weighted round robin.
//
// Each pick adds to every candidate its weight and takes the one with the most, which then pays the
// sum of all weights. With weights 3 and 1 that gives a a b a, not a a a b: no server gets its
// share in one burst. Over any sum-of-weights picks without exclusions the shares are exact.
//
// Cost: one pass over the backend's servers per pick. Thread: the worker's.
// Source: the algorithm is nginx's of 2012.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::http {

class Balancer {
  public:
    explicit Balancer(const std::vector<uint32_t>& weights) {
        servers_.reserve(weights.size());
        for (const uint32_t weight : weights)
            servers_.push_back({weight, 0});
    }

    // The server with the turn among those for which `usable(index)` holds; weight 0 never has one.
    template <typename Usable>
    std::optional<uint32_t> pick(Usable usable) {
        int64_t sum = 0;
        std::optional<uint32_t> best;
        for (uint32_t i = 0; i < servers_.size(); ++i) {
            Server& server = servers_[i];
            if (server.weight == 0 || !usable(i)) continue;
            server.credit += server.weight;
            sum += server.weight;
            if (!best || server.credit > servers_[*best].credit) best = i;
        }
        if (best) servers_[*best].credit -= sum;
        return best;
    }

  private:
    struct Server {
        uint32_t weight;
        int64_t credit;  // the credits of all servers add up to 0 between picks
    };
    std::vector<Server> servers_;
};

}  // namespace sluice::http
