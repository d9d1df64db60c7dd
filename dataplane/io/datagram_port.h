// Where outer datagrams come in and go out: a UDP socket of either engine, later a DPDK port.
// Batches in, batches out: what the kernel's UDP GRO merged is handed up as one buffer, and what is
// committed towards one path with one size leaves as one UDP GSO send.
//
// Thread: the worker's. Memory: fixed when opened.
// Failure: a full send side is an empty buffer; a send that the kernel refuses is counted as
// kSendFailed and the batch goes on. A send refused because GSO or the sticky source is not
// possible is tried again without it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/result.h"
#include "dataplane/contract/report.h"

namespace sluice::io {

struct DatagramPortOptions {
    uint16_t port = 0;  // 0: the kernel chooses
    bool gso = true;    // UDP_SEGMENT on sending, where the kernel has it
    bool gro = true;    // UDP_GRO on receiving, where the kernel has it
    // Not used if the kernel is seen to damage datagrams with it (udp_probe.h).
    bool test_gso = true;
    bool test_gro = true;
    // Asked of the kernel for each direction. 7 MB: wireguard-go measured 4.1 against 5.3 Gbit/s at
    // 212 KB and 7 MB. Larger than the sysctl's maximum needs CAP_NET_ADMIN; else it is capped.
    uint32_t socket_buffer_bytes = 7 << 20;
    // Of each receive buffer. Longer datagrams are dropped as kDatagramTruncated, so smaller is
    // only for who knows the largest one; below 65,535 there is no GRO, which merges up to that.
    uint32_t receive_buffer_bytes = 64 << 10;
};

// Which of several sockets on one port the kernel gives a datagram to. If its first four bytes
// equal those of a rule, it is the socket whose number is in the top `bits` of the byte at the
// rule's offset. If no rule fits, the source address decides, of an IPv6 address the first 64 bits:
// what is limited by source is counted in one place then, whatever ports it comes from.
struct Steering {
    struct Rule {
        std::array<uint8_t, 4> first_bytes{};
        uint8_t offset = 0;
    };
    std::vector<Rule> rules;
    unsigned bits = 0;  // 1 to 8
};

// An opened UDP socket that no engine has taken over yet. Made by one thread, used by another.
struct DatagramSocket;
struct CloseDatagramSocket {
    void operator()(DatagramSocket* socket) const;
};
using OpenedDatagramSocket = std::unique_ptr<DatagramSocket, CloseDatagramSocket>;

// `count` sockets on one port, in the order that the steering counts them. No other program has the
// port, nor can take it later, unless it is of the same user and asks for sharing as we do. A
// kernel that refuses the steering leaves "any" for all datagrams, which costs a change of worker
// and nothing else. Errors: the port is in use, or may not be used.
Result<std::vector<OpenedDatagramSocket>> open_datagram_sockets(const DatagramPortOptions& options,
                                                                unsigned count,
                                                                const Steering& steering);

class DatagramHandler {
  public:
    // One or more datagrams of one path: `segment_size` bytes each, the last one may be shorter.
    // The bytes may be overwritten and are the port's again when the call returns.
    virtual void on_datagrams(MutableBytes bytes, size_t segment_size, const Path& path,
                              uint8_t tos) = 0;
    // After the last on_datagrams() of a turn: flush what was collected from it.
    virtual void on_datagrams_end() = 0;

  protected:
    ~DatagramHandler() = default;
};

class DatagramPort {
  public:
    virtual ~DatagramPort() = default;
    virtual uint16_t local_port() const = 0;
    // The firewall mark of everything sent from now on (SO_MARK, for policy routing); 0: none.
    // Error: needs CAP_NET_ADMIN, or the port is not a socket.
    virtual Result<void> set_mark(uint32_t mark) = 0;

    // Room for the next datagram towards `path`; at least `size` bytes, or empty when every send
    // buffer is in flight. Valid until commit() or the next buffer().
    virtual MutableBytes buffer(size_t size, const Path& path, uint8_t tos) = 0;
    // Sends the first `size` bytes of it, at the latest when the engine's turn begins.
    virtual void commit(size_t size) = 0;
    // Hands everything committed to the kernel now.
    virtual void flush() = 0;

    virtual void report(std::vector<contract::OffloadReport>& offloads) const = 0;
};

}  // namespace sluice::io
