// Handshake messages per source, for sources that have proven their address: a token bucket for
// each IPv4 address and each IPv6 /64 (who has one has all of it).
// Bounded without a collector: a bucket that is full again is as good as none, so its place may be
// taken. When all places that a source may use are held by others that are not, it is refused.
//
// Thread: one. Memory: fixed at construction.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/base/ip.h"
#include "dataplane/base/random.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

class RateLimiter {
  public:
    // `random` only makes the places unpredictable.
    explicit RateLimiter(Random& random);
    bool admit(const IpAddress& source, Instant now);

  private:
    static constexpr size_t kWays = 8;
    static constexpr Duration kPerMessage = Duration(seconds(1)) / kSourceMessagesPerSecond;

    struct Source {
        uint64_t network = 0;  // an IPv4 address, or the first half of an IPv6 address
        IpAddress::Family family = IpAddress::Family::kNone;
        Instant full_at = Instant::min();  // when the bucket will be full again
    };

    std::array<uint64_t, 2> seed_;
    std::vector<std::array<Source, kWays>> sets_;
};

}  // namespace sluice::wireguard
