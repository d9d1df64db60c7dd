// Endpoints as the kernel writes them. IPv4-mapped IPv6 addresses exist only on the kernel's side
// of this file: what comes out of it is unmapped.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "dataplane/base/ip.h"

namespace sluice::io {

// Large enough for both families, a fifth of sockaddr_storage.
union SocketAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

// `family`: AF_INET or AF_INET6, of the socket; an IPv4 endpoint is mapped for an AF_INET6 socket.
// An unset address is that family's wildcard. Returns the length for the kernel.
socklen_t to_kernel(const Endpoint& endpoint, int family, SocketAddress& out);
Endpoint from_kernel(const SocketAddress& address);

// Where a socket is bound to, and to whom it is connected; unset if the kernel does not tell.
Endpoint local_endpoint(int fd);
Endpoint remote_endpoint(int fd);

}  // namespace sluice::io
