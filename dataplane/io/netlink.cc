#include "dataplane/io/netlink.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace sluice::io {

namespace {

// What the kernel recommends for answers; larger ones come in several messages.
constexpr size_t kAnswerBytes = 32768;

uint8_t family_of(const IpAddress& address) {
    return address.is_v6() ? AF_INET6 : AF_INET;
}

IpAddress address_from(uint8_t family, Bytes bytes) {
    if (family == AF_INET && bytes.size() >= 4) return IpAddress::v4(bytes.data());
    if (family == AF_INET6 && bytes.size() >= 16) return IpAddress::v6(bytes.data());
    return {};
}

// Calls for each attribute of a message.
template <typename Function>
void for_each_attribute(Bytes attributes, Function function) {
    while (attributes.size() >= sizeof(rtattr)) {
        rtattr head;
        std::memcpy(&head, attributes.data(), sizeof head);
        if (head.rta_len < sizeof head || head.rta_len > attributes.size()) return;
        function(head.rta_type & NLA_TYPE_MASK,
                 attributes.subspan(sizeof head, head.rta_len - sizeof head));
        attributes =
            attributes.subspan(std::min<size_t>(RTA_ALIGN(head.rta_len), attributes.size()));
    }
}

// The fixed head of a message and the attributes behind it.
template <typename Head>
std::optional<std::pair<Head, Bytes>> split(Bytes message) {
    if (message.size() < sizeof(Head)) return std::nullopt;
    Head head;
    std::memcpy(&head, message.data(), sizeof head);
    return std::pair{head,
                     message.subspan(std::min<size_t>(NLMSG_ALIGN(sizeof head), message.size()))};
}

}  // namespace

