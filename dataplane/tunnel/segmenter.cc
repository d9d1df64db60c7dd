#include "dataplane/tunnel/segmenter.h"

#include <algorithm>
#include <cstring>

#include "dataplane/tunnel/checksum.h"
#include "dataplane/wire/transport_header.h"

namespace sluice::tunnel {

using wire::Ipv4Field;
using wire::Ipv6Field;
using wire::TcpField;
using wire::TcpFlag;
using wire::UdpField;

// header_ is left unset on purpose: 512 bytes to clear would cost more than the header of a packet.
Segmenter::Segmenter(const Offload& offload, MutableBytes packet) : packet_(packet) {
    needs_checksum_ = (offload.flags & Offload::kNeedsChecksum) != 0;
    transport_at_ = offload.checksum_start;
    checksum_field_ = offload.checksum_offset;
    if (needs_checksum_ && transport_at_ + checksum_field_ + 2 > packet.size()) {
        malformed_ = true;
        return;
    }
    malformed_ = offload.gso_type != Offload::kGsoNone && !accept(offload);
}

// Takes over a super-packet: everything that the segments have in common is worked out here once.
bool Segmenter::accept(const Offload& offload) {
    // Segments of the largest size must fit their own length fields; they do, because the
    // super-packet, which is at least as long, fits its own.
    const auto layout = wire::transport_layout(packet_);
    if (!layout || !needs_checksum_ || offload.gso_size == 0) return false;
    ipv4_ = layout->ip_version == 4;
    tcp_ = layout->protocol == wire::kTransportTcp;
    const uint8_t type = offload.gso_type & static_cast<uint8_t>(~Offload::kGsoEcn);
    const uint8_t expected = !tcp_   ? Offload::kGsoUdpL4
                             : ipv4_ ? Offload::kGsoTcp4
                                     : Offload::kGsoTcp6;
    if (type != expected) return false;
    const size_t field = tcp_ ? TcpField::kChecksum : UdpField::kChecksum;
    if (transport_at_ != layout->transport_offset || checksum_field_ != field) return false;
    if (layout->payload_offset > kHeaderBytesMax) return false;

    gso_size_ = offload.gso_size;
    header_size_ = layout->payload_offset;
    payload_at_ = header_size_;
    std::memcpy(header_.data(), packet_.data(), header_size_);

    uint8_t* transport = header_.data() + transport_at_;
    if (ipv4_) {
        ip_id_ = load_be16(&header_[Ipv4Field::kId]);
        store_be16(&header_[Ipv4Field::kTotalLength], 0);
        store_be16(&header_[Ipv4Field::kId], 0);
        store_be16(&header_[Ipv4Field::kChecksum], 0);
        ip_sum_ = checksum_add(0, Bytes(header_).first(transport_at_));
    }
    if (tcp_) {
        tcp_sequence_ = load_be32(transport + TcpField::kSequence);
        tcp_flags_ = transport[TcpField::kFlags];
    }
    // Taking a number out of a ones' complement sum is adding its complement.
    const auto length = static_cast<uint16_t>(packet_.size() - transport_at_);
    transport_sum_ = checksum_add(load_native<uint16_t>(transport + checksum_field_),
                                  static_cast<uint16_t>(~length));
    return true;
}

std::optional<MutableBytes> Segmenter::next() {
    if (malformed_ || done_) return std::nullopt;
    if (gso_size_ == 0) {
        done_ = true;
        if (needs_checksum_) complete_checksum(packet_.subspan(transport_at_), checksum_field_);
        return packet_;
    }
    const size_t left = packet_.size() - payload_at_;
    const size_t payload_size = std::min(left, gso_size_);
    const MutableBytes segment =
        packet_.subspan(payload_at_ - header_size_, header_size_ + payload_size);
    const bool first = payload_at_ == header_size_;
    done_ = payload_size == left;
    write_headers(segment.data(), payload_size, first, done_);
    complete_checksum(segment.subspan(transport_at_), checksum_field_);
    payload_at_ += payload_size;
    return segment;
}

void Segmenter::write_headers(uint8_t* headers, size_t payload_size, bool first, bool last) {
    const size_t size = header_size_ + payload_size;
    const auto transport_size = static_cast<uint16_t>(size - transport_at_);
    std::memcpy(headers, header_.data(), header_size_);
    if (ipv4_) {
        const auto total = static_cast<uint16_t>(size);
        store_be16(headers + Ipv4Field::kTotalLength, total);
        store_be16(headers + Ipv4Field::kId, ip_id_);
        const ChecksumSum sum = checksum_add(checksum_add(ip_sum_, total), ip_id_);
        store_native(headers + Ipv4Field::kChecksum, static_cast<uint16_t>(~checksum_fold(sum)));
        ++ip_id_;
    } else {
        store_be16(headers + Ipv6Field::kPayloadLength,
                   static_cast<uint16_t>(size - Ipv6Field::kHeaderBytes));
    }
    uint8_t* transport = headers + transport_at_;
    if (tcp_) {
        uint8_t flags = tcp_flags_;
        if (!first) flags &= static_cast<uint8_t>(~TcpFlag::kCwr);
        if (!last) flags &= static_cast<uint8_t>(~(TcpFlag::kFin | TcpFlag::kPsh));
        transport[TcpField::kFlags] = flags;
        store_be32(transport + TcpField::kSequence, tcp_sequence_);
        tcp_sequence_ += static_cast<uint32_t>(payload_size);
    } else {
        store_be16(transport + UdpField::kLength, transport_size);
    }
    store_native(transport + checksum_field_,
                 checksum_fold(checksum_add(transport_sum_, transport_size)));
}

}  // namespace sluice::tunnel
