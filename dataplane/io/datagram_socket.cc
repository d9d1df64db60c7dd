#include "dataplane/io/datagram_socket.h"

#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

#include "dataplane/io/udp_probe.h"

namespace sluice::io {

namespace {

// The kernel merges datagrams up to the size of the largest IP packet.
constexpr uint32_t kMergedBytesMax = 65535;

std::string remedy(int error) {
    switch (error) {
        case EADDRINUSE:
            return "; another program has this port: stop it or choose another port";
        case EACCES:
            return "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
        case EMFILE:
            return "; raise the limit of open files (LimitNOFILE)";
        default:
            return "";
    }
}

bool set(const Descriptor& socket, int level, int name, int value) {
    return setsockopt(socket.get(), level, name, &value, sizeof value) == 0;
}

void set_buffers(const Descriptor& socket, uint32_t bytes) {
    const int value = static_cast<int>(bytes);
    // FORCE goes beyond the sysctl's maximum and needs CAP_NET_ADMIN. Smaller buffers are no error.
    if (!set(socket, SOL_SOCKET, SO_RCVBUFFORCE, value)) set(socket, SOL_SOCKET, SO_RCVBUF, value);
    if (!set(socket, SOL_SOCKET, SO_SNDBUFFORCE, value)) set(socket, SOL_SOCKET, SO_SNDBUF, value);
}

// What must be told with each datagram, and how ours leave. 0, or the errno of what was refused.
int configure(const Descriptor& socket, int family) {
    if (family == AF_INET6) {
        // One socket for both families, so that a peer may roam between them.
        if (!set(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0)) return errno;
        if (!set(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)) return errno;
        if (!set(socket, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)) return errno;
        set(socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    } else if (!set(socket, IPPROTO_IP, IP_PKTINFO, 1)) {
        return errno;
    }
    // On an IPv6 socket this is for the IPv4 datagrams that it receives.
    if (!set(socket, IPPROTO_IP, IP_RECVTOS, 1)) return errno;
    // No DF bit: the inner packets' size is settled by the inner MTU, and when the outer path is
    // narrower than it assumes, fragments arrive where DF would make a black hole, because nobody
    // would tell the inner sender. The kernel's WireGuard does the same.
    set(socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    return 0;
}

// Once for the process: what a kernel does wrong it does wrong for every socket.
const std::string& gso_fault() {
    static const std::string kFault = udp_gso_fault();
    return kFault;
}

const std::string& gro_fault() {
    static const std::string kFault = gso_fault().empty() ? udp_gro_fault() : "";
    return kFault;
}

void set_up_offloads(DatagramSocket& socket, const DatagramPortOptions& options) {
    socket.gso.wanted = options.gso;
    socket.gro.wanted = options.gro;
    int value = 0;
    socklen_t length = sizeof value;
    if (!options.gso) {
        socket.gso.reason = "switched off";
    } else if (getsockopt(socket.descriptor.get(), SOL_UDP, UDP_SEGMENT, &value, &length) != 0) {
        socket.gso.reason = "the kernel has no UDP_SEGMENT (Linux 4.18)";
    } else {
        if (options.test_gso) socket.gso.reason = gso_fault();
        socket.gso.on = socket.gso.reason.empty();
    }
    if (!options.gro) {
        socket.gro.reason = "switched off";
    } else if (options.receive_buffer_bytes < kMergedBytesMax) {
        socket.gro.reason = "the receive buffers are too small for merged datagrams";
    } else if (options.test_gro && !gro_fault().empty()) {
        socket.gro.reason = gro_fault();
    } else if (!set(socket.descriptor, SOL_UDP, UDP_GRO, 1)) {
        socket.gro.reason = "the kernel has no UDP_GRO (Linux 5.0): " + error_text(errno);
    } else {
        socket.gro.on = true;
    }
}

Result<DatagramSocket> open_with_family(const DatagramPortOptions& options, PortSharing sharing,
                                        int family) {
    const auto failure = [&options](int error) {
        return fail("cannot open UDP port " + std::to_string(options.port) + ": " +
                    error_text(error) + remedy(error));
    };
    DatagramSocket socket;
    socket.family = family;
    // Blocking: io_uring waits for a datagram only on a socket that may block; it reports EAGAIN at
    // once otherwise. All calls here say MSG_DONTWAIT themselves.
    socket.descriptor = Descriptor(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.descriptor.is_open()) return failure(errno);
    if (const int error = configure(socket.descriptor, family); error != 0) return failure(error);
    set_buffers(socket.descriptor, options.socket_buffer_bytes);
    set_up_offloads(socket, options);
    SocketAddress address;
    const socklen_t length = to_kernel({{}, options.port}, family, address);
    const auto share = [&socket] { return set(socket.descriptor, SOL_SOCKET, SO_REUSEPORT, 1); };
    if (sharing == PortSharing::kJoin && !share()) return failure(errno);
    if (bind(socket.descriptor.get(), &address.any, length) != 0) return failure(errno);
    if (sharing == PortSharing::kFirst && !share()) return failure(errno);
    socket.port = local_endpoint(socket.descriptor.get()).port;
    return socket;
}

bool has_ipv6() {
    return Descriptor(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)).is_open() ||
           errno != EAFNOSUPPORT;
}

}  // namespace

contract::OffloadReport Offload::report(std::string name, uint64_t uses) const {
    return {.name = std::move(name),
            .state = on       ? "on"
                     : wanted ? "unsupported"
                              : "off",
            .reason = reason,
            .uses = uses};
}

Result<DatagramSocket> open_datagram_socket(const DatagramPortOptions& options,
                                            PortSharing sharing) {
    return open_with_family(options, sharing, has_ipv6() ? AF_INET6 : AF_INET);
}

ReceivedFacts facts_of(const msghdr& message, const SocketAddress& from, size_t bytes) {
    ReceivedFacts facts;
    facts.path.remote = from_kernel(from);
    facts.segment_size = bytes;
    msghdr walk = message;
    for (cmsghdr* part = CMSG_FIRSTHDR(&walk); part != nullptr; part = CMSG_NXTHDR(&walk, part)) {
        const uint8_t* data = CMSG_DATA(part);
        if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            const auto info = load_native<in6_pktinfo>(data);
            facts.path.local = IpAddress::v6(info.ipi6_addr.s6_addr).unmapped();
            facts.path.interface_index = info.ipi6_ifindex;
        } else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
            const auto info = load_native<in_pktinfo>(data);
            facts.path.local = IpAddress::v4(reinterpret_cast<const uint8_t*>(&info.ipi_addr));
            facts.path.interface_index = static_cast<uint32_t>(info.ipi_ifindex);
        } else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TOS) {
            facts.tos = *data;
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_TCLASS) {
            facts.tos = static_cast<uint8_t>(load_native<int>(data));
        } else if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_GRO) {
            const int size = load_native<int>(data);
            if (size > 0 && static_cast<size_t>(size) < bytes) facts.segment_size = size;
        }
    }
    return facts;
}

}  // namespace sluice::io
