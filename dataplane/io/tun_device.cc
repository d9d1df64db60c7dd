#include "dataplane/io/tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/io/descriptor.h"
#include "dataplane/io/netlink.h"
#include "dataplane/io/tun_watch.h"

namespace sluice::io {

namespace {

// linux/if_tun.h of Linux 6.2; Debian 12's headers are older. The kernel is asked at run time.
constexpr unsigned kOffloadUso4 = 0x20;
constexpr unsigned kOffloadUso6 = 0x40;
constexpr unsigned kOffloadsTso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
constexpr unsigned kOffloadsUso = TUN_F_CSUM | kOffloadUso4 | kOffloadUso6;

// IPv6 does not exist on a link that is narrower (RFC 8200 section 5).
constexpr uint16_t kMtuOfIpv6 = 1280;

std::string permission_remedy(int error) {
    if (error != EPERM && error != EACCES) return "";
    return "; it needs root or CAP_NET_ADMIN";
}

Result<Descriptor> open_tun() {
    Descriptor tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (tun.is_open()) return tun;
    const int error = errno;
    std::string message = "cannot open /dev/net/tun: " + error_text(error);
    if (error == ENOENT || error == ENODEV || error == ENXIO) {
        message +=
            "; load the kernel module (modprobe tun), in a container also pass the device "
            "/dev/net/tun in";
    }
    return fail(message + permission_remedy(error));
}

ifreq request_for(const std::string& interface, bool one_of_many) {
    ifreq request{};
    std::memcpy(request.ifr_name, interface.data(),
                std::min<size_t>(interface.size(), IFNAMSIZ - 1));
    unsigned flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (one_of_many) flags |= IFF_MULTI_QUEUE;
    request.ifr_flags = static_cast<short>(flags);
    return request;
}

// A process that was killed keeps its device until the kernel has taken its io_uring apart, which
// is some time after its end: a supervisor that starts the node again at once would find the
// interface in use. Two seconds are many times of what was seen on a busy machine. Less fails
// starts after a crash; more only delays telling of an interface that really is somebody else's.
constexpr int kHandOverTries = 200;
constexpr int kHandOverPauseMs = 10;

int find_settled_link(Netlink& netlink, const std::string& interface, Link& link) {
    int error = netlink.find_link(interface, link);
    for (int i = 0; i < kHandOverTries && error == 0 && link.kind == "tun" && link.has_carrier;
         ++i) {
        ::poll(nullptr, 0, kHandOverPauseMs);
        link = {};
        error = netlink.find_link(interface, link);
    }
    return error;
}

// Whether the name is free, or a device that nobody holds.
Result<void> check_name(Netlink& netlink, const std::string& interface, Link& stale) {
    const bool is_valid = !interface.empty() && interface.size() < IFNAMSIZ && interface != "." &&
                          interface != ".." &&
                          std::all_of(
                              interface.begin(), interface.end(),
                              [](char c) {
                                  // '%' would make the kernel choose a number; the others it
                                  // refuses.
                                  return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
                              });
    if (!is_valid) {
        return fail("\"" + interface +
                    "\" cannot be the name of an interface: 1 to 15 letters, digits, '-' and '_'");
    }
    Link link;
    const int error = find_settled_link(netlink, interface, link);
    if (error == ENODEV) return {};
    if (error != 0)
        return fail("cannot look for interface " + interface + ": " + error_text(error));
    if (link.kind != "tun" || link.is_ethernet) {
        return fail("interface " + interface + " exists and is not a TUN device" +
                    (link.kind.empty() ? "" : " but of kind " + link.kind) +
                    "; choose another name");
    }
    if (link.has_carrier) {
        return fail("interface " + interface +
                    " is in use by another process; end it or choose another name");
    }
    stale = link;
    return {};
}

std::string why_ipv6_failed(int error, unsigned mtu) {
    if (mtu < kMtuOfIpv6) return "the MTU is below 1280, which IPv6 needs";
    if (error == EACCES) return "IPv6 is switched off here: net.ipv6.conf.all.disable_ipv6 = 1";
    if (error == EOPNOTSUPP || error == EAFNOSUPPORT) return "this kernel has no IPv6";
    return error_text(error);
}

}  // namespace

Result<TunDevice> TunDevice::make(const TunOptions& options, unsigned queues) {
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    Link stale;
    if (auto free = check_name(*netlink, options.interface, stale); !free) {
        return std::unexpected(free.error());
    }
    TunDevice device;
    device.interface_ = options.interface;
    auto opened = device.open_queues(queues);
    if (!opened && stale.index != 0) {
        // Left by a process that made it differently. Nobody holds it, so it may go.
        netlink->remove_link(stale.index);
        opened = device.open_queues(queues);
    }
    if (!opened) return std::unexpected(opened.error());
    Link link;
    if (const int error = netlink->find_link(device.interface_, link); error != 0) {
        return fail("interface " + device.interface_ + " vanished: " + error_text(error));
    }
    device.interface_index_ = link.index;
    device.set_offloads(options.tso, options.uso);
    if (auto set = device.set_mtu(options.mtu); !set) return std::unexpected(set.error());
    return device;
}

Result<TunDevice> TunDevice::create(const TunOptions& options, unsigned queues) {
    auto device = make(options, queues);
    if (!device) return device;
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    // Before it goes up, or there is a link-local address by then. Only IPv6 knows this setting.
    netlink->set_no_automatic_addresses(device->interface_index_);
    if (const int error = netlink->set_up(device->interface_index_); error != 0) {
        return fail("cannot bring up interface " + device->interface_ + ": " + error_text(error) +
                    permission_remedy(error));
    }
    std::string ipv6_problem;
    if (auto set = device->apply_addresses(options.addresses, ipv6_problem); !set) {
        return std::unexpected(set.error());
    }
    if (!ipv6_problem.empty()) {
        // A host without IPv6 is no reason not to serve IPv4.
        device->offloads_.push_back(
            {.name = "tun_ipv6", .state = "unsupported", .reason = ipv6_problem, .uses = 0});
    }
    return device;
}

Result<TunDevice> TunDevice::create_bare(const std::string& interface, uint16_t mtu,
                                         unsigned queues) {
    return make({.interface = interface, .mtu = mtu, .addresses = {}}, queues);
}

Result<TunDevice> TunDevice::adopt(int descriptor, unsigned queues) {
    Descriptor tun(descriptor);
    const std::string name = "descriptor " + std::to_string(descriptor);
    const int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) {
        tun.release();  // whatever gets this number next is not ours
        return fail(name + " is not open");
    }
    ifreq attached{};
    if (ioctl(descriptor, TUNGETIFF, &attached) != 0) {
        return fail(name + " is not attached to a TUN device: " + error_text(errno));
    }
    const auto kind = static_cast<unsigned short>(attached.ifr_flags);
    if ((kind & IFF_TUN) == 0 || (kind & IFF_NO_PI) == 0 || (kind & IFF_VNET_HDR) == 0) {
        return fail(name + " is attached in another way than it has to be; use TUNSETIFF with " +
                    "IFF_TUN | IFF_NO_PI | IFF_VNET_HDR");
    }
    if (fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
        return fail(name + ": " + error_text(errno));
    }
    TunDevice device;
    attached.ifr_name[IFNAMSIZ - 1] = 0;
    device.interface_ = attached.ifr_name;
    if (auto taken = device.take_queue(std::move(tun)); !taken) {
        return std::unexpected(taken.error());
    }
    auto netlink = Netlink::open();
    Link link;
    // A device of this name in this namespace can be another one, when ours was moved.
    if (is_in_this_namespace(descriptor) && netlink &&
        netlink->find_link(device.interface_, link) == 0) {
        device.interface_index_ = link.index;
        while ((kind & IFF_MULTI_QUEUE) != 0 && device.queue_count() < queues) {
            if (!device.open_queue(true)) break;
        }
    }
    device.set_offloads(true, true);
    return device;
}

