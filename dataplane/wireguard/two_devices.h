// For tests, fuzzing and benchmarks of this room: devices on a virtual clock, and the datagrams
// between them in the test's hands.
#pragma once

#include <chrono>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

struct SentDatagram {
    std::vector<uint8_t> bytes;
    Path path;
    uint8_t tos = 0;

    uint32_t type() const { return load_le32(bytes.data()); }
};

struct ReceivedPacket {
    std::vector<uint8_t> bytes;
    PeerId peer = kNoPeer;
    bool congestion_experienced = false;
};

// Collects a device's results. Checks that every buffer is given back before the next is asked for.
class CollectingOutput final : public DeviceOutput {
  public:
    MutableBytes datagram_buffer(size_t size, const Path& path, uint8_t tos) override {
        if (busy_) protocol_violated = true;
        if (refuse_datagrams) return {};
        busy_ = true;
        pending_ = {.bytes = std::vector<uint8_t>(size, 0xee), .path = path, .tos = tos};
        return pending_.bytes;
    }
    void datagram_ready(size_t size) override {
        if (!busy_ || size > pending_.bytes.size()) protocol_violated = true;
        busy_ = false;
        pending_.bytes.resize(size);
        sent.push_back(std::move(pending_));
    }
    MutableBytes inner_buffer(size_t size, PeerId peer) override {
        if (busy_) protocol_violated = true;
        if (refuse_inner) return {};
        busy_ = true;
        inner_ = {.bytes = std::vector<uint8_t>(size, 0xee), .peer = peer};
        return inner_.bytes;
    }
    void inner_ready(size_t size, bool congestion_experienced) override {
        if (!busy_ || size > inner_.bytes.size()) protocol_violated = true;
        busy_ = false;
        inner_.bytes.resize(size);
        inner_.congestion_experienced = congestion_experienced;
        received.push_back(std::move(inner_));
    }
    void inner_abandoned() override {
        if (!busy_) protocol_violated = true;
        busy_ = false;
    }
    void belongs_to(uint32_t worker) override {
        if (busy_) protocol_violated = true;
        foreign.push_back(worker);
    }

    std::deque<SentDatagram> sent;
    std::deque<ReceivedPacket> received;
    std::deque<uint32_t> foreign;  // whose the datagrams are that are another worker's
    bool refuse_datagrams = false;
    bool refuse_inner = false;
    bool protocol_violated = false;

  private:
    bool busy_ = false;
    SentDatagram pending_;
    ReceivedPacket inner_;
};

// One end: a device with its output, its drop counters and its address.
struct End {
    End(uint64_t seed, std::string_view address, Now now, Device::Options options = {})
        : random(seed), device(options, random, drops, now) {
        random.fill(private_key.span());
        public_key = crypto::X25519Key(private_key).public_key();
        endpoint = Endpoint::parse(address).value();
    }

    DeviceSettings settings() const {
        DeviceSettings result;
        result.private_key = private_key;
        result.mtu = mtu;
        result.peers = peers;
        return result;
    }
    void configure(Now now) { device.configure(settings(), now, out); }

    SeededRandom random;
    DropCounters drops;
    CollectingOutput out;
    Device device;
    Secret<32> private_key;
    PublicKey public_key{};
    Endpoint endpoint;
    uint16_t mtu = 1420;
    std::vector<PeerSettings> peers;
};

// An IPv4 or IPv6 packet whose header is right, filled with a pattern.
inline std::vector<uint8_t> ip_packet(std::string_view source, std::string_view destination,
                                      size_t size, uint8_t traffic_class = 0) {
    const IpAddress from = IpAddress::parse(source).value();
    const IpAddress to = IpAddress::parse(destination).value();
    std::vector<uint8_t> packet(size);
    for (size_t i = 0; i < size; ++i)
        packet[i] = static_cast<uint8_t>(i * 7 + size);
    uint8_t* at = packet.data();
    if (from.is_v4()) {
        std::memset(at, 0, 20);
        at[0] = 0x45;
        at[1] = traffic_class;
        store_be16(at + 2, static_cast<uint16_t>(size));
        at[8] = 64;
        at[9] = 17;
        std::memcpy(at + 12, from.bytes.data(), 4);
        std::memcpy(at + 16, to.bytes.data(), 4);
        uint32_t sum = 0;
        for (size_t i = 0; i < 20; i += 2)
            sum += load_be16(at + i);
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        store_be16(at + 10, static_cast<uint16_t>(~sum));
    } else {
        std::memset(at, 0, 40);
        store_be32(at, 6u << 28 | uint32_t{traffic_class} << 20);
        store_be16(at + 4, static_cast<uint16_t>(size - 40));
        at[6] = 17;
        at[7] = 64;
        std::memcpy(at + 8, from.bytes.data(), 16);
        std::memcpy(at + 24, to.bytes.data(), 16);
    }
    return packet;
}

