// Whether this kernel's UDP GSO and GRO give back the bytes that they were given, tried over
// loopback with sockets of our own before a port relies on them. Linux 7.0 to 7.1.4 damage the GSO
// batches whose last segment is as long as the others; GRO has merged datagrams wrongly as well.
//
// Not found this way: what only a network device or another kind of tunnel does wrong. For that
// each has a switch in the configuration.
// Thread: any. Takes a millisecond where all is well, a few seconds where it is not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "dataplane/base/bytes.h"

namespace sluice::io {

// The two calls under test; tests put a kernel with a fault in their place.
struct UdpProbe {
    // Sends `bytes` to where `socket` is connected, cut into `segment` bytes each. False: refused.
    std::function<bool(int socket, Bytes bytes, uint16_t segment)> send;
    // What has arrived, cut into `segment` bytes each unless that is 0. Negative: nothing.
    std::function<ssize_t(int socket, MutableBytes room, size_t& segment)> receive;
};
UdpProbe kernel_udp_probe();

// Empty: right, or it cannot be told here (no loopback, or it does not answer at all). Else what
// was wrong.
std::string udp_gso_fault(const UdpProbe& probe = kernel_udp_probe());
// Uses GSO to make something that can be merged, so ask for that first.
std::string udp_gro_fault(const UdpProbe& probe = kernel_udp_probe());

}  // namespace sluice::io