Result<void> TunDevice::open_queues(unsigned queues) {
    queues_.clear();
    uses_.clear();
    for (unsigned i = 0; i < std::max(queues, 1u); ++i) {
        if (auto opened = open_queue(queues > 1); !opened) return opened;
        // A device that was made to last goes with us, too.
        ioctl(queues_.back().descriptor_, TUNSETPERSIST, 0);
    }
    return {};
}

Result<void> TunDevice::open_queue(bool one_of_many) {
    auto tun = open_tun();
    if (!tun) return std::unexpected(tun.error());
    ifreq request = request_for(interface_, one_of_many);
    if (ioctl(tun->get(), TUNSETIFF, &request) != 0) {
        const int error = errno;
        std::string message = "cannot make the TUN device " + interface_ + ": " + error_text(error);
        if (error == EBUSY) message += "; another process uses it: end it";
        return fail(message + permission_remedy(error));
    }
    return take_queue(std::move(*tun));
}

Result<void> TunDevice::take_queue(Descriptor tun) {
    // The header is 10 bytes whatever the device's last owner wanted.
    int header_bytes = sizeof(VirtioHeader);
    if (ioctl(tun.get(), TUNSETVNETHDRSZ, &header_bytes) != 0) {
        return fail("the TUN device " + interface_ +
                    " takes no virtio header: " + error_text(errno));
    }
    uses_.push_back(std::make_shared<TunUses>());
    queues_.push_back(TunQueue(tun.release(), uses_.back()));
    return {};
}

