// Splits what the kernel gave to the TUN device as one TSO or USO super-packet into packets of the
// interface's MTU, and completes checksums that were left to us. In place: each segment's headers
// are written just before its payload, over the end of the segment before it, so a segment must be
// used up (encrypted) before the next one is asked for. Each payload byte is touched by nobody but
// the checksum and the cipher.
// As Linux does it: IPv4 IDs count up, TCP sequence numbers go on, FIN and PSH stay with the last
// segment, CWR with the first, IPv4 options and IPv6 extension headers are repeated. The finished
// checksum is built on the pseudo-header sum that the kernel left in the packet, because with an
// IPv6 routing header only the kernel knows the destination that it was made with.
// Thread: one. Never allocates.
// Source: virtio 1.2 section 5.1.6.2; RFC 9293 3.1; RFC 768; linux/net/ipv4/tcp_offload.c as
// reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"

namespace sluice::tunnel {

// The part of the virtio header that says what to do; same values as linux/virtio_net.h.
struct Offload {
    static constexpr uint8_t kNeedsChecksum = 1;
    static constexpr uint8_t kGsoNone = 0;
    static constexpr uint8_t kGsoTcp4 = 1;
    static constexpr uint8_t kGsoTcp6 = 4;
    static constexpr uint8_t kGsoUdpL4 = 5;
    static constexpr uint8_t kGsoEcn = 0x80;

    uint8_t flags = 0;
    uint8_t gso_type = 0;
    uint16_t gso_size = 0;
    uint16_t checksum_start = 0;
    uint16_t checksum_offset = 0;
};

class Segmenter {
  public:
    // `packet` is one IP packet; it stays the caller's and is overwritten.
    Segmenter(const Offload& offload, MutableBytes packet);

    // The offload header and the packet do not fit together; next() gives nothing.
    bool malformed() const { return malformed_; }
    // The next packet, or nothing after the last.
    std::optional<MutableBytes> next();

  private:
    // All headers of a packet: IPv4 and TCP need at most 120 bytes, IPv6 and TCP 100, and the rest
    // is for IPv6 extension headers. A segment routing header over 20 hops is 328 bytes long. A
    // super-packet with more is malformed to us.
    static constexpr size_t kHeaderBytesMax = 512;

    bool accept(const Offload& offload);
    void write_headers(uint8_t* headers, size_t payload_size, bool first, bool last);

    MutableBytes packet_;
    size_t payload_at_ = 0;  // of the next segment; packet_.size(): no segment left
    size_t gso_size_ = 0;    // 0: one packet, to be given out as it is
    size_t header_size_ = 0;
    size_t transport_at_ = 0;
    size_t checksum_field_ = 0;  // from the transport header's start
    bool needs_checksum_ = false;
    bool done_ = false;
    bool malformed_ = false;
    bool ipv4_ = false;
    bool tcp_ = false;
    uint8_t tcp_flags_ = 0;
    uint16_t ip_id_ = 0;
    uint32_t tcp_sequence_ = 0;
    uint64_t ip_sum_ = 0;         // IPv4 header without length, ID and checksum
    uint64_t transport_sum_ = 0;  // pseudo-header without the length
    // The headers as the kernel gave them: the originals are overwritten by the first segments.
    std::array<uint8_t, kHeaderBytesMax> header_;
};

}  // namespace sluice::tunnel
