// The inner network's device. We own it: it is made at start, configured over netlink, and gone
// when its last queue is closed, even after a kill.
//
// Packets carry the virtio header (IFF_VNET_HDR), so that one read or write moves up to 64 KiB of
// one TCP or UDP flow (TSO, USO), with checksums left to who needs them.
// Thread: TunQueue is made by control or a worker, a TunPort is its worker's.
// Source: linux/Documentation/networking/tuntap.rst, linux/include/uapi/linux/virtio_net.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/result.h"
#include "dataplane/contract/report.h"
#include "dataplane/io/descriptor.h"

namespace sluice::io {

// virtio_net_hdr, 10 bytes, native (little) endian as TUN has it by default.
struct VirtioHeader {
    static constexpr uint8_t kNeedsChecksum = 1;  // checksum from csum_start, stored at csum_offset
    static constexpr uint8_t kDataValid = 2;
    static constexpr uint8_t kGsoNone = 0;
    static constexpr uint8_t kGsoTcp4 = 1;
    static constexpr uint8_t kGsoTcp6 = 4;
    static constexpr uint8_t kGsoUdpL4 = 5;
    static constexpr uint8_t kGsoEcn = 0x80;

    uint8_t flags = 0;
    uint8_t gso_type = kGsoNone;
    uint16_t header_length = 0;  // of all headers of the packet
    uint16_t gso_size = 0;       // payload bytes of each segment
    uint16_t checksum_start = 0;
    uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

// Space that a TUN read or write needs at most: virtio header and the largest IP packet.
inline constexpr size_t kTunPacketBytesMax = sizeof(VirtioHeader) + 65535;

struct TunOptions {
    std::string interface;  // at most 15 bytes
    uint16_t mtu = 1420;
    std::vector<IpPrefix> addresses;
    // Inner TCP and UDP as super-packets from the kernel, as far as it has that. Either brings
    // checksums that are left to us.
    bool tso = true;
    bool uso = true;
};

// How often one queue's offloads were of use. Written by the queue's worker, read by the device's
// report on any thread.
struct TunUses {
    Counter tcp;  // super-packets with TSO, both directions
    Counter udp;  // with USO
};

// One opened queue of the device.
class TunQueue {
  public:
    TunQueue(TunQueue&& other) noexcept;
    TunQueue& operator=(TunQueue&& other) noexcept;
    ~TunQueue();

  private:
    friend class TunDevice;
    friend class TunWatch;
    friend struct TunQueueContent;  // for the engines
    TunQueue(int descriptor, std::shared_ptr<TunUses> uses);
    int descriptor_ = -1;
    std::shared_ptr<TunUses> uses_;
};

class TunDevice {
  public:
    // Makes the device with `queues` queues, sets MTU and addresses, and brings it up. If a stale
    // device of this name, left without an owner, is in the way, it is taken over.
    // Errors: no permission (names CAP_NET_ADMIN), no /dev/net/tun (names the module), the name is
    // another kind of device or in use by another process.
    static Result<TunDevice> create(const TunOptions& options, unsigned queues);

    // Makes the device as create() does, but leaves it down and without addresses: those are for
    // whoever asked for a plain interface, and so is what the kernel does by itself when it goes
    // up.
    static Result<TunDevice> create_bare(const std::string& interface, uint16_t mtu,
                                         unsigned queues);

    // Takes over a descriptor that somebody has attached to a TUN device, and owns it from here on,
    // also when there is an error. A device that takes several queues gets up to `queues` of them,
    // fewer if it lies in another network namespace; others have the one. Nothing else of the
    // device changes, only the offloads.
    // Errors: it is no TUN descriptor, or was opened without IFF_NO_PI or without IFF_VNET_HDR.
    static Result<TunDevice> adopt(int descriptor, unsigned queues);

    std::vector<TunQueue> take_queues();
    size_t queue_count() const { return uses_.size(); }
    const std::string& interface() const { return interface_; }

    // Each of these may be called again at any time, with the same or other values, from the thread
    // that owns the object. An error does not undo or keep back the rest.

    // The kernel's routes towards the device become exactly these (those inside its own addresses'
    // prefixes are there by themselves and may be named or not).
    Result<void> set_routes(const std::vector<IpPrefix>& prefixes);
    // Its addresses and MTU become exactly these. On a host without IPv6, IPv6 addresses are an
    // error here; create() goes on without them and has it in its report, as "tun_ipv6".
    Result<void> set_addresses(const std::vector<IpPrefix>& addresses);
    Result<void> set_mtu(uint16_t mtu);

    void report(std::vector<contract::OffloadReport>& offloads) const;

  private:
    friend class TunWatch;
    TunDevice() = default;
    // Queues of the device `options` names, whose link is found afterwards.
    static Result<TunDevice> make(const TunOptions& options, unsigned queues);
    Result<void> open_queues(unsigned queues);
    Result<void> open_queue(bool one_of_many);
    Result<void> take_queue(Descriptor tun);
    void set_offloads(bool tso, bool uso);
    // `ipv6_problem`: an IPv6 address could not be set because of what the host is; the rest is.
    Result<void> apply_addresses(const std::vector<IpPrefix>& addresses, std::string& ipv6_problem);

    std::string interface_;
    unsigned interface_index_ = 0;
    std::vector<TunQueue> queues_;
    std::vector<std::shared_ptr<TunUses>> uses_;
    std::vector<IpPrefix> routes_;
    std::vector<contract::OffloadReport> offloads_;
};

class TunHandler {
  public:
    // One packet from the kernel towards the tunnel, to be split if header.gso_type says so and
    // checksummed if header.flags says so. The bytes may be overwritten;
    // they are the port's again when the call returns.
    virtual void on_tun_packet(const VirtioHeader& header, MutableBytes packet) = 0;
    // After the last packet of a turn.
    virtual void on_tun_packets_end() = 0;

  protected:
    ~TunHandler() = default;
};

class TunPort {
  public:
    virtual ~TunPort() = default;
    // Gives one packet (the pieces in order) to the kernel. False: it was refused; the caller
    // counts.
    virtual bool write(const VirtioHeader& header, std::span<const Bytes> pieces) = 0;
};

}  // namespace sluice::io