// A message being built: header, fixed head, attributes.
class Netlink::Request {
  public:
    template <typename Head>
    Request(uint16_t type, uint16_t flags, const Head& head) {
        auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
        header->nlmsg_type = type;
        header->nlmsg_flags = NLM_F_REQUEST | flags;
        size_ = NLMSG_HDRLEN;
        put(&head, sizeof head);
    }
    template <typename T>
    void attribute(uint16_t type, const T& value) {
        attribute(type, &value, sizeof value);
    }
    void attribute(uint16_t type, const void* value, size_t size) {
        const rtattr head{static_cast<uint16_t>(sizeof(rtattr) + size), type};
        put(&head, sizeof head);
        put(value, size);
    }
    // What is added until end() is inside this attribute.
    size_t begin(uint16_t type) {
        const size_t at = size_;
        const rtattr head{sizeof(rtattr), static_cast<uint16_t>(type | NLA_F_NESTED)};
        put(&head, sizeof head);
        return at;
    }
    void end(size_t at) {
        reinterpret_cast<rtattr*>(bytes_.data() + at)->rta_len = static_cast<uint16_t>(size_ - at);
    }
    Bytes finish(uint32_t sequence) {
        auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
        header->nlmsg_len = static_cast<uint32_t>(size_);
        header->nlmsg_seq = sequence;
        return {bytes_.data(), size_};
    }
    bool is_dump() const {
        const auto* header = reinterpret_cast<const nlmsghdr*>(bytes_.data());
        return (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    }

  private:
    void put(const void* from, size_t size) {
        std::memcpy(bytes_.data() + size_, from, size);
        size_ = NLMSG_ALIGN(size_ + size);
    }
    // The largest message here (a route with three attributes) has under 100 bytes.
    alignas(nlmsghdr) std::array<uint8_t, 512> bytes_{};
    size_t size_ = 0;
};

Result<Netlink> Netlink::open() {
    Netlink netlink;
    netlink.socket_ = Descriptor(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!netlink.socket_.is_open()) {
        return fail("cannot ask the kernel about network devices: " + error_text(errno));
    }
    // Without it a dump ignores which link was asked about; the answers are checked anyway.
    const int on = 1;
    setsockopt(netlink.socket_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    return netlink;
}

int Netlink::ask(Request& request, const Reader& reader) {
    const uint32_t sequence = ++sequence_;
    const Bytes message = request.finish(sequence);
    if (send(socket_.get(), message.data(), message.size(), 0) < 0) return errno;
    std::vector<uint8_t> answer(kAnswerBytes);
    for (;;) {
        const ssize_t got = recv(socket_.get(), answer.data(), answer.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        Bytes rest(answer.data(), static_cast<size_t>(got));
        while (rest.size() >= sizeof(nlmsghdr)) {
            nlmsghdr header;
            std::memcpy(&header, rest.data(), sizeof header);
            if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) return EPROTO;
            const Bytes body = rest.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
            rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
            if (header.nlmsg_seq != sequence) continue;  // left from an answer given up
            if (header.nlmsg_type == NLMSG_DONE) return 0;
            if (header.nlmsg_type == NLMSG_ERROR) {
                return body.size() < sizeof(int) ? EPROTO : -load_native<int>(body.data());
            }
            if (reader) reader(header.nlmsg_type, body);
        }
    }
}

int Netlink::find_link(const std::string& name, Link& link) {
    // A longer name is no link's. The kernel would answer ERANGE.
    if (name.empty() || name.size() >= IFNAMSIZ) return ENODEV;
    Request request(RTM_GETLINK, NLM_F_ACK, ifinfomsg{});
    request.attribute(IFLA_IFNAME, name.c_str(), name.size() + 1);
    return ask(request, [&link](uint16_t type, Bytes message) {
        const auto parts = split<ifinfomsg>(message);
        if (type != RTM_NEWLINK || !parts) return;
        link.index = static_cast<unsigned>(parts->first.ifi_index);
        link.is_up = (parts->first.ifi_flags & IFF_UP) != 0;
        link.is_ethernet = parts->first.ifi_type == ARPHRD_ETHER;
        for_each_attribute(parts->second, [&link](int kind, Bytes value) {
            if (kind == IFLA_MTU && value.size() >= 4)
                link.mtu = load_native<uint32_t>(value.data());
            if (kind == IFLA_CARRIER && !value.empty()) link.has_carrier = value[0] != 0;
            if (kind != IFLA_LINKINFO) return;
            for_each_attribute(value, [&link](int inner, Bytes text) {
                if (inner != IFLA_INFO_KIND) return;
                link.kind = as_text(text).substr(0, as_text(text).find('\0'));
            });
        });
    });
}

int Netlink::set_up(unsigned index) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    head.ifi_flags = IFF_UP;
    head.ifi_change = IFF_UP;
    Request request(RTM_NEWLINK, NLM_F_ACK, head);
    return ask(request);
}

int Netlink::set_mtu(unsigned index, uint16_t mtu) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    Request request(RTM_NEWLINK, NLM_F_ACK, head);
    request.attribute(IFLA_MTU, uint32_t{mtu});
    return ask(request);
}

int Netlink::set_no_automatic_addresses(unsigned index) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    Request request(RTM_NEWLINK, NLM_F_ACK, head);
    const size_t families = request.begin(IFLA_AF_SPEC);
    const size_t ipv6 = request.begin(AF_INET6);
    request.attribute(IFLA_INET6_ADDR_GEN_MODE, uint8_t{IN6_ADDR_GEN_MODE_NONE});
    request.end(ipv6);
    request.end(families);
    return ask(request);
}

int Netlink::remove_link(unsigned index) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    Request request(RTM_DELLINK, NLM_F_ACK, head);
    return ask(request);
}

int Netlink::list_addresses(unsigned index, std::vector<IpPrefix>& addresses) {
    ifaddrmsg head{};
    head.ifa_index = index;
    Request request(RTM_GETADDR, NLM_F_DUMP, head);
    return ask(request, [&](uint16_t type, Bytes message) {
        const auto parts = split<ifaddrmsg>(message);
        if (type != RTM_NEWADDR || !parts || parts->first.ifa_index != index) return;
        IpPrefix found;
        found.length = parts->first.ifa_prefixlen;
        for_each_attribute(parts->second, [&](int kind, Bytes value) {
            // IPv4 has both, and LOCAL is ours; IPv6 has only ADDRESS unless it is point to point.
            if (kind == IFA_LOCAL || (kind == IFA_ADDRESS && !found.address.is_set())) {
                found.address = address_from(parts->first.ifa_family, value);
            }
        });
        if (found.address.is_set()) addresses.push_back(found);
    });
}

