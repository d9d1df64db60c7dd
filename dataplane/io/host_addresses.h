// Which IP addresses are this machine's own, as the kernel sees it at the moment of asking.
//
// Thread: one. Failure: what the kernel cannot answer counts as this machine's own, because who
// asks is about to trust a stranger.
#pragma once

#include <memory>

#include "dataplane/base/ip.h"
#include "dataplane/base/result.h"

namespace sluice::io {

class Netlink;

class HostAddresses {
  public:
    // Error: the kernel cannot be asked (a sandbox without netlink sockets).
    static Result<HostAddresses> open();
    HostAddresses(HostAddresses&&) noexcept;
    HostAddresses& operator=(HostAddresses&&) noexcept;
    ~HostAddresses();

    // Blocks only for the kernel's own work, some microseconds.
    bool is_own(const IpAddress& address);

  private:
    explicit HostAddresses(std::unique_ptr<Netlink> netlink);
    std::unique_ptr<Netlink> netlink_;
};

}  // namespace sluice::io
