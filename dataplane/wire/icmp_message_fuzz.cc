// Any packet: an error about it fits, is itself a packet with right checksums that quotes it, goes
// back to its source, and is never answered with another error.
#include <algorithm>
#include <array>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/icmp_message.h"
#include "dataplane/wire/ip_packet.h"

using namespace sluice;
using namespace sluice::wire;

namespace {

uint16_t ones_sum(Bytes bytes, uint32_t sum) {
    for (size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<uint16_t>(sum);
}

void check(IcmpError error, uint16_t mtu, Bytes packet) {
    std::array<uint8_t, kIcmpErrorSizeMax> out;
    const size_t size = write_icmp_error(error, mtu, packet, out);
    SLUICE_CHECK((size > 0) == icmp_error_allowed(packet));
    if (size == 0) return;
    const IpPacket about = *parse_ip_packet(packet);
    const Bytes written = Bytes(out).first(size);
    const auto ip = parse_ip_packet(written);
    SLUICE_CHECK(ip && ip->size == size && ip->family == about.family);
    SLUICE_CHECK(std::ranges::equal(ip->source, about.destination));
    SLUICE_CHECK(std::ranges::equal(ip->destination, about.source));
    const size_t header = ip->is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize;
    SLUICE_CHECK(size <= (ip->is_v4() ? kIcmpV4ErrorSizeMax : kIcmpV6ErrorSizeMax));
    const Bytes quote = written.subspan(header + 8);
    SLUICE_CHECK(quote.size() <= about.size);
    SLUICE_CHECK(std::ranges::equal(quote, packet.first(quote.size())));
    if (ip->is_v4()) {
        SLUICE_CHECK(ones_sum(written.first(header), 0) == 0xffff);
        SLUICE_CHECK(ones_sum(written.subspan(header), 0) == 0xffff);
    } else {
        const auto lengths = static_cast<uint32_t>(size - header) + 58;
        SLUICE_CHECK(ones_sum(written.subspan(8), lengths) == 0xffff);
    }
    SLUICE_CHECK(!icmp_error_allowed(written));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3) return 0;
    const std::vector<uint8_t> exact(data + 3, data + size);
    check(data[0] % 2 == 0 ? IcmpError::kUnreachable : IcmpError::kTooBig, load_be16(data + 1),
          exact);
    return 0;
}
