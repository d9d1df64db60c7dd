#include "dataplane/wire/icmp_message.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/ip_packet.h"

namespace sluice::wire {

namespace {

constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolIcmpV6 = 58;
constexpr size_t kIcmpHeaderSize = 8;
// Far enough for any path that a host's own answer takes, and the default of Linux.
constexpr uint8_t kHopLimit = 64;
// RFC 1812 section 4.3.2.5: errors go with precedence 6.
constexpr uint8_t kInternetworkControl = 0xc0;

uint32_t sum_words(Bytes bytes, uint32_t sum) {
    size_t at = 0;
    for (; at + 1 < bytes.size(); at += 2)
        sum += load_be16(bytes.data() + at);
    if (at < bytes.size()) sum += uint32_t{bytes[at]} << 8;
    return sum;
}

// RFC 1071. What is summed here is shorter than 64 KiB, so 32 bits hold it.
uint16_t checksum(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

bool is_one_v4_host(Bytes address) {
    return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

bool is_one_v6_host(Bytes address) {
    if (address[0] == 0xff) return false;
    const bool zeros =
        std::all_of(address.begin(), address.begin() + 15, [](uint8_t byte) { return byte == 0; });
    return !(zeros && address[15] <= 1);  // unspecified, loopback
}

// Queries and their answers; everything else is an error, or something unknown that may be one.
bool is_icmp_query(uint8_t type) {
    constexpr uint8_t kNewestQuery = 18;
    const bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    return !error && type <= kNewestQuery;
}

bool v4_error_allowed(const IpPacket& packet, Bytes bytes) {
    constexpr uint16_t kFragmentOffset = 0x1fff;
    if (!is_one_v4_host(packet.source) || !is_one_v4_host(packet.destination)) return false;
    if ((load_be16(bytes.data() + 6) & kFragmentOffset) != 0) return false;
    if (bytes[9] != kProtocolIcmp) return true;
    const size_t header = size_t{bytes[0] & 15u} * 4;
    return packet.size > header && is_icmp_query(bytes[header]);
}

// Behind the extension headers: whether what the packet carries is known not to be an error.
bool v6_error_allowed(const IpPacket& packet, Bytes bytes) {
    constexpr uint8_t kHopByHop = 0;
    constexpr uint8_t kRouting = 43;
    constexpr uint8_t kFragment = 44;
    constexpr uint8_t kAuthentication = 51;
    constexpr uint8_t kDestinationOptions = 60;
    if (!is_one_v6_host(packet.source) || !is_one_v6_host(packet.destination)) return false;
    uint8_t next = bytes[6];
    size_t at = kIpv6HeaderSize;
    for (;;) {
        const bool extension = next == kHopByHop || next == kRouting || next == kFragment ||
                               next == kAuthentication || next == kDestinationOptions;
        if (!extension) break;
        if (at + 8 > packet.size) return false;
        if (next == kFragment && (load_be16(bytes.data() + at + 2) & 0xfff8) != 0) return false;
        const size_t length = bytes[at + 1];
        const uint8_t kind = next;
        next = bytes[at];
        at += kind == kFragment ? 8 : kind == kAuthentication ? (length + 2) * 4 : (length + 1) * 8;
    }
    if (next != kProtocolIcmpV6) return true;
    constexpr uint8_t kFirstInformational = 128;
    return at < packet.size && bytes[at] >= kFirstInformational;
}

size_t write_v4(IcmpError error, uint16_t mtu, const IpPacket& packet, Bytes quote,
                MutableBytes out) {
    constexpr uint8_t kUnreachable = 3;
    constexpr uint8_t kHostUnreachable = 1;
    constexpr uint8_t kFragmentationNeeded = 4;
    constexpr uint16_t kDontFragment = 0x4000;
    quote = quote.first(
        std::min(quote.size(), kIcmpV4ErrorSizeMax - kIpv4HeaderSize - kIcmpHeaderSize));
    const size_t size = kIpv4HeaderSize + kIcmpHeaderSize + quote.size();
    uint8_t* ip = out.data();
    std::memset(ip, 0, kIpv4HeaderSize + kIcmpHeaderSize);
    ip[0] = 0x45;
    ip[1] = kInternetworkControl;
    store_be16(ip + 2, static_cast<uint16_t>(size));
    store_be16(ip + 6, kDontFragment);
    ip[8] = kHopLimit;
    ip[9] = kProtocolIcmp;
    std::memcpy(ip + 12, packet.destination.data(), 4);
    std::memcpy(ip + 16, packet.source.data(), 4);
    store_be16(ip + 10, checksum(sum_words({ip, kIpv4HeaderSize}, 0)));

    uint8_t* icmp = ip + kIpv4HeaderSize;
    icmp[0] = kUnreachable;
    icmp[1] = error == IcmpError::kTooBig ? kFragmentationNeeded : kHostUnreachable;
    if (error == IcmpError::kTooBig) store_be16(icmp + 6, mtu);
    std::memcpy(icmp + kIcmpHeaderSize, quote.data(), quote.size());
    store_be16(icmp + 2, checksum(sum_words({icmp, size - kIpv4HeaderSize}, 0)));
    return size;
}

size_t write_v6(IcmpError error, uint16_t mtu, const IpPacket& packet, Bytes quote,
                MutableBytes out) {
    constexpr uint8_t kUnreachable = 1;
    constexpr uint8_t kAddressUnreachable = 3;
    constexpr uint8_t kPacketTooBig = 2;
    quote = quote.first(
        std::min(quote.size(), kIcmpV6ErrorSizeMax - kIpv6HeaderSize - kIcmpHeaderSize));
    const size_t payload = kIcmpHeaderSize + quote.size();
    uint8_t* ip = out.data();
    std::memset(ip, 0, kIpv6HeaderSize + kIcmpHeaderSize);
    ip[0] = 0x60;
    store_be16(ip + 4, static_cast<uint16_t>(payload));
    ip[6] = kProtocolIcmpV6;
    ip[7] = kHopLimit;
    std::memcpy(ip + 8, packet.destination.data(), 16);
    std::memcpy(ip + 24, packet.source.data(), 16);

    uint8_t* icmp = ip + kIpv6HeaderSize;
    icmp[0] = error == IcmpError::kTooBig ? kPacketTooBig : kUnreachable;
    icmp[1] = error == IcmpError::kTooBig ? 0 : kAddressUnreachable;
    if (error == IcmpError::kTooBig) store_be32(icmp + 4, mtu);
    std::memcpy(icmp + kIcmpHeaderSize, quote.data(), quote.size());
    // The pseudo-header of RFC 8200 section 8.1: both addresses, the length, the protocol.
    const uint32_t pseudo =
        sum_words({ip + 8, 32}, static_cast<uint32_t>(payload) + kProtocolIcmpV6);
    store_be16(icmp + 2, checksum(sum_words({icmp, payload}, pseudo)));
    return kIpv6HeaderSize + payload;
}

}  // namespace

bool icmp_error_allowed(Bytes bytes) {
    const auto packet = parse_ip_packet(bytes);
    if (!packet) return false;
    return packet->is_v4() ? v4_error_allowed(*packet, bytes) : v6_error_allowed(*packet, bytes);
}

size_t write_icmp_error(IcmpError error, uint16_t mtu, Bytes bytes,
                        std::span<uint8_t, kIcmpErrorSizeMax> out) {
    if (!icmp_error_allowed(bytes)) return 0;
    const IpPacket packet = *parse_ip_packet(bytes);
    const Bytes quote = bytes.first(packet.size);
    return packet.is_v4() ? write_v4(error, mtu, packet, quote, out)
                          : write_v6(error, mtu, packet, quote, out);
}

}  // namespace sluice::wire