// Two ends that know each other: `a` has 10.0.0.1 and fd00::1 inside, `b` 10.0.0.2 and fd00::2.
// Only `a` knows the other's endpoint at first.
class TwoDevices {
  public:
    explicit TwoDevices(uint64_t seed = 1)
        : a(2 * seed, "192.0.2.1:1001", now), b(2 * seed + 1, "192.0.2.2:2002", now) {
        a.peers = {peer_of(b, "10.0.0.2/32", "fd00::2/128")};
        a.peers[0].endpoint = b.endpoint;
        b.peers = {peer_of(a, "10.0.0.1/32", "fd00::1/128")};
        configure();
    }

    static PeerSettings peer_of(const End& end, std::string_view v4, std::string_view v6) {
        PeerSettings settings;
        settings.public_key = end.public_key;
        settings.allowed_ips = {IpPrefix::parse(v4).value(), IpPrefix::parse(v6).value()};
        return settings;
    }

    void configure() {
        a.configure(now);
        b.configure(now);
    }
    End& other(const End& end) { return &end == &a ? b : a; }
    // The number that `end` gives the other end.
    PeerId peer_id(const End& end) { return end.device.peer_by_key(other(end).public_key).value(); }
    PeerState state(const End& end) { return end.device.peer_state(peer_id(end)); }

    // Takes the next datagram that `end` sent; fails the test by exception if there is none.
    SentDatagram take(End& end) {
        if (end.out.sent.empty()) throw std::runtime_error("no datagram was sent");
        SentDatagram datagram = std::move(end.out.sent.front());
        end.out.sent.pop_front();
        return datagram;
    }
    // Gives a datagram to `to` as if it came from the other end's address.
    DropReason give(End& to, SentDatagram datagram, uint8_t tos = 0) {
        return give_from(to, std::move(datagram), {other(to).endpoint, to.endpoint.address, 1},
                         tos);
    }
    DropReason give_from(End& to, SentDatagram datagram, const Path& path, uint8_t tos = 0) {
        return to.device.receive(datagram.bytes, path, tos, now, to.out);
    }
    // Delivers everything both ways until both are quiet.
    void settle() {
        while (!a.out.sent.empty() || !b.out.sent.empty()) {
            if (!a.out.sent.empty()) give(b, take(a));
            if (!b.out.sent.empty()) give(a, take(b));
        }
    }
    DropReason send(End& from, const std::vector<uint8_t>& packet) {
        return from.device.send(peer_id(from), packet, now, from.out);
    }
    std::vector<uint8_t> packet_from(const End& from, size_t size = 100) const {
        return &from == &a ? ip_packet("10.0.0.1", "10.0.0.2", size)
                           : ip_packet("10.0.0.2", "10.0.0.1", size);
    }
    // A handshake from `a`, confirmed, nothing left on the way.
    void connect() {
        send(a, packet_from(a));
        settle();
        a.out.received.clear();
        b.out.received.clear();
    }

    // Moves the clock, firing each end's timers when they are due. Nothing is delivered.
    void pass(Duration duration) {
        const Instant end = now.mono + duration;
        for (;;) {
            const Instant due = std::min(a.device.next_deadline(), b.device.next_deadline());
            if (due > end) break;
            advance_to(std::max(due, now.mono));
            a.device.tick(now, a.out);
            b.device.tick(now, b.out);
        }
        advance_to(end);
    }
    void advance_to(Instant instant) {
        now.wall += instant - now.mono;
        now.mono = instant;
    }

    Now now{Instant(std::chrono::seconds(1000)), WallTime(std::chrono::seconds(1'800'000'000))};
    End a;
    End b;
};

}  // namespace sluice::wireguard
