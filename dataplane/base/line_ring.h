// A one-way queue of lines of text from one thread that must never wait to one that may: how
// workers hand over what is to be logged. A line goes in whole or is dropped and counted.
//
// Thread: push() on the producer's, read() and is_empty() on the consumer's; dropped() on any.
// Memory: allocated at construction; the system gives pages when they are first written, so a ring
// that is never used costs address space only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "dataplane/base/bytes.h"

namespace sluice {

// Wakes the consumer of several rings, at no cost while it is awake.
class Doorbell {
  public:
    void ring() {
        // Sequentially consistent, as is what the consumer does in the other order: either it sees
        // the line, or we see that it sleeps.
        if (asleep_.load() && asleep_.exchange(false)) asleep_.notify_one();
    }
    // Consumer: announces that it goes to sleep; then it looks into its rings once more, and calls
    // sleep() if they are empty, or wakes up by itself.
    void announce_sleep() { asleep_.store(true); }
    void stay_awake() { asleep_.store(false); }
    void sleep() { asleep_.wait(true); }

  private:
    std::atomic<bool> asleep_{false};
};

class LineRing {
  public:
    // `bytes`: a power of two. `bell` outlives the ring.
    LineRing(size_t bytes, Doorbell& bell);

    // False: there was no room; the line is dropped and counted.
    bool push(std::string_view line);

    // The oldest bytes, as many as there are and fit. With room for capacity() bytes they end where
    // a line ends.
    size_t read(MutableBytes into);
    bool is_empty() const { return head_.load() == tail_.load(std::memory_order_relaxed); }

    size_t capacity() const { return bytes_; }
    uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  private:
    void copy_in(uint64_t position, std::string_view bytes);

    const size_t bytes_;
    Doorbell& bell_;
    std::unique_ptr<uint8_t[]> memory_;
    // Bytes ever written and read. On lines of their own, because each is written by one side only.
    alignas(64) std::atomic<uint64_t> head_{0};
    std::atomic<uint64_t> dropped_{0};
    uint64_t known_tail_ = 0;  // the producer's last look, which spares most others
    alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace sluice
