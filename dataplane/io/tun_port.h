// One queue of a TUN device in a worker's loop: readiness, then read until there is nothing, and
// write at once. The same for both engines, because a completion-based read (io_uring's multishot
// read into provided buffers) measured no cheaper than poll and read, and one buffer that stays in
// the cache is enough this way.
#pragma once

#include <memory>

#include "dataplane/io/engine_core.h"
#include "dataplane/io/tun.h"

namespace sluice::io {

// What is inside a queue, taken out.
struct TunQueueContent {
    Descriptor descriptor;
    std::shared_ptr<TunUses> uses;

    explicit TunQueueContent(TunQueue queue);
};

Result<std::unique_ptr<TunPort>> open_tun_port(EngineCore& engine, TunQueue queue,
                                               TunHandler& handler);

}  // namespace sluice::io
