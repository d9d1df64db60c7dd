#include "dataplane/io/socket_address.h"

#include <cstring>

namespace sluice::io {

socklen_t to_kernel(const Endpoint& endpoint, int family, SocketAddress& out) {
    std::memset(&out, 0, sizeof out);
    if (family == AF_INET) {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(endpoint.port);
        std::memcpy(&out.v4.sin_addr, endpoint.address.bytes.data(), 4);
        return sizeof out.v4;
    }
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(endpoint.port);
    if (endpoint.address.is_v4()) {
        uint8_t* bytes = out.v6.sin6_addr.s6_addr;
        bytes[10] = bytes[11] = 0xff;
        std::memcpy(bytes + 12, endpoint.address.bytes.data(), 4);
    } else {
        std::memcpy(&out.v6.sin6_addr, endpoint.address.bytes.data(), 16);
    }
    return sizeof out.v6;
}

Endpoint from_kernel(const SocketAddress& address) {
    if (address.any.sa_family == AF_INET) {
        return {IpAddress::v4(reinterpret_cast<const uint8_t*>(&address.v4.sin_addr)),
                ntohs(address.v4.sin_port)};
    }
    if (address.any.sa_family == AF_INET6) {
        return {IpAddress::v6(address.v6.sin6_addr.s6_addr).unmapped(),
                ntohs(address.v6.sin6_port)};
    }
    return {};
}

Endpoint local_endpoint(int fd) {
    SocketAddress address{};
    socklen_t length = sizeof address;
    if (getsockname(fd, &address.any, &length) != 0) return {};
    return from_kernel(address);
}

Endpoint remote_endpoint(int fd) {
    SocketAddress address{};
    socklen_t length = sizeof address;
    if (getpeername(fd, &address.any, &length) != 0) return {};
    return from_kernel(address);
}

}  // namespace sluice::io
