// The kernel's side of TLS: it encrypts what is written to a TCP socket, with keys that it was
// given (the TCP "upper layer protocol" tls). Sending only.
//
// Whether it can is tried at start, over loopback with sockets of our own: the module may be
// missing and not be loadable from here, and a kernel may know the call and do it wrong.
// Thread: any. Source: Documentation/networking/tls.rst in Linux; include/uapi/linux/tls.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "dataplane/base/bytes.h"
#include "dataplane/base/record_keys.h"

namespace sluice::io {

struct KernelTlsAbility {
    bool transmit = false;
    bool new_keys = false;  // can change the keys of a socket (Linux 6.14)
    std::string why_not;    // of `transmit`, with the remedy where there is one
};

// Asks once for the whole process and remembers.
const KernelTlsAbility& kernel_tls_ability();

// On an established TCP socket; a second time: new keys. 0, or the errno.
int set_transmit_keys(int socket, const RecordKeys& keys);

// One record of a type that is not application data. As sendmsg().
long send_tls_record(int socket, uint8_t type, Bytes content);

// How many records the kernel has encrypted is the difference of two of these.
bool transmit_sequence(int socket, const RecordKeys& keys, uint64_t& sequence);

// What TCP has been given to send since the connection began, retransmissions apart.
bool bytes_given_to_tcp(int socket, uint64_t& bytes);

}  // namespace sluice::io
