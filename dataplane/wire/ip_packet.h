// The fixed part of an IP header, as much as a tunnel needs of it: which version, how long, from
// whom, to whom, and the byte with DSCP and ECN. Nothing is copied.
// Thread: any. Failure: a packet that is not what it says gives nothing.
// Source: RFC 791 section 3.1, RFC 8200 section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"

namespace sluice::wire {

inline constexpr size_t kIpv4HeaderSize = 20;  // without options
inline constexpr size_t kIpv6HeaderSize = 40;

// Points into the packet that it was read from.
struct IpPacket {
    IpAddress::Family family = IpAddress::Family::kNone;
    size_t size = 0;  // the packet's own length field, header included; <= the bytes given
    uint8_t traffic_class = 0;  // DSCP and ECN
    Bytes source;               // 4 or 16 bytes
    Bytes destination;

    bool is_v4() const { return family == IpAddress::Family::kV4; }
};

// Bytes after the packet's own end are allowed: WireGuard pads. An IPv6 jumbogram (length field 0
// with a hop-by-hop option) is taken as a packet without payload.
inline std::optional<IpPacket> parse_ip_packet(Bytes bytes) {
    if (bytes.size() < kIpv4HeaderSize) return {};
    const uint8_t* at = bytes.data();
    if (at[0] >> 4 == 4) {
        const size_t header = size_t{at[0] & 15u} * 4;
        const size_t size = load_be16(at + 2);
        if (header < kIpv4HeaderSize || size < header || size > bytes.size()) return {};
        return IpPacket{.family = IpAddress::Family::kV4,
                        .size = size,
                        .traffic_class = at[1],
                        .source = bytes.subspan(12, 4),
                        .destination = bytes.subspan(16, 4)};
    }
    if (at[0] >> 4 != 6 || bytes.size() < kIpv6HeaderSize) return {};
    const size_t size = kIpv6HeaderSize + load_be16(at + 4);
    if (size > bytes.size()) return {};
    return IpPacket{.family = IpAddress::Family::kV6,
                    .size = size,
                    .traffic_class = static_cast<uint8_t>(load_be16(at) >> 4),
                    .source = bytes.subspan(8, 16),
                    .destination = bytes.subspan(24, 16)};
}

// Replaces DSCP and ECN and keeps an IPv4 header's checksum right. Precondition: parse_ip_packet()
// accepted the packet.
void set_traffic_class(MutableBytes packet, uint8_t traffic_class);

}  // namespace sluice::wire
