// Where the headers of one TCP or UDP packet lie, and the places of their fields.
// A layout is only given for a packet that is complete: every offset in it lies inside the packet,
// so that who has one may read and write the fixed header fields without looking at sizes again.
// Thread: any; no state. Failure: an empty optional, never a read outside the packet.
// Source: RFC 791, RFC 8200 section 4, RFC 9293 section 3.1, RFC 768.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"

namespace sluice::wire {

inline constexpr uint8_t kTransportTcp = 6;
inline constexpr uint8_t kTransportUdp = 17;

// Byte offsets of fields, from the start of the header they belong to.
struct Ipv4Field {
    static constexpr size_t kTos = 1;
    static constexpr size_t kTotalLength = 2;
    static constexpr size_t kId = 4;
    static constexpr size_t kFragment = 6;  // flags and offset
    static constexpr size_t kTtl = 8;
    static constexpr size_t kProtocol = 9;
    static constexpr size_t kChecksum = 10;
    static constexpr size_t kSource = 12;  // the destination follows
    static constexpr size_t kHeaderBytes = 20;
};
struct Ipv6Field {
    static constexpr size_t kPayloadLength = 4;
    static constexpr size_t kNextHeader = 6;
    static constexpr size_t kHopLimit = 7;
    static constexpr size_t kSource = 8;  // the destination follows
    static constexpr size_t kHeaderBytes = 40;
};
struct TcpField {
    static constexpr size_t kPorts = 0;
    static constexpr size_t kSequence = 4;
    static constexpr size_t kAcknowledgment = 8;
    static constexpr size_t kDataOffset = 12;  // four bits of it, then reserved bits and AE
    static constexpr size_t kFlags = 13;
    static constexpr size_t kWindow = 14;
    static constexpr size_t kChecksum = 16;
    static constexpr size_t kUrgent = 18;
    static constexpr size_t kHeaderBytes = 20;
};
struct UdpField {
    static constexpr size_t kPorts = 0;
    static constexpr size_t kLength = 4;
    static constexpr size_t kChecksum = 6;
    static constexpr size_t kHeaderBytes = 8;
};

inline constexpr uint16_t kIpv4DontFragment = 0x4000;

struct TcpFlag {
    static constexpr uint8_t kFin = 0x01;
    static constexpr uint8_t kPsh = 0x08;
    static constexpr uint8_t kAck = 0x10;
    static constexpr uint8_t kCwr = 0x80;
};

struct TransportLayout {
    uint8_t ip_version = 0;    // 4 or 6
    uint8_t protocol = 0;      // kTransportTcp or kTransportUdp
    bool ip_extended = false;  // IPv4 options or IPv6 extension headers are there
    size_t transport_offset = 0;
    size_t payload_offset = 0;  // also the size of all headers
    size_t payload_size = 0;
};

// `packet` is one whole IP packet. Empty for everything else than an unfragmented TCP or UDP packet
// whose IP length is exactly packet.size() and whose headers are complete; also when the UDP length
// does not reach to the end of the packet.
std::optional<TransportLayout> transport_layout(Bytes packet);

}  // namespace sluice::wire
