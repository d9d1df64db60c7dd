// The answer to an inner sender whose packet cannot go into the tunnel: ICMP's "host unreachable"
// and "fragmentation needed", ICMPv6's "address unreachable" and "packet too big". With it a
// program is told at once what it would otherwise learn from a timeout.
//
// The message speaks in the name of the address that could not be reached. Linux drops, as a
// martian, what comes in from a device with an IPv4 address of the host itself as its source; the
// destination is the one address that is sure to be routed to that device.
//
// Pure functions: nothing is kept. Who sends these has to limit how many (RFC 1812 section 4.3.2.8,
// RFC 4443 section 2.4 f).
// Thread: any.
// Source: RFC 792, RFC 1191 section 4, RFC 1812 sections 4.3.2 and 5.2.7, RFC 4443 sections 2 and
// 3, RFC 4884 (no extensions are written).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"

namespace sluice::wire {

enum class IcmpError : uint8_t {
    kUnreachable,  // nobody is there, or it is not known where
    kTooBig,       // larger than the tunnel's MTU
};

// As much of the packet is quoted as an error may hold: 576 bytes in all for ICMP (RFC 1812 section
// 4.3.2.3), the minimum MTU for ICMPv6 (RFC 4443 section 2.4 c).
inline constexpr size_t kIcmpV4ErrorSizeMax = 576;
inline constexpr size_t kIcmpV6ErrorSizeMax = 1280;
inline constexpr size_t kIcmpErrorSizeMax = kIcmpV6ErrorSizeMax;

// Whether a packet may be answered with an error at all. Not: errors themselves, what might be one
// (fragments behind the first, header chains that do not end), packets to many, and packets from an
// address that is not one host's.
bool icmp_error_allowed(Bytes packet);

// Writes the whole IP packet that tells the sender of `packet` about it, and returns its size; 0 if
// the packet must not be answered. `mtu`: the largest packet that would go, for kTooBig.
size_t write_icmp_error(IcmpError error, uint16_t mtu, Bytes packet,
                        std::span<uint8_t, kIcmpErrorSizeMax> out);

}  // namespace sluice::wire
