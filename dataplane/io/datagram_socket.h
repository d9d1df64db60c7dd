// The UDP socket behind a datagram port: how it is opened, and what came with a received datagram.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "dataplane/base/ip.h"
#include "dataplane/io/datagram_port.h"
#include "dataplane/io/engine_core.h"
#include "dataplane/io/socket_address.h"

namespace sluice::io {

// The most that one UDP datagram over IPv4 carries: 65,535 less the IP and UDP headers. A GSO batch
// is one such datagram until the kernel cuts it. IPv6 would take 20 bytes more; not worth a case.
inline constexpr size_t kDatagramBytesMax = 65507;

// Room for what the kernel tells about a datagram: where it came in (in both families' forms), TOS
// or traffic class, GRO segment size.
inline constexpr size_t kReceiveControlBytes =
    CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo)) + 3 * CMSG_SPACE(sizeof(int));

// A speed-up as it is reported.
struct Offload {
    bool on = false;
    bool wanted = true;
    std::string reason;  // why it is not on

    contract::OffloadReport report(std::string name, uint64_t uses) const;
};

struct DatagramSocket {
    Descriptor descriptor;
    int family = AF_INET6;  // AF_INET6 takes both kinds of datagrams; AF_INET: there is no IPv6
    uint16_t port = 0;
    Offload gso;
    Offload gro;
};

// Whether others may open the port as well (SO_REUSEPORT).
enum class PortSharing : uint8_t {
    kAlone,
    // The port must be free; then others may join. A socket that asks for sharing before it is
    // bound would not notice that another program with the same wish is there already.
    kFirst,
    kJoin,
};
Result<DatagramSocket> open_datagram_socket(const DatagramPortOptions& options,
                                            PortSharing sharing = PortSharing::kAlone);

// What came with received bytes.
struct ReceivedFacts {
    Path path;
    size_t segment_size = 0;  // of each datagram but the last; the whole if only one came
    uint8_t tos = 0;
};

// `message` as recvmsg filled it, `bytes` what it returned.
ReceivedFacts facts_of(const msghdr& message, const SocketAddress& from, size_t bytes);

}  // namespace sluice::io
