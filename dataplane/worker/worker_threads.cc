#include "dataplane/worker/worker_threads.h"

#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/base/random.h"
#include "dataplane/worker/worker.h"

namespace sluice::worker {

namespace {

// Some 3000 lines: what a worker makes in a tenth of a second at full speed, and five times what
// gathers until control looks again.
constexpr size_t kAccessRingBytes = 1 << 20;

}  // namespace

void WorkerThreads::start(uint32_t count, std::optional<io::EngineKind> engine,
                          std::vector<io::TunQueue> tunnel, Clock& clock) {
    SLUICE_CHECK(tunnel.empty() || tunnel.size() == queues_of(count));
    if (!tunnel.empty()) tunnel_ = std::make_unique<TunnelGroup>(queues_of(count));
    SystemRandom random;
    limits_ = std::make_unique<SourceLimits>(random);
    for (uint32_t index = 0; index < count; ++index) {
        WorkerOptions options{
            .index = index,
            .engine = engine,
            .tunnel_group = tunnel_.get(),
            .tun = std::nullopt,
            .access_ring = &access_rings_.emplace_back(kAccessRingBytes, access_bell_),
            .source_limits = limits_.get()};
        if (index < tunnel.size()) options.tun = std::move(tunnel[index]);
        contract::Mailbox& mailbox = mailboxes_.emplace_back();
        threads_.emplace_back([options = std::move(options), &mailbox, &clock]() mutable {
            run_worker(std::move(options), mailbox, clock);
        });
    }
}

std::vector<contract::Mailbox*> WorkerThreads::mailboxes() {
    std::vector<contract::Mailbox*> pointers;
    for (contract::Mailbox& mailbox : mailboxes_)
        pointers.push_back(&mailbox);
    return pointers;
}

std::vector<LineRing*> WorkerThreads::access_rings() {
    std::vector<LineRing*> pointers;
    for (LineRing& ring : access_rings_)
        pointers.push_back(&ring);
    return pointers;
}

void WorkerThreads::join() {
    for (std::thread& thread : threads_)
        thread.join();
    threads_.clear();
}

}  // namespace sluice::worker
