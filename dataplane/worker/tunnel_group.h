// What the workers of one node have in common of its tunnel: who owns which peer, the UDP sockets
// on its one port, and the queues by which a packet gets to its peer's owner.
//
// A peer stays with its worker for as long as it is configured, because its sessions live there; a
// new one goes to the worker that has the fewest.
//
// Thread: any. Settings are taken under a lock, by each worker once a snapshot. Packets are not:
// each ring has one producer and one consumer. Waking another worker takes a lock that only the
// end of that worker contends for, and only if it has not been woken already.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/io/engine.h"
#include "dataplane/wireguard/device.h"
#include "dataplane/wireguard/peer_directory.h"
#include "dataplane/worker/handover_ring.h"

namespace sluice::worker {

// One snapshot's tunnel as devices take it, made once for all of them.
struct TunnelPlan {
    std::shared_ptr<const contract::Snapshot> snapshot;  // has a tunnel
    // Peers stand as in the snapshot, so that a PeerId is a place there. Without allowed IPs, which
    // are in the directory.
    wireguard::DeviceSettings settings;
    std::shared_ptr<const wireguard::PeerDirectory> directory;

    const contract::WireguardConfig& config() const { return *snapshot->wireguard; }
};

class TunnelGroup {
  public:
    // As many as own peers; workers beyond them only serve connections.
    explicit TunnelGroup(uint32_t workers);

    uint32_t workers() const { return workers_; }
    // How many of a node's workers can own peers: a receiver index has room for so many.
    static uint32_t owners_of(uint32_t workers) {
        return std::min(workers, wireguard::Device::kWorkersMax);
    }

    // Precondition: the snapshot has a tunnel, and is not older than the last one.
    std::shared_ptr<const TunnelPlan> plan_for(
        const std::shared_ptr<const contract::Snapshot>& snapshot);

    // This worker's socket on the plan's port. The first worker to ask opens all of them, in the
    // order that the kernel counts them in; so what one is refused, all are.
    Result<io::OpenedDatagramSocket> take_socket(const TunnelPlan& plan, uint32_t worker,
                                                 const io::DatagramPortOptions& options);

    // The worker can be woken from now on, until leave(). The engine outlives that.
    void join(uint32_t worker, io::Engine& engine);
    void leave(uint32_t worker);
    void wake(uint32_t worker);

    // Precondition: from != to.
    HandoverRing& ring(uint32_t from, uint32_t to) { return *rings_[from * workers_ + to]; }

  private:
    struct Waker {
        std::mutex mutex;
        io::Engine* engine = nullptr;
    };
    struct Sockets {
        uint64_t generation = 0;  // of the snapshot that they were opened for
        std::string error;
        std::vector<io::OpenedDatagramSocket> opened;
        std::vector<bool> asked;  // by worker; who asks again wants it tried again
    };

    std::vector<uint32_t> assign_owners(const contract::WireguardConfig& config) const;

    const uint32_t workers_;
    std::vector<std::unique_ptr<HandoverRing>> rings_;
    std::vector<Waker> wakers_;
    std::mutex mutex_;  // guards what follows
    std::shared_ptr<const TunnelPlan> plan_;
    Sockets sockets_;
};

}  // namespace sluice::worker
