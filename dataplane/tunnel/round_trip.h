// For tests and fuzzing only: what went into a coalescer must come out of it again, once its
// super-packets have been cut by the naive model. RoundTrip is the judge, Traffic makes the
// packets.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/tunnel/coalescer.h"
#include "dataplane/tunnel/naive_packets.h"

namespace sluice::tunnel::naive {

// Feeds a coalescer and compares. The order must hold within a 5-tuple, and around a packet whose
// 5-tuple cannot be told among all packets with its addresses.
class RoundTrip final : public CoalescerOutput {
  public:
    // `slack` more bytes than the packet has are asked for and written, as padding would.
    void feed(Coalescer& coalescer, const Packet& packet, size_t slack = 0);
    void feed_and_abandon(Coalescer& coalescer, const Packet& packet);
    // After the last flush(): the first difference in words, or nothing.
    std::string verdict() const;

    void on_packet(const Offload& offload, uint16_t header_length, Bytes packet) override;
    // As the coalescer gave them out.
    struct Output {
        Offload offload;
        Packet packet;
    };
    const std::vector<Output>& outputs() const { return outputs_; }
    const std::vector<Packet>& came_out() const { return out_; }

  private:
    std::vector<Packet> in_;
    std::vector<Packet> out_;
    std::vector<Output> outputs_;
    std::string complaint_;
};

// Where decisions come from: a seeded generator, or a fuzzer's bytes.
class Chance {
  public:
    virtual ~Chance() = default;
    // In [0, bound).
    virtual uint32_t below(uint32_t bound) = 0;
    virtual bool exhausted() const = 0;
};

// A handful of flows between a few hosts that mostly behave and sometimes do not.
class Traffic {
  public:
    explicit Traffic(Chance& chance);
    // Runs one step: a packet, an abandoned buffer, or a flush.
    void step(Coalescer& coalescer, RoundTrip& judge);

  private:
    struct FlowState {
        Spec spec;
        size_t segment_size = 0;
    };
    Packet next_packet();
    void misbehave(Spec& spec);
    Packet bend(Packet packet);
    FlowState make_flow();

