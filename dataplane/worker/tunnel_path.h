// The way of a packet between the outer network and the TUN device: datagram port, WireGuard
// device, coalescer and segmenter tied together. It moves no bytes itself: a datagram is decrypted
// from the port's receive buffer into the coalescer's super-packet, and a super-packet from the TUN
// device is cut in place and encrypted straight into the port's send buffer.
//
// With several workers each has a path, with a socket on the one port, a queue of the one TUN
// device, and the peers that it owns. The kernel gives most packets to the right worker by itself:
// datagrams by their receiver index (steering_for()), inner packets to the queue on which the other
// direction of their flow was written. The rest, initiations and the first packets of a flow that
// begins here, is copied to its owner's ring, once.
//
// Thread: the worker's. Memory: fixed at creation, but for peers (apply()).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "dataplane/base/random.h"
#include "dataplane/contract/report.h"
#include "dataplane/io/engine.h"
#include "dataplane/tunnel/coalescer.h"
#include "dataplane/wireguard/device.h"
#include "dataplane/worker/inner_errors.h"
#include "dataplane/worker/loop_guard.h"
#include "dataplane/worker/tun_writer.h"
#include "dataplane/worker/tunnel_group.h"

namespace sluice::worker {

class TunnelPath final : public io::DatagramHandler,
                         public io::TunHandler,
                         public wireguard::DeviceOutput,
                         public tunnel::CoalescerOutput {
  public:
    // References outlive the path. Errors: the UDP port is in use (the queue is left, for another
    // try), the TUN queue is refused.
    static Result<std::unique_ptr<TunnelPath>> open(io::Engine& engine,
                                                    std::optional<io::TunQueue>& queue,
                                                    TunnelGroup& group, uint32_t worker,
                                                    std::shared_ptr<const TunnelPlan> plan,
                                                    Random& random, DropCounters& drops);
    ~TunnelPath();

    // Peers and keys become the plan's; sessions of peers that stay go on.
    // Error: the listen port changed and the new one cannot be had; the old one stays.
    Result<void> apply(std::shared_ptr<const TunnelPlan> plan);

    // Handles what other workers put into this one's rings; call when woken.
    void take_handed_over();

    // Fires the device's timers; call once a turn.
    void tick(Now now);
    Instant next_deadline() const { return device_->next_deadline(); }
    void report(contract::WorkerReport& report) const;

    void on_datagrams(MutableBytes bytes, size_t segment_size, const Path& path,
                      uint8_t tos) override;
    void on_datagrams_end() override;
    void on_tun_packet(const io::VirtioHeader& header, MutableBytes packet) override;
    void on_tun_packets_end() override;

    MutableBytes datagram_buffer(size_t size, const Path& path, uint8_t tos) override;
    void datagram_ready(size_t size) override;
    MutableBytes inner_buffer(size_t size, wireguard::PeerId peer) override;
    void inner_ready(size_t size, bool congestion_experienced) override;
    void inner_abandoned() override;
    void belongs_to(uint32_t worker) override;

    void on_packet(const tunnel::Offload& offload, uint16_t header_length, Bytes packet) override;

  private:
    TunnelPath(io::Engine& engine, TunnelGroup& group, uint32_t worker,
               const contract::OffloadConfig& offloads, DropCounters& drops);

    // The socket on the configured port; the old one stays if it cannot be had.
    Result<void> open_port(const TunnelPlan& plan);
    void send_packet(wireguard::PeerId peer, const io::VirtioHeader& header, MutableBytes packet);
    void tell_sender(DropReason reason, Bytes packet, Now now);
    // A copy of `bytes` for another worker, with what is known of it in front.
    template <typename Facts>
    void hand_over(uint32_t worker, const Facts& facts, Bytes bytes);
    void take(MutableBytes record);
    void wake_others();
    void flush_inner();

    io::Engine& engine_;
    TunnelGroup& group_;
    const uint32_t worker_;
    DropCounters& drops_;
    const contract::OffloadConfig offloads_;  // as when the path was opened
    std::shared_ptr<const TunnelPlan> plan_;
    std::unique_ptr<wireguard::Device> device_;
    std::unique_ptr<io::DatagramPort> port_;
    std::unique_ptr<io::TunPort> tun_;
    TunWriter tun_writer_;
    tunnel::Coalescer coalescer_;
    InnerErrors inner_errors_;
    LoopGuard loop_guard_;
    uint16_t listen_port_ = 0;  // as configured; 0: the kernel chose
    uint32_t fwmark_ = 0;
    std::optional<uint32_t> owner_;  // of the datagram that is being received, if not this worker
    std::vector<uint32_t> to_wake_;  // who was handed something since they were last woken
    Counter datagrams_received_;
    Counter datagrams_sent_;
    Counter handed_over_;
};

}  // namespace sluice::worker
