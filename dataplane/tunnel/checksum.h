// The Internet checksum (RFC 1071) over inner packets, where the kernel has left it to us.
// Sums are kept in the byte order of memory: the ones' complement sum of swapped words is the
// swapped sum (RFC 1071 section 2B), so only single numbers that are added need swapping, never the
// data. Thread: any; no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/bytes.h"

namespace sluice::tunnel {

// A ones' complement sum that is not folded yet. Far from overflow: each addition of a packet's
// bytes raises it by less than 2^46.
using ChecksumSum = uint64_t;

// Adds bytes that start at an even place of what is summed; an odd last byte is padded with zero.
ChecksumSum checksum_add(ChecksumSum sum, Bytes bytes);
// Adds a 16-bit number as it stands in a header in network order.
inline ChecksumSum checksum_add(ChecksumSum sum, uint16_t number) {
    return sum + __builtin_bswap16(number);
}
// The sum in 16 bits, in memory order, not complemented. It is 0 only if every byte added was 0.
uint16_t checksum_fold(ChecksumSum sum);

// Addresses, protocol and length of what follows (RFC 9293 section 3.1, RFC 8200 section 8.1).
// `addresses` are source and destination as they stand in the IP header.
ChecksumSum pseudo_header_sum(Bytes addresses, uint8_t protocol, size_t length);

// The checksum of an IPv4 header, with the checksum field taken as 0, in memory order.
uint16_t ipv4_header_checksum(Bytes header);
// True if the header's own checksum is right.
bool ipv4_header_valid(Bytes header);

// `bytes` begin at the checksum's start, and the field at `field` holds the pseudo-header's sum:
// replaces it by the finished checksum. 0 becomes 0xffff, which is the same number but does not
// mean "no checksum" in UDP. Precondition: field + 2 <= bytes.size().
void complete_checksum(MutableBytes bytes, size_t field);

namespace detail {
// Both ways to add, so that tests reach each of them on any machine that has it.
ChecksumSum add_words(ChecksumSum sum, Bytes bytes);
bool has_vectors();
ChecksumSum add_vectors(ChecksumSum sum, Bytes bytes);  // only if has_vectors()
}  // namespace detail

}  // namespace sluice::tunnel