    Chance& chance_;
    std::vector<FlowState> flows_;
    size_t current_ = 0;
    uint8_t stamp_ = 0;
};

namespace detail {

struct Key {
    Packet addresses;                 // with the version in front; empty: not IP
    std::optional<Packet> transport;  // protocol and ports; none: cannot be told
    auto operator<=>(const Key&) const = default;
};

inline Packet slice(const Packet& packet, size_t from, size_t to) {
    return {packet.begin() + static_cast<ptrdiff_t>(from),
            packet.begin() + static_cast<ptrdiff_t>(to)};
}

inline std::optional<Packet> transport_key(const Packet& packet, size_t at, uint8_t protocol) {
    if (protocol == 6) {
        if (packet.size() < at + 20) return {};
        const size_t header = (packet[at + 12] >> 4) * 4u;
        if (header < 20 || at + header > packet.size()) return {};
    } else if (protocol != 17 || packet.size() < at + 8 ||
               get(packet, at + 4, 2) != packet.size() - at) {
        return {};
    }
    Packet key = slice(packet, at, at + 4);
    key.push_back(protocol);
    return key;
}

inline Key key_of(const Packet& packet) {
    Key key;
    if (packet.size() >= 20 && packet[0] >> 4 == 4) {
        key.addresses = slice(packet, 12, 20);
        const size_t at = (packet[0] & 15u) * 4;
        if (at >= 20 && at <= packet.size() && get(packet, 2, 2) == packet.size() &&
            (get(packet, 6, 2) & 0x3fff) == 0) {
            key.transport = transport_key(packet, at, packet[9]);
        }
    } else if (packet.size() >= 40 && packet[0] >> 4 == 6) {
        key.addresses = slice(packet, 8, 40);
        if (get(packet, 4, 2) + 40 != packet.size()) return key;
        size_t at = 40;
        uint8_t next = packet[6];
        while (next == 0 || next == 43 || next == 60) {
            if (packet.size() < at + 8) return key;
            next = packet[at];
            at += (packet[at + 1] + 1u) * 8;
            if (at > packet.size()) return key;
        }
        key.transport = transport_key(packet, at, next);
    }
    return key;
}

inline bool ip_checksum_right(const Packet& packet) {
    return packet[0] >> 4 == 6 || sum_of(packet, 0, (packet[0] & 15u) * 4) == 0xffff;
}

// The packet without what the way may change: the ID of a packet that must not be fragmented, and a
// checksum that was wrong.
inline Packet canonical(Packet packet) {
    if (!key_of(packet).transport || !ip_checksum_right(packet)) return packet;
    if (packet[0] >> 4 == 4 && (packet[6] & 0x40) != 0) {
        put(packet, 4, 2, 0);
        fix_ip_checksum(packet);
    }
    const Shape shape = shape_of(packet);
    if (shape.protocol == 6 || get(packet, checksum_at(shape), 2) != 0) {
        fix_transport_checksum(packet);
    }
    return packet;
}

// Packets by flow. One whose flow cannot be told stands in the list of every flow between its
// addresses, and so is a fence for all of them.
using Lists = std::map<Key, std::vector<const Packet*>>;
inline Lists by_flow(const std::vector<Packet>& packets) {
    Lists lists;
    for (const Packet& packet : packets)
        lists[key_of(packet)];
    for (const Packet& packet : packets) {
        const Key key = key_of(packet);
        for (auto& [other, list] : lists) {
            if (other == key || (!key.transport && other.addresses == key.addresses)) {
                list.push_back(&packet);
            }
        }
    }
    return lists;
}

inline std::string wrong_with(const Offload& offload, size_t header_length, const Packet& packet) {
    if (offload.gso_type == 0) return offload.flags == 0 ? "" : "a lone packet with flags";
    const Key key = key_of(packet);
    if (!key.transport) return "a super-packet that is not TCP or UDP";
    const Shape shape = shape_of(packet);
    const bool tcp = shape.protocol == 6;
    const uint8_t type = tcp ? (shape.v4 ? 1 : 4) : 5;
    if (offload.gso_type != type) return "wrong gso_type";
    if (offload.flags != 1) return "wrong flags";
    if (packet.size() > 65535) return "too large";
    if (!ip_checksum_right(packet)) return "wrong IP checksum";
    if (offload.checksum_start != shape.transport) return "wrong checksum_start";
    if (offload.checksum_offset != (tcp ? 16 : 6)) return "wrong checksum_offset";
    if (get(packet, checksum_at(shape), 2) % 0xffff != pseudo_sum(packet, shape) % 0xffff) {
        return "wrong pseudo-header sum";
    }
    const size_t headers = shape.transport + (tcp ? (packet[shape.transport + 12] >> 4) * 4u : 8u);
    if (header_length != headers) return "wrong header_length";
    if (packet.size() - headers <= offload.gso_size) return "a super-packet of one segment";
    return "";
}

}  // namespace detail

inline void RoundTrip::feed(Coalescer& coalescer, const Packet& packet, size_t slack) {
    const MutableBytes room = coalescer.buffer(packet.size() + slack, *this);
    if (room.size() != packet.size() + slack) {
        complaint_ = "no room";
        return;
    }
    std::fill(room.begin(), room.end(), uint8_t{0xa5});
    std::copy(packet.begin(), packet.end(), room.begin());
    in_.push_back(packet);
    coalescer.commit(packet.size(), *this);
}

inline void RoundTrip::feed_and_abandon(Coalescer& coalescer, const Packet& packet) {
    const MutableBytes room = coalescer.buffer(packet.size(), *this);
    std::copy(packet.begin(), packet.end(), room.begin());
    coalescer.abandon();
}

inline void RoundTrip::on_packet(const Offload& offload, uint16_t header_length, Bytes bytes) {
    const Packet packet(bytes.begin(), bytes.end());
    outputs_.push_back({offload, packet});
    std::string wrong = detail::wrong_with(offload, header_length, packet);
    if (!wrong.empty()) {
        complaint_ = std::move(wrong);
        return;
    }
    for (Packet& segment : segments_of(offload, packet))
        out_.push_back(std::move(segment));
}

inline std::string RoundTrip::verdict() const {
    if (!complaint_.empty()) return complaint_;
    if (in_.size() != out_.size()) {
        return std::to_string(in_.size()) + " packets in, " + std::to_string(out_.size()) + " out";
    }
    const detail::Lists in = detail::by_flow(in_);
    const detail::Lists out = detail::by_flow(out_);
    for (const auto& [key, packets] : in) {
        const auto found = out.find(key);
        if (found == out.end() || found->second.size() != packets.size()) {
            return "packets of one flow are in another";
        }
        for (size_t i = 0; i < packets.size(); ++i) {
            const Packet& before = *packets[i];
            const Packet& after = *found->second[i];
            if (detail::canonical(before) != detail::canonical(after)) {
                return "packet " + std::to_string(i) + " of a flow is another one";
            }
            const bool known = detail::key_of(before).transport.has_value();
            if (known && checksums_right(before) && !checksums_right(after)) {
                return "packet " + std::to_string(i) + " of a flow lost its checksum";
            }
        }
    }
    return "";
}

inline Traffic::Traffic(Chance& chance) : chance_(chance) {
    const uint32_t flows = 1 + chance_.below(10);
    for (uint32_t i = 0; i < flows; ++i)
        flows_.push_back(make_flow());
}

inline Traffic::FlowState Traffic::make_flow() {
    FlowState flow;
    Spec& spec = flow.spec;
    spec.v4 = chance_.below(2) == 0;
    spec.tcp = chance_.below(3) > 0;
    // Few hosts and ports, so that flows share addresses and sometimes are the same.
    spec.source_host = static_cast<uint8_t>(chance_.below(2));
    spec.source_port = static_cast<uint16_t>(1000 + chance_.below(4));
    spec.dont_fragment = chance_.below(3) > 0;
    spec.id = static_cast<uint16_t>(chance_.below(0x10000));
    spec.sequence = 0xffffff00 + chance_.below(0x100);  // soon wraps
    if (chance_.below(2) == 0) spec.tcp_options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1};
    constexpr size_t kSizes[] = {1, 2, 9, 30, 100, 536, 1380, 8900, 20000};
    flow.segment_size = kSizes[chance_.below(std::size(kSizes))];
    return flow;
}

