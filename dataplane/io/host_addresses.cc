#include "dataplane/io/host_addresses.h"

#include <cerrno>
#include <utility>

#include "dataplane/io/netlink.h"

namespace sluice::io {

HostAddresses::HostAddresses(std::unique_ptr<Netlink> netlink) : netlink_(std::move(netlink)) {}
HostAddresses::HostAddresses(HostAddresses&&) noexcept = default;
HostAddresses& HostAddresses::operator=(HostAddresses&&) noexcept = default;
HostAddresses::~HostAddresses() = default;

Result<HostAddresses> HostAddresses::open() {
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    return HostAddresses(std::make_unique<Netlink>(std::move(*netlink)));
}

bool HostAddresses::is_own(const IpAddress& address) {
    bool own = true;
    const int error = netlink_->find_route(address, own);
    // No route to it at all: then it is not here either.
    return error == 0 ? own : error != ENETUNREACH && error != EHOSTUNREACH;
}

}  // namespace sluice::io
