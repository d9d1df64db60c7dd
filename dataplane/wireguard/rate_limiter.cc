#include "dataplane/wireguard/rate_limiter.h"

#include <algorithm>

namespace sluice::wireguard {

RateLimiter::RateLimiter(Random& random)
    : seed_{random.u64(), random.u64() | 1}, sets_(kSourcesMax / kWays) {}

bool RateLimiter::admit(const IpAddress& address, Instant now) {
    const uint64_t network =
        address.is_v4() ? load_be32(address.bytes.data()) : load_be64(address.bytes.data());
    // Two multiplications by an odd secret: enough that nobody can aim at one set from outside.
    uint64_t hash = (network ^ seed_[0]) * seed_[1];
    hash = (hash ^ hash >> 32) * seed_[1];
    auto& set = sets_[(hash >> 32) % sets_.size()];

    Source* place = nullptr;
    for (Source& source : set) {
        if (source.family == address.family && source.network == network) {
            place = &source;
            break;
        }
        if (source.full_at <= now && place == nullptr) place = &source;
    }
    if (place == nullptr) return false;
    if (place->family != address.family || place->network != network) {
        *place = {.network = network, .family = address.family};
    }
    const Instant full_at = std::max(place->full_at, now) + kPerMessage;
    if (full_at > now + kSourceBurst * kPerMessage) return false;
    place->full_at = full_at;
    return true;
}

}  // namespace sluice::wireguard
