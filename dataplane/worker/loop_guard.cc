#include "dataplane/worker/loop_guard.h"

#include "dataplane/wire/transport_header.h"
#include "dataplane/wire/wireguard_message.h"

namespace sluice::worker {

namespace {

// How long an answer about an address counts. Addresses come and go with a person's hands.
constexpr Duration kAnswerLasts = std::chrono::seconds(1);

// The UDP header and what follows it, of a packet that is UDP and not a later fragment; else empty.
Bytes udp_of(Bytes packet) {
    constexpr uint8_t kFragmentHeader = 44;  // IPv6
    constexpr size_t kFragmentHeaderBytes = 8;
    if (packet.empty()) return {};
    size_t at = 0;
    uint8_t protocol = 0;
    uint16_t fragment_offset = 0;
    if (packet[0] >> 4 == 4 && packet.size() >= wire::Ipv4Field::kHeaderBytes) {
        at = size_t{packet[0] & 0x0fU} * 4;
        protocol = packet[wire::Ipv4Field::kProtocol];
        fragment_offset = load_be16(&packet[wire::Ipv4Field::kFragment]) & 0x1fff;
    } else if (packet[0] >> 4 == 6 && packet.size() >= wire::Ipv6Field::kHeaderBytes) {
        at = wire::Ipv6Field::kHeaderBytes;
        protocol = packet[wire::Ipv6Field::kNextHeader];
        if (protocol == kFragmentHeader && packet.size() >= at + kFragmentHeaderBytes) {
            protocol = packet[at];
            fragment_offset = load_be16(&packet[at + 2]) & 0xfff8;
            at += kFragmentHeaderBytes;
        }
    }
    const bool is_udp = protocol == wire::kTransportUdp && fragment_offset == 0 && at > 0;
    if (!is_udp || packet.size() < at + wire::UdpField::kHeaderBytes) return {};
    return packet.subspan(at);
}

bool holds_wireguard_message(Bytes udp) {
    const Bytes payload = udp.subspan(wire::UdpField::kHeaderBytes);
    if (payload.size() < 4) return false;
    const uint32_t type = load_le32(payload.data());
    return type >= static_cast<uint32_t>(wire::WireguardType::kInitiation) &&
           type <= static_cast<uint32_t>(wire::WireguardType::kData);
}

}  // namespace

LoopGuard::LoopGuard() {
    if (auto opened = io::HostAddresses::open(); opened) host_ = std::move(*opened);
}

bool LoopGuard::is_own_datagram(Bytes packet, uint16_t port, Instant now) {
    const Bytes udp = udp_of(packet);
    if (udp.empty() || load_be16(&udp[wire::UdpField::kPorts]) != port) return false;
    if (!holds_wireguard_message(udp)) return false;
    return is_own_address(packet[0] >> 4 == 4 ? IpAddress::v4(&packet[wire::Ipv4Field::kSource])
                                              : IpAddress::v6(&packet[wire::Ipv6Field::kSource]),
                          now);
}

bool LoopGuard::is_own_address(const IpAddress& address, Instant now) {
    if (address != asked_ || now >= answer_ends_) {
        asked_ = address;
        answer_ = !host_ || host_->is_own(address);
        answer_ends_ = now + kAnswerLasts;
    }
    return answer_;
}

}  // namespace sluice::worker