int Netlink::change_address(unsigned index, const IpPrefix& address, uint16_t type,
                            uint16_t flags) {
    ifaddrmsg head{};
    head.ifa_family = family_of(address.address);
    head.ifa_prefixlen = address.length;
    head.ifa_index = index;
    Request request(type, NLM_F_ACK | flags, head);
    const Bytes bytes = address.address.view();
    request.attribute(IFA_LOCAL, bytes.data(), bytes.size());
    request.attribute(IFA_ADDRESS, bytes.data(), bytes.size());
    if (address.address.is_v6() && type == RTM_NEWADDR) {
        // Nobody else is on this link, so the address need not wait until duplicates are ruled out.
        request.attribute(IFA_FLAGS, uint32_t{IFA_F_NODAD});
    }
    return ask(request);
}

int Netlink::add_address(unsigned index, const IpPrefix& address) {
    return change_address(index, address, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
}

int Netlink::remove_address(unsigned index, const IpPrefix& address) {
    return change_address(index, address, RTM_DELADDR, 0);
}

int Netlink::find_route(const IpAddress& to, bool& is_local) {
    const Bytes bytes = to.view();
    rtmsg head{};
    head.rtm_family = family_of(to);
    head.rtm_dst_len = static_cast<uint8_t>(bytes.size() * 8);
    Request request(RTM_GETROUTE, NLM_F_ACK, head);
    request.attribute(RTA_DST, bytes.data(), bytes.size());
    return ask(request, [&](uint16_t type, Bytes message) {
        const auto parts = split<rtmsg>(message);
        if (type == RTM_NEWROUTE && parts) is_local = parts->first.rtm_type == RTN_LOCAL;
    });
}

int Netlink::list_routes(unsigned index, std::vector<Route>& routes) {
    for (const uint8_t family : {AF_INET, AF_INET6}) {
        rtmsg head{};
        head.rtm_family = family;
        Request request(RTM_GETROUTE, NLM_F_DUMP, head);
        const int error = ask(request, [&](uint16_t type, Bytes message) {
            const auto parts = split<rtmsg>(message);
            if (type != RTM_NEWROUTE || !parts || parts->first.rtm_table != RT_TABLE_MAIN) return;
            // What IPv6 learned by itself and keeps as clones.
            if (parts->first.rtm_flags & RTM_F_CLONED) return;
            Route route;
            route.prefix.length = parts->first.rtm_dst_len;
            route.prefix.address.family =
                family == AF_INET ? IpAddress::Family::kV4 : IpAddress::Family::kV6;
            route.is_automatic = parts->first.rtm_protocol == RTPROT_KERNEL;
            unsigned leads_to = 0;
            for_each_attribute(parts->second, [&](int kind, Bytes value) {
                if (kind == RTA_DST) route.prefix.address = address_from(family, value);
                if (kind == RTA_OIF && value.size() >= 4) {
                    leads_to = load_native<uint32_t>(value.data());
                }
            });
            if (leads_to == index) routes.push_back(route);
        });
        // A kernel without IPv6 has no routes of it.
        if (error != 0 && !(family == AF_INET6 && error == EOPNOTSUPP)) return error;
    }
    return 0;
}

int Netlink::change_route(unsigned index, const IpPrefix& prefix, uint16_t type, uint16_t flags) {
    const IpPrefix masked = prefix.masked();
    rtmsg head{};
    head.rtm_family = family_of(masked.address);
    head.rtm_dst_len = masked.length;
    head.rtm_table = RT_TABLE_MAIN;
    // "Static": put there on purpose, not to be taken away by a routing daemon.
    head.rtm_protocol = RTPROT_STATIC;
    head.rtm_scope = masked.address.is_v6() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    head.rtm_type = RTN_UNICAST;
    Request request(type, NLM_F_ACK | flags, head);
    const Bytes bytes = masked.address.view();
    request.attribute(RTA_DST, bytes.data(), bytes.size());
    request.attribute(RTA_OIF, uint32_t{index});
    return ask(request);
}

int Netlink::add_route(unsigned index, const IpPrefix& prefix) {
    return change_route(index, prefix, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
}

int Netlink::remove_route(unsigned index, const IpPrefix& prefix) {
    return change_route(index, prefix, RTM_DELROUTE, 0);
}

}  // namespace sluice::io
