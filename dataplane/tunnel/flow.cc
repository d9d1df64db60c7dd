#include "dataplane/tunnel/flow.h"

#include <cstring>

#include "dataplane/tunnel/checksum.h"

namespace sluice::tunnel {

using wire::Ipv4Field;
using wire::Ipv6Field;
using wire::TcpField;
using wire::TcpFlag;
using wire::UdpField;

namespace {

constexpr size_t kPortsBytes = 4;

bool equal(const uint8_t* a, const uint8_t* b, size_t from, size_t to) {
    return std::memcmp(a + from, b + from, to - from) == 0;
}

// Reserved bits and AE, which share a byte with the header's length, and all flags but PSH.
uint16_t flags_but_push(const uint8_t* transport) {
    return load_be16(transport + TcpField::kDataOffset) & static_cast<uint16_t>(~TcpFlag::kPsh);
}

}  // namespace

bool Candidate::joinable() const {
    if (!layout || layout->ip_extended || layout->payload_size == 0) return false;
    const uint8_t* transport = packet.data() + layout->transport_offset;
    // A super-packet's IPv4 header gets a right checksum, so a packet whose own is wrong must go
    // alone: the kernel will drop it.
    if (layout->ip_version == 4 && !ipv4_header_valid(packet.first(Ipv4Field::kHeaderBytes))) {
        return false;
    }
    if (is_tcp()) return (flags_but_push(transport) & 0x0fff) == TcpFlag::kAck;
    // No checksum would become a checksum.
    return load_native<uint16_t>(transport + UdpField::kChecksum) != 0;
}

bool Candidate::ends_flow() const {
    if (!is_tcp()) return false;
    const uint8_t* transport = packet.data() + layout->transport_offset;
    return (transport[TcpField::kFlags] & TcpFlag::kPsh) != 0;
}

void Flow::start(const Candidate& candidate) {
    const wire::TransportLayout& layout = *candidate.layout;
    used_ = candidate.packet.size();
    header_size_ = layout.payload_offset;
    transport_at_ = layout.transport_offset;
    segment_size_ = layout.payload_size;
    packets_ = 1;
    ipv4_ = layout.ip_version == 4;
    tcp_ = candidate.is_tcp();
    ended_ = false;
    pushed_ = false;
    std::memcpy(header_.data(), candidate.packet.data(), header_size_);
    next_id_ = static_cast<uint16_t>(load_be16(&header_[Ipv4Field::kId]) + 1);
    if (tcp_) {
        next_sequence_ = load_be32(&header_[transport_at_ + TcpField::kSequence]) +
                         static_cast<uint32_t>(segment_size_);
    }
}

bool Flow::same_flow(const Candidate& candidate) const {
    if (!candidate.layout || candidate.is_tcp() != tcp_) return false;
    const uint8_t* ports = candidate.packet.data() + candidate.layout->transport_offset;
    return same_addresses(candidate.packet) &&
           std::memcmp(ports, &header_[transport_at_], kPortsBytes) == 0;
}

bool Flow::same_addresses(Bytes packet) const {
    const size_t header = ipv4_ ? Ipv4Field::kHeaderBytes : Ipv6Field::kHeaderBytes;
    if (packet.size() < header || packet[0] >> 4 != (ipv4_ ? 4 : 6)) return false;
    const size_t addresses = ipv4_ ? Ipv4Field::kSource : Ipv6Field::kSource;
    return equal(packet.data(), header_.data(), addresses, header);
}

bool Flow::ip_continued_by(const uint8_t* packet) const {
    const uint8_t* first = header_.data();
    if (!ipv4_) {
        return equal(packet, first, 0, Ipv6Field::kPayloadLength) &&
               equal(packet, first, Ipv6Field::kNextHeader, Ipv6Field::kHeaderBytes);
    }
    if (!equal(packet, first, 0, Ipv4Field::kTotalLength) ||
        !equal(packet, first, Ipv4Field::kFragment, Ipv4Field::kChecksum) ||
        !equal(packet, first, Ipv4Field::kSource, Ipv4Field::kHeaderBytes)) {
        return false;
    }
    return (load_be16(first + Ipv4Field::kFragment) & wire::kIpv4DontFragment) != 0 ||
           load_be16(packet + Ipv4Field::kId) == next_id_;
}

bool Flow::tcp_continued_by(const uint8_t* transport, size_t header_bytes) const {
    const uint8_t* first = header_.data() + transport_at_;
    return load_be32(transport + TcpField::kSequence) == next_sequence_ &&
           equal(transport, first, TcpField::kAcknowledgment, TcpField::kDataOffset) &&
           flags_but_push(transport) == flags_but_push(first) &&
           equal(transport, first, TcpField::kWindow, TcpField::kChecksum) &&
           equal(transport, first, TcpField::kUrgent, header_bytes);
}

bool Flow::continued_by(const Candidate& candidate) const {
    if (ended_ || !same_flow(candidate)) return false;
    const wire::TransportLayout& layout = *candidate.layout;
    if (layout.payload_offset != header_size_ || layout.payload_size > segment_size_ ||
        used_ + layout.payload_size > kPacketBytesMax) {
        return false;
    }
    const uint8_t* packet = candidate.packet.data();
    if (!ip_continued_by(packet) || !candidate.joinable()) return false;
    if (!tcp_) return packets_ < kUdpSegmentsMax;
    return tcp_continued_by(packet + transport_at_, header_size_ - transport_at_);
}

void Flow::append(size_t payload_size, bool ends) {
    used_ += payload_size;
    ++packets_;
    ++next_id_;
    next_sequence_ += static_cast<uint32_t>(payload_size);
    pushed_ = ends;
    // A shorter segment can only be the last one; and where not even one more byte fits, there is
    // no need to wait for the packet that shows it.
    ended_ = ends || payload_size < segment_size_ || used_ == kPacketBytesMax ||
             (!tcp_ && packets_ == kUdpSegmentsMax);
}

Offload Flow::finish() {
    if (packets_ == 1) return {};
    const size_t transport_size = used_ - transport_at_;
    uint8_t* transport = header_.data() + transport_at_;
    uint8_t* ip = header_.data();
    Bytes addresses;
    if (ipv4_) {
        addresses = {ip + Ipv4Field::kSource, 8};
        store_be16(ip + Ipv4Field::kTotalLength, static_cast<uint16_t>(used_));
        store_native(ip + Ipv4Field::kChecksum,
                     ipv4_header_checksum({ip, Ipv4Field::kHeaderBytes}));
    } else {
        addresses = {ip + Ipv6Field::kSource, 32};
        store_be16(ip + Ipv6Field::kPayloadLength,
                   static_cast<uint16_t>(used_ - Ipv6Field::kHeaderBytes));
    }
    const size_t field = tcp_ ? TcpField::kChecksum : UdpField::kChecksum;
    if (tcp_ && pushed_) transport[TcpField::kFlags] |= TcpFlag::kPsh;
    if (!tcp_) store_be16(transport + UdpField::kLength, static_cast<uint16_t>(transport_size));
    const uint8_t protocol = tcp_ ? wire::kTransportTcp : wire::kTransportUdp;
    store_native(transport + field,
                 checksum_fold(pseudo_header_sum(addresses, protocol, transport_size)));
    std::memcpy(memory_, header_.data(), header_size_);

    const uint8_t tcp_type = ipv4_ ? Offload::kGsoTcp4 : Offload::kGsoTcp6;
    return {.flags = Offload::kNeedsChecksum,
            .gso_type = tcp_ ? tcp_type : Offload::kGsoUdpL4,
            .gso_size = static_cast<uint16_t>(segment_size_),
            .checksum_start = static_cast<uint16_t>(transport_at_),
            .checksum_offset = static_cast<uint16_t>(field)};
}

}  // namespace sluice::tunnel
