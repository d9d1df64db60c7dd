// Splits what the kernel gave to the TUN device as one TSO or USO super-packet into packets of the
// interface's MTU, and completes checksums that were left to us. In place: each segment's headers
// are written just before its payload, over the end of the segment before it, so a segment must be
// used up (encrypted) before the next one is asked for. Each payload byte is touched by nobody but
// the checksum and the cipher.
// Thread: one. Never allocates.
// Source: virtio 1.2 section 5.1.6.2; RFC 9293 3.1; RFC 768; linux/net/ipv4/tcp_offload.c as reference.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"

namespace sluice::tunnel {

// The part of the virtio header that says what to do; same values as linux/virtio_net.h.
struct Offload {
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
    bool malformed_ = false;
};

}  // namespace sluice::tunnel
