#include "control/config/environment.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace sluice::config {

namespace {

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// A datagram socket that is connected asks the routing table and sends nothing; so its own address
// is the one that the default route would use.
IpAddress local_address_towards(const sockaddr* remote, socklen_t length) {
    const int descriptor = socket(remote->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return {};
    IpAddress result;
    sockaddr_storage local{};
    socklen_t local_length = sizeof local;
    if (connect(descriptor, remote, length) == 0 &&
        getsockname(descriptor, reinterpret_cast<sockaddr*>(&local), &local_length) == 0) {
        if (local.ss_family == AF_INET) {
            sockaddr_in v4{};
            std::memcpy(&v4, &local, sizeof v4);
            result = IpAddress::v4(reinterpret_cast<const uint8_t*>(&v4.sin_addr));
        } else if (local.ss_family == AF_INET6) {
            sockaddr_in6 v6{};
            std::memcpy(&v6, &local, sizeof v6);
            result = IpAddress::v6(v6.sin6_addr.s6_addr);
        }
    }
    close(descriptor);
    return result;
}

IpAddress default_route_address() {
    // The documentation networks (RFC 5737, RFC 3849) are routed nowhere in particular, so they
    // take the default route. The port is without meaning, but may not be zero.
    static constexpr uint16_t kAnyPort = 9;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(kAnyPort);
    v4.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1
    const IpAddress address =
        local_address_towards(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
    if (address.is_set()) return address;

    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(kAnyPort);
    static constexpr std::array<uint8_t, 16> kDocumentation{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,
                                                            0,    0,    0,    0,    0, 0, 0, 1};
    std::copy(kDocumentation.begin(), kDocumentation.end(), v6.sin6_addr.s6_addr);
    return local_address_towards(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

uint32_t cores() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    return std::max(1, CPU_COUNT(&allowed));
}

}  // namespace

Environment this_machine() {
    Environment machine;
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) == 0) machine.host_name = name.data();
    machine.k8s_node_name = variable("K8S_NODE_NAME");
    machine.k8s_node_ip = variable("K8S_NODE_IP");
    machine.default_route_address = default_route_address();
    machine.cores = cores();
    return machine;
}

}  // namespace sluice::config