void TunDevice::set_offloads(bool tso, bool uso) {
    // They belong to the device, so one queue speaks for all.
    const int fd = queues_.front().descriptor_;
    const auto take = [fd](bool with_tso, bool with_uso) {
        const unsigned set = (with_tso ? kOffloadsTso : 0u) | (with_uso ? kOffloadsUso : 0u);
        return ioctl(fd, TUNSETOFFLOAD, set) == 0;
    };
    // Stepwise: a kernel before 6.2 refuses the whole set if it does not know USO.
    bool has_tso = tso;
    bool has_uso = uso;
    std::string refusal;
    if (!take(tso, uso)) {
        has_uso = false;
        if (!take(tso, false)) {
            has_tso = false;
            refusal = "the kernel refuses it: " + error_text(errno);
            take(false, false);
        }
    }
    const auto state_of = [](bool wanted, bool has) {
        return has ? "on" : wanted ? "unsupported" : "off";
    };
    const auto reason_of = [](bool wanted, bool has, const std::string& why_not) {
        return has ? std::string() : wanted ? why_not : "switched off";
    };
    const std::string no_uso =
        refusal.empty() ? "the kernel has no USO for TUN devices (Linux 6.2)" : refusal;
    offloads_ = {{.name = "tun_tso",
                  .state = state_of(tso, has_tso),
                  .reason = reason_of(tso, has_tso, refusal),
                  .uses = 0},
                 {.name = "tun_uso",
                  .state = state_of(uso, has_uso),
                  .reason = reason_of(uso, has_uso, no_uso),
                  .uses = 0}};
}

std::vector<TunQueue> TunDevice::take_queues() {
    return std::exchange(queues_, {});
}

Result<void> TunDevice::set_mtu(uint16_t mtu) {
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    const int error = netlink->set_mtu(interface_index_, mtu);
    if (error == 0) return {};
    return fail("cannot set the MTU of " + interface_ + " to " + std::to_string(mtu) + ": " +
                error_text(error) + permission_remedy(error));
}

Result<void> TunDevice::set_addresses(const std::vector<IpPrefix>& addresses) {
    std::string ipv6_problem;
    if (auto set = apply_addresses(addresses, ipv6_problem); !set) return set;
    // With an address the kernel takes away the routes that depended on it.
    if (auto set = set_routes(routes_); !set) return set;
    if (!ipv6_problem.empty()) return fail(std::move(ipv6_problem));
    return {};
}

Result<void> TunDevice::apply_addresses(const std::vector<IpPrefix>& addresses,
                                        std::string& ipv6_problem) {
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    const auto contains = [](const std::vector<IpPrefix>& list, const IpPrefix& one) {
        return std::find(list.begin(), list.end(), one) != list.end();
    };
    // Twice: removing an IPv4 address may take away others of the same prefix, which then are
    // secondary to it. New ones first, so that the device is never without and keeps its routes.
    for (int round = 0; round < 2; ++round) {
        std::vector<IpPrefix> present;
        if (const int error = netlink->list_addresses(interface_index_, present); error != 0) {
            return fail("cannot list the addresses of " + interface_ + ": " + error_text(error));
        }
        for (const IpPrefix& address : addresses) {
            if (contains(present, address)) continue;
            const int error = netlink->add_address(interface_index_, address);
            if (error == 0 || error == EEXIST) continue;
            Link link;
            netlink->find_link(interface_, link);
            const std::string message =
                "cannot give " + address.text() + " to " + interface_ + ": ";
            if (!address.address.is_v6() || error == EPERM) {
                return fail(message + error_text(error) + permission_remedy(error));
            }
            ipv6_problem = message + why_ipv6_failed(error, link.mtu);
        }
        for (const IpPrefix& address : present) {
            if (!contains(addresses, address)) netlink->remove_address(interface_index_, address);
        }
    }
    return {};
}

Result<void> TunDevice::set_routes(const std::vector<IpPrefix>& prefixes) {
    auto netlink = Netlink::open();
    if (!netlink) return std::unexpected(netlink.error());
    std::vector<Route> present;
    if (const int error = netlink->list_routes(interface_index_, present); error != 0) {
        return fail("cannot list the routes of " + interface_ + ": " + error_text(error));
    }
    std::vector<IpPrefix> wanted;
    for (const IpPrefix& prefix : prefixes)
        wanted.push_back(prefix.masked());
    // There may be a million of them, so each is looked up in an order.
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::vector<IpPrefix> known;
    for (const Route& route : present) {
        known.push_back(route.prefix);
        const bool stays =
            route.is_automatic || std::binary_search(wanted.begin(), wanted.end(), route.prefix);
        if (!stays) netlink->remove_route(interface_index_, route.prefix);
    }
    std::sort(known.begin(), known.end());
    // All that can be set are; the error tells the first that could not.
    std::string problem;
    for (const IpPrefix& prefix : wanted) {
        if (std::binary_search(known.begin(), known.end(), prefix)) continue;
        const int error = netlink->add_route(interface_index_, prefix);
        if (error == 0 || !problem.empty()) continue;
        problem = "cannot route " + prefix.text() + " to " + interface_ + ": ";
        problem += error == EEXIST ? "another interface has a route for exactly this prefix"
                                   : error_text(error) + permission_remedy(error);
    }
    routes_ = std::move(wanted);
    if (!problem.empty()) return fail(std::move(problem));
    return {};
}

void TunDevice::report(std::vector<contract::OffloadReport>& offloads) const {
    for (contract::OffloadReport offload : offloads_) {
        for (const auto& uses : uses_) {
            if (offload.name == "tun_tso") offload.uses += uses->tcp.value();
            if (offload.name == "tun_uso") offload.uses += uses->udp.value();
        }
        offloads.push_back(std::move(offload));
    }
}

}  // namespace sluice::io
