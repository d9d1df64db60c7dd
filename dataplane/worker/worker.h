// One worker: a thread that owns an engine, its share of the client connections and of the tunnel's
// peers, and runs all of it to completion in one loop. It hears from control, and answers, through
// its mailbox only.
//
// Each worker owns a share of the peers, and accepts connections. The kernel brings a peer's
// packets to its worker; the few that come elsewhere are handed over once (tunnel_group.h).
//
// Thread: constructed, run and destroyed on the worker's own thread, because an io_uring belongs
// to the thread that made it.
// Memory: after the first snapshot only connections, TLS state and later snapshots allocate.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "dataplane/base/clock.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/random.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/contract/mailbox.h"
#include "dataplane/io/engine.h"
#include "dataplane/worker/access_lines.h"
#include "dataplane/worker/front.h"
#include "dataplane/worker/tunnel_group.h"
#include "dataplane/worker/tunnel_path.h"

namespace sluice::worker {

struct WorkerOptions {
    uint32_t index = 0;
    std::optional<io::EngineKind> engine;  // unset: io_uring where it is allowed, else epoll
    // Both set on a worker that owns peers. The group outlives the worker.
    TunnelGroup* tunnel_group = nullptr;
    std::optional<io::TunQueue> tun;
    LineRing* access_ring = nullptr;        // outlives the worker; null: it logs no requests
    SourceLimits* source_limits = nullptr;  // of all workers; outlives them. Null: no limits
};

class Worker final : public io::WakeHandler, public io::TurnHandler {
  public:
    // `mailbox` and `clock` outlive the worker. Error: no engine can be had.
    static Result<std::unique_ptr<Worker>> create(WorkerOptions options, contract::Mailbox& mailbox,
                                                  Clock& clock);
    ~Worker();

    // Until Stop. Answers Stopped when it leaves.
    void run();

    void on_wake() override;
    void on_turn(Now now) override;

  private:
    Worker(WorkerOptions options, contract::Mailbox& mailbox, Clock& clock);

    void handle(contract::ApplySnapshot& command);
    void handle(contract::SetTicketKeys& command);
    void handle(const contract::SetAddresses& command);
    void handle(const contract::SendReport& command);
    void handle(const contract::Drain& command);
    void handle(const contract::Stop& command);
    std::string apply_tunnel(std::shared_ptr<const TunnelPlan> plan);

    WorkerOptions options_;
    contract::Mailbox& mailbox_;
    SystemRandom random_;
    DropCounters drops_;
    TimerWheel timers_;
    std::unique_ptr<io::Engine> engine_;
    std::optional<AccessLines> access_lines_;  // outlives the front
    std::unique_ptr<TunnelPath> tunnel_;
    std::string tunnel_error_;  // why there is none
    std::unique_ptr<Front> front_;
    std::shared_ptr<const contract::Snapshot> snapshot_;
    bool stopping_ = false;
    bool draining_ = false;  // asked to, and not done yet
};

// The whole life of a worker's thread: creates it, runs it, answers. A worker that cannot be
// created answers Applied with the error, so that control hears of it as of any other failure.
void run_worker(WorkerOptions options, contract::Mailbox& mailbox, Clock& clock);

}  // namespace sluice::worker
