// Recognises a routing loop: the route to a peer's endpoint leads into the tunnel, so that what was
// encrypted for the peer comes back out of the TUN device to be encrypted again. Each round makes
// the packet larger until the kernel cuts it in two, and then there are two of them; nothing else
// stops it. The kernel's WireGuard looks at the route of each datagram and refuses those of its own
// device; a socket cannot.
//
// Thread: the worker's. Memory: fixed.
#pragma once

#include <optional>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/time.h"
#include "dataplane/io/host_addresses.h"

namespace sluice::worker {

class LoopGuard {
  public:
    LoopGuard();

    // Whether `packet`, out of the TUN device, is a datagram that this machine sent from `port`: it
    // is UDP, not a fragment other than the first, holds a WireGuard message, and has a source port
    // and a source address of ours. What another machine's WireGuard sends through this one is not.
    bool is_own_datagram(Bytes packet, uint16_t port, Instant now);

  private:
    bool is_own_address(const IpAddress& address, Instant now);

    std::optional<io::HostAddresses> host_;
    // The last answer, because a loop asks the same question again and again.
    IpAddress asked_;
    bool answer_ = false;
    Instant answer_ends_ = Instant::min();
};

}  // namespace sluice::worker
