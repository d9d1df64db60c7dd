// Congestion marks across the tunnel: normal mode of RFC 6040. Outside only the two ECN bits of the
// inner header are shown, never its DSCP, which would tell what the traffic is.
#pragma once

#include <cstdint>
#include <optional>

namespace sluice::wireguard {

inline constexpr uint8_t kEcnMask = 0x03;
inline constexpr uint8_t kEcnCongestionExperienced = 0x03;

inline uint8_t encapsulated_tos(uint8_t inner_traffic_class) {
    return inner_traffic_class & kEcnMask;
}

// The inner traffic class after the tunnel (RFC 6040, figure 4). Nothing: congestion was signalled
// to a flow that cannot hear it but through a loss, so the packet has to be dropped.
inline std::optional<uint8_t> decapsulated_traffic_class(uint8_t inner, uint8_t outer) {
    constexpr uint8_t kNotCapable = 0x00;
    constexpr uint8_t kCapable1 = 0x01;
    const uint8_t inner_ecn = inner & kEcnMask;
    const uint8_t outer_ecn = outer & kEcnMask;
    if (outer_ecn == kEcnCongestionExperienced) {
        if (inner_ecn == kNotCapable) return {};
        return inner | kEcnCongestionExperienced;
    }
    const bool inner_capable0 = inner_ecn == 0x02;
    if (outer_ecn == kCapable1 && inner_capable0) {
        return static_cast<uint8_t>((inner & ~kEcnMask) | kCapable1);
    }
    return inner;
}

}  // namespace sluice::wireguard
