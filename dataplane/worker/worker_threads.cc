#include "dataplane/worker/worker_threads.h"

#include <utility>

#include "dataplane/worker/worker.h"

namespace sluice::worker {

void WorkerThreads::start(uint32_t count, std::optional<io::EngineKind> engine,
                          std::optional<io::TunQueue> tunnel, Clock& clock) {
    for (uint32_t index = 0; index < count; ++index) {
        WorkerOptions options{.index = index, .engine = engine, .tun = std::nullopt};
        if (index == 0) options.tun = std::move(tunnel);
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

void WorkerThreads::join() {
    for (std::thread& thread : threads_)
        thread.join();
    threads_.clear();
}

}  // namespace sluice::worker
