// The few questions and orders about links, addresses and routes that our own device needs, spoken
// to the kernel directly over rtnetlink: no other program has to be there, nothing is parsed back
// out of text, and every refusal comes with its errno.
//
// Thread: an object belongs to one thread. Blocks only for the kernel's own work.
// Source: rtnetlink(7), linux/include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/result.h"
#include "dataplane/io/descriptor.h"

namespace sluice::io {

struct Link {
    unsigned index = 0;
    std::string kind;          // "tun", "veth", …; empty for hardware
    bool is_ethernet = true;   // a TUN device is not, a TAP device is
    bool has_carrier = false;  // of a TUN device: a process holds it open
    bool is_up = false;
    unsigned mtu = 0;
};

struct Route {
    IpPrefix prefix;
    bool is_automatic = false;  // made by the kernel itself, for the device's own prefix
};

class Netlink {
  public:
    static Result<Netlink> open();

    // Each returns 0 or the kernel's errno. ENODEV: no such link.
    int find_link(const std::string& name, Link& link);
    int set_up(unsigned index);
    int set_mtu(unsigned index, uint16_t mtu);
    // No link-local IPv6 address of the kernel's own making.
    int set_no_automatic_addresses(unsigned index);
    int remove_link(unsigned index);

    int list_addresses(unsigned index, std::vector<IpPrefix>& addresses);
    int add_address(unsigned index, const IpPrefix& address);
    int remove_address(unsigned index, const IpPrefix& address);

    // How packets to this address go: to this machine itself, or not. ENETUNREACH: nowhere.
    int find_route(const IpAddress& to, bool& is_local);
    // Those of the main table that lead out of this link.
    int list_routes(unsigned index, std::vector<Route>& routes);
    // EEXIST: this prefix has a route already, of whatever link.
    int add_route(unsigned index, const IpPrefix& prefix);
    int remove_route(unsigned index, const IpPrefix& prefix);

  private:
    class Request;
    // A message of an answer, without its netlink header.
    using Reader = std::function<void(uint16_t type, Bytes message)>;

    Netlink() = default;
    int ask(Request& request, const Reader& reader = {});
    int change_address(unsigned index, const IpPrefix& address, uint16_t type, uint16_t flags);
    int change_route(unsigned index, const IpPrefix& prefix, uint16_t type, uint16_t flags);

    Descriptor socket_;
    uint32_t sequence_ = 0;
};

}  // namespace sluice::io
