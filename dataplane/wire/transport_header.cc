#include "dataplane/wire/transport_header.h"

namespace sluice::wire {

namespace {

constexpr uint16_t kIpv4FragmentMask = 0x3fff;  // "more fragments" and the offset

// What stands before the transport header, and which transport it is.
struct IpEnd {
    size_t offset;
    uint8_t protocol;
};

std::optional<IpEnd> skip_ipv4(Bytes packet) {
    if (packet.size() < Ipv4Field::kHeaderBytes) return std::nullopt;
    const size_t header = size_t{packet[0] & 0x0fu} * 4;
    if (header < Ipv4Field::kHeaderBytes || header > packet.size()) return std::nullopt;
    if (load_be16(&packet[Ipv4Field::kTotalLength]) != packet.size()) return std::nullopt;
    if (load_be16(&packet[Ipv4Field::kFragment]) & kIpv4FragmentMask) return std::nullopt;
    return IpEnd{header, packet[Ipv4Field::kProtocol]};
}

// Steps over the extension headers that every node may step over (RFC 8200 section 4.1). A fragment
// header ends the walk, because the transport header of a fragment need not be in the packet; so
// does whatever is unknown. Each step is at least 8 bytes, so the walk is bounded by the packet.
std::optional<IpEnd> skip_ipv6(Bytes packet) {
    constexpr uint8_t kHopByHop = 0;
    constexpr uint8_t kRouting = 43;
    constexpr uint8_t kDestinationOptions = 60;

    if (packet.size() < Ipv6Field::kHeaderBytes) return std::nullopt;
    const size_t length = Ipv6Field::kHeaderBytes + load_be16(&packet[Ipv6Field::kPayloadLength]);
    if (length != packet.size()) return std::nullopt;
    uint8_t next = packet[Ipv6Field::kNextHeader];
    size_t offset = Ipv6Field::kHeaderBytes;
    while (next == kHopByHop || next == kRouting || next == kDestinationOptions) {
        if (packet.size() - offset < 8) return std::nullopt;
        const size_t size = (size_t{packet[offset + 1]} + 1) * 8;
        if (packet.size() - offset < size) return std::nullopt;
        next = packet[offset];
        offset += size;
    }
    return IpEnd{offset, next};
}

}  // namespace

std::optional<TransportLayout> transport_layout(Bytes packet) {
    if (packet.empty()) return std::nullopt;
    TransportLayout layout;
    layout.ip_version = packet[0] >> 4;
    std::optional<IpEnd> end;
    if (layout.ip_version == 4) {
        end = skip_ipv4(packet);
        layout.ip_extended = end && end->offset != Ipv4Field::kHeaderBytes;
    } else if (layout.ip_version == 6) {
        end = skip_ipv6(packet);
        layout.ip_extended = end && end->offset != Ipv6Field::kHeaderBytes;
    }
    if (!end) return std::nullopt;

    layout.protocol = end->protocol;
    layout.transport_offset = end->offset;
    const Bytes transport = packet.subspan(end->offset);
    size_t header = 0;
    if (layout.protocol == kTransportTcp) {
        if (transport.size() < TcpField::kHeaderBytes) return std::nullopt;
        header = size_t{transport[TcpField::kDataOffset]} / 16 * 4;
        if (header < TcpField::kHeaderBytes || header > transport.size()) return std::nullopt;
    } else if (layout.protocol == kTransportUdp) {
        header = UdpField::kHeaderBytes;
        if (transport.size() < header) return std::nullopt;
        if (load_be16(&transport[UdpField::kLength]) != transport.size()) return std::nullopt;
    } else {
        return std::nullopt;
    }
    layout.payload_offset = end->offset + header;
    layout.payload_size = packet.size() - layout.payload_offset;
    return layout;
}

}  // namespace sluice::wire
