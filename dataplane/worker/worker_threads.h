// The workers' threads, and the mailboxes between them and control.
//
// Thread: control's. The mailboxes stay where they are until the object goes; threads must have
// been joined, or never started, by then.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/line_ring.h"
#include "dataplane/base/source_limits.h"
#include "dataplane/contract/mailbox.h"
#include "dataplane/io/engine.h"
#include "dataplane/io/tun.h"
#include "dataplane/worker/tunnel_group.h"

namespace sluice::worker {

class WorkerThreads {
  public:
    // How many TUN queues start() wants for so many workers.
    static uint32_t queues_of(uint32_t workers) { return TunnelGroup::owners_of(workers); }

    // `tunnel`: queues_of(count) queues, or none. `clock` outlives the threads. Signals that the
    // caller blocks are blocked in the threads, too.
    void start(uint32_t count, std::optional<io::EngineKind> engine,
               std::vector<io::TunQueue> tunnel, Clock& clock);

    // In the order of the workers; there are as many as were started.
    std::vector<contract::Mailbox*> mailboxes();

    // The workers' access logs, in their order, and the bell that wakes whoever empties them.
    std::vector<LineRing*> access_rings();
    Doorbell& access_bell() { return access_bell_; }

    // Returns when every worker has left its loop, which control asks for through the mailboxes.
    void join();

  private:
    std::deque<contract::Mailbox> mailboxes_;  // they stay where they are
    Doorbell access_bell_;
    std::deque<LineRing> access_rings_;
    std::unique_ptr<TunnelGroup> tunnel_;
    std::unique_ptr<SourceLimits> limits_;
    std::vector<std::thread> threads_;
};

}  // namespace sluice::worker