inline Packet Traffic::next_packet() {
    if (chance_.below(4) == 0) current_ = chance_.below(static_cast<uint32_t>(flows_.size()));
    FlowState& flow = flows_[current_];
    size_t size = flow.segment_size;
    if (chance_.below(12) == 0) size = chance_.below(static_cast<uint32_t>(size) + 3);
    Spec spec = flow.spec;
    spec.payload.resize(size);
    for (uint8_t& byte : spec.payload)
        byte = stamp_++;
    ++stamp_;
    if (spec.tcp && chance_.below(16) == 0) spec.flags |= 0x08;
    flow.spec.sequence += static_cast<uint32_t>(size);
    if (spec.dont_fragment && chance_.below(2) == 0) spec.id = 0;
    ++flow.spec.id;
    if (chance_.below(10) > 0) return build(spec);
    misbehave(spec);
    if (chance_.below(4) == 0) flow.spec = spec;  // and stays so
    flow.spec.payload.clear();
    return bend(build(spec));
}

// Still well-formed, but not what the packets before it were.
inline void Traffic::misbehave(Spec& spec) {
    switch (chance_.below(12)) {
        case 0:
            spec.sequence += chance_.below(3000);
            break;
        case 1:
            spec.acknowledgment += 1 + chance_.below(9);
            break;
        case 2:
            spec.window ^= 1;
            break;
        case 3:
            spec.ttl ^= 1;
            break;
        case 4:
            spec.tos ^= static_cast<uint8_t>(1 + chance_.below(255));
            break;
        case 5:
            spec.flow_label ^= 1;
            break;
        case 6:
            spec.flags ^= static_cast<uint8_t>(1u << chance_.below(8));
            break;
        case 7:
            spec.urgent ^= 1;
            break;
        case 8:
            spec.id = static_cast<uint16_t>(spec.id + chance_.below(3));
            break;
        case 9:
            spec.dont_fragment = !spec.dont_fragment;
            break;
        case 10:
            if (!spec.tcp_options.empty()) spec.tcp_options[7] ^= 1;
            break;
        default:
            spec.ip_extra = spec.v4 ? Packet{1, 1, 1, 1} : Packet{0, 0, 1, 4, 0, 0, 0, 0};
    }
}

// Not well-formed any more, or not of the flow that it seems to be of.
inline Packet Traffic::bend(Packet packet) {
    const Shape shape = shape_of(packet);
    switch (chance_.below(12)) {
        case 0:
            packet[chance_.below(static_cast<uint32_t>(packet.size()))] ^= 0x10;
            break;
        case 1:
            packet.resize(chance_.below(static_cast<uint32_t>(packet.size()) + 1));
            break;
        case 2:  // UDP without a checksum, TCP with a wrong one
            put(packet, checksum_at(shape), 2, 0);
            break;
        case 3:  // another protocol, such as ICMP
            packet[shape.v4 ? 9 : 6] = shape.v4 ? 1 : 58;
            fix_ip_checksum(packet);
            break;
        case 4:  // a fragment
            if (shape.v4) packet[6] = 0x20;
            if (!shape.v4) packet[6] = 44;
            fix_ip_checksum(packet);
            break;
        case 5:
            for (uint32_t i = chance_.below(40); i > 0; --i)
                packet.push_back(0);
            break;
        case 6:
            packet.clear();
            break;
        default:
            break;
    }
    return packet;
}

inline void Traffic::step(Coalescer& coalescer, RoundTrip& judge) {
    const uint32_t what = chance_.below(40);
    const Packet packet = next_packet();
    if (what == 0) coalescer.flush(judge);
    if (what < 3) judge.feed_and_abandon(coalescer, packet);
    judge.feed(coalescer, packet, what < 20 ? 0 : chance_.below(33));
}

}  // namespace sluice::tunnel::naive
