// Tells the sender of an inner packet at once, by ICMP, that it cannot go into the tunnel, as the
// kernel's WireGuard does: nobody has that address, its endpoint is not known, or the packet is
// larger than the MTU. Without this a connection to a device that is away ends in a timeout of
// minutes. The messages go back through the TUN device, to the host's own programs or on to whom it
// forwards for.
//
// Thread: the worker's. Memory: fixed.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/bytes.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/time.h"
#include "dataplane/io/tun.h"
#include "dataplane/wire/icmp_message.h"

namespace sluice::worker {

class InnerErrors {
  public:
    // `packet` was dropped for `reason`. Nothing is written for a reason that its sender could do
    // nothing about, for a packet that must not be answered (wire/icmp_message.h), or when too many
    // were written lately. `mtu`: of the tunnel.
    void tell(DropReason reason, Bytes packet, uint16_t mtu, Instant now, io::TunPort& tun);

    uint64_t sent() const { return sent_.value(); }

  private:
    bool may_send(Instant now);

    Instant full_at_ = Instant::min();  // when the bucket of tokens will be full again
    Counter sent_;
    std::array<uint8_t, wire::kIcmpErrorSizeMax> buffer_;
};

}  // namespace sluice::worker
