// For tests and fuzzing only: packets built and cut in the most obvious way, byte by byte, so that
// the room's code has something independent to be compared with. Shares no code with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/tunnel/segmenter.h"

namespace sluice::tunnel::naive {

using Packet = std::vector<uint8_t>;

inline uint32_t get(const Packet& packet, size_t at, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i)
        value = value << 8 | packet.at(at + i);
    return value;
}
inline void put(Packet& packet, size_t at, size_t size, uint32_t value) {
    for (size_t i = size; i-- > 0; value >>= 8)
        packet.at(at + i) = static_cast<uint8_t>(value);
}

// RFC 1071 as its text says it: 16-bit words in network order, carries added back at once.
inline uint16_t sum_of(const Packet& bytes, size_t from, size_t to, uint32_t sum = 0) {
    for (size_t i = from; i < to; i += 2) {
        sum += static_cast<uint32_t>(bytes[i] << 8);
        if (i + 1 < to) sum += bytes[i + 1];
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<uint16_t>(sum);
}

// Where the transport header begins and what it is. Only for packets that are known to be in order.
struct Shape {
    bool v4;
    size_t transport;
    uint8_t protocol;
};
inline Shape shape_of(const Packet& packet) {
    if (packet.at(0) >> 4 == 4) return {true, (packet[0] & 15u) * 4, packet.at(9)};
    size_t at = 40;
    uint8_t next = packet.at(6);
    while (next == 0 || next == 43 || next == 60) {
        next = packet.at(at);
        at += (packet.at(at + 1) + 1u) * 8;
    }
    return {false, at, next};
}

inline size_t checksum_at(const Shape& shape) {
    return shape.transport + (shape.protocol == 6 ? 16 : 6);
}

inline uint16_t pseudo_sum(const Packet& packet, const Shape& shape) {
    const size_t length = packet.size() - shape.transport;
    Packet pseudo(packet.begin() + (shape.v4 ? 12 : 8), packet.begin() + (shape.v4 ? 20 : 40));
    pseudo.insert(pseudo.end(), {0, shape.protocol, static_cast<uint8_t>(length >> 16), 0, 0, 0});
    put(pseudo, pseudo.size() - 4, 4, static_cast<uint32_t>(length));
    pseudo.resize(pseudo.size() + pseudo.size() % 2);
    return sum_of(pseudo, 0, pseudo.size());
}

inline void fix_ip_checksum(Packet& packet) {
    if (packet.at(0) >> 4 != 4) return;
    put(packet, 10, 2, 0);
    put(packet, 10, 2, 0xffffu - sum_of(packet, 0, (packet[0] & 15u) * 4));
}
inline void fix_transport_checksum(Packet& packet) {
    const Shape shape = shape_of(packet);
    put(packet, checksum_at(shape), 2, 0);
    const uint32_t checksum =
        0xffffu - sum_of(packet, shape.transport, packet.size(), pseudo_sum(packet, shape));
    put(packet, checksum_at(shape), 2, checksum == 0 ? 0xffff : checksum);
}
// Leaves the transport checksum to whoever comes next, as Linux does with CHECKSUM_PARTIAL.
inline void make_checksum_partial(Packet& packet) {
    const Shape shape = shape_of(packet);
    put(packet, checksum_at(shape), 2, pseudo_sum(packet, shape));
}

inline bool checksums_right(const Packet& packet) {
    const Shape shape = shape_of(packet);
    if (shape.v4 && sum_of(packet, 0, (packet[0] & 15u) * 4) != 0xffff) return false;
    return sum_of(packet, shape.transport, packet.size(), pseudo_sum(packet, shape)) == 0xffff;
}

// A packet in words.
struct Spec {
    bool v4 = true;
    bool tcp = true;
    uint8_t source_host = 2;  // last byte of the address
    uint8_t destination_host = 1;
    uint16_t source_port = 40000;
    uint16_t destination_port = 443;
    uint8_t ttl = 64;
    uint8_t tos = 0;
    bool dont_fragment = true;
    uint16_t id = 0;
    uint32_t flow_label = 0;
    Packet ip_extra = {};  // IPv4 options, or one IPv6 destination options header, in whole
    uint32_t sequence = 1;
    uint32_t acknowledgment = 1;
    uint8_t flags = 0x10;
    uint16_t window = 500;
    uint16_t urgent = 0;
    Packet tcp_options = {};
    Packet payload = {};
};

// In the networks 10.99.0.0/24 and fd99::/64.
inline Packet build(const Spec& spec) {
    const size_t transport = (spec.v4 ? 20 : 40) + spec.ip_extra.size();
    const size_t header = spec.tcp ? 20 + spec.tcp_options.size() : 8;
    const size_t size = transport + header + spec.payload.size();
    const uint8_t protocol = spec.tcp ? 6 : 17;
    Packet packet(transport + header, 0);
    if (spec.v4) {
        packet[0] = static_cast<uint8_t>(0x40 | transport / 4);
        packet[1] = spec.tos;
        put(packet, 2, 2, static_cast<uint32_t>(size));
        put(packet, 4, 2, spec.id);
        put(packet, 6, 2, spec.dont_fragment ? 0x4000 : 0);
        packet[8] = spec.ttl;
        packet[9] = protocol;
        put(packet, 12, 4, 0x0a630000u + spec.source_host);
        put(packet, 16, 4, 0x0a630000u + spec.destination_host);
        std::copy(spec.ip_extra.begin(), spec.ip_extra.end(), packet.begin() + 20);
    } else {
        put(packet, 0, 4, 0x60000000u | static_cast<uint32_t>(spec.tos << 20) | spec.flow_label);
        put(packet, 4, 2, static_cast<uint32_t>(size - 40));
        packet[6] = spec.ip_extra.empty() ? protocol : 60;
        packet[7] = spec.ttl;
        put(packet, 8, 2, 0xfd99);
        packet[23] = spec.source_host;
        put(packet, 24, 2, 0xfd99);
        packet[39] = spec.destination_host;
        std::copy(spec.ip_extra.begin(), spec.ip_extra.end(), packet.begin() + 40);
        if (!spec.ip_extra.empty()) packet[40] = protocol;
    }
    put(packet, transport, 2, spec.source_port);
    put(packet, transport + 2, 2, spec.destination_port);
    if (spec.tcp) {
        put(packet, transport + 4, 4, spec.sequence);
        put(packet, transport + 8, 4, spec.acknowledgment);
        packet[transport + 12] = static_cast<uint8_t>(header / 4 << 4);
        packet[transport + 13] = spec.flags;
        put(packet, transport + 14, 2, spec.window);
        put(packet, transport + 18, 2, spec.urgent);
        std::copy(spec.tcp_options.begin(), spec.tcp_options.end(),
                  packet.begin() + static_cast<ptrdiff_t>(transport + 20));
    } else {
        put(packet, transport + 4, 2, static_cast<uint32_t>(header + spec.payload.size()));
    }
    packet.insert(packet.end(), spec.payload.begin(), spec.payload.end());
    fix_ip_checksum(packet);
    fix_transport_checksum(packet);
    return packet;
}

// What a super-packet is a short form of, for an offload header that fits it.
inline std::vector<Packet> segments_of(const Offload& offload, const Packet& packet) {
    if (offload.gso_type == 0) {
        Packet alone = packet;
        if (offload.flags & 1) fix_transport_checksum(alone);
        return {alone};
    }
    const Shape shape = shape_of(packet);
    const bool tcp = shape.protocol == 6;
    const size_t header =
        shape.transport + (tcp ? (packet.at(shape.transport + 12) >> 4) * 4u : 8u);
    std::vector<Packet> segments;
    size_t at = header;
    do {
        const size_t size = std::min<size_t>(offload.gso_size, packet.size() - at);
        const bool last = at + size == packet.size();
        Packet segment(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(header));
        segment.insert(segment.end(), packet.begin() + static_cast<ptrdiff_t>(at),
                       packet.begin() + static_cast<ptrdiff_t>(at + size));
        const auto total = static_cast<uint32_t>(segment.size());
        if (shape.v4) {
            put(segment, 2, 2, total);
            put(segment, 4, 2, get(packet, 4, 2) + static_cast<uint32_t>(segments.size()));
        } else {
            put(segment, 4, 2, total - 40);
        }
        if (tcp) {
            put(segment, shape.transport + 4, 4,
                get(packet, shape.transport + 4, 4) + static_cast<uint32_t>(at - header));
            if (!last) segment[shape.transport + 13] &= 0xf6;         // no FIN, no PSH
            if (at != header) segment[shape.transport + 13] &= 0x7f;  // no CWR
        } else {
            put(segment, shape.transport + 4, 2, total - static_cast<uint32_t>(shape.transport));
        }
        fix_ip_checksum(segment);
        fix_transport_checksum(segment);
        segments.push_back(std::move(segment));
        at += size;
    } while (at < packet.size());
    return segments;
}

}  // namespace sluice::tunnel::naive
