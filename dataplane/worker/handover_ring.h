// A one-way queue of byte records between two workers: how a packet gets to the worker that owns
// its peer. Lock-free, for one producer and one consumer, each of which touches the other's cache
// line only when it seems to be full or empty.
//
// Thread: reserve() and publish() on the producer's, front() and pop() on the consumer's.
// Memory: allocated at construction; the system gives pages when they are first written, so a ring
// that is never used costs address space only.
// Failure: a full ring has no room; the caller drops and counts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "dataplane/base/bytes.h"

namespace sluice::worker {

class HandoverRing {
  public:
    // Of one record. The largest that is handed over is a whole IP packet with what is known of it.
    static constexpr size_t kRecordBytesMax = 66 << 10;
    // Room for two of the largest and the gap at the end.
    static constexpr size_t kBytesMin = 256 << 10;

    // `bytes`: a power of two, at least kBytesMin.
    explicit HandoverRing(size_t bytes);

    // Room for one record, or empty when the ring is full. Valid until publish() or the next
    // reserve(). Precondition: 0 < size <= kRecordBytesMax.
    MutableBytes reserve(size_t size);
    // What was reserved last becomes visible to the consumer.
    void publish();

    // The oldest record, or empty. Valid until pop(), and may be overwritten.
    MutableBytes front();
    void pop();

  private:
    // In front of each record. What does not fit before the end of the memory begins at its start
    // again, and a mark says so.
    struct Head {
        uint32_t size;
    };
    static constexpr uint32_t kGoOnAtStart = UINT32_MAX;
    // Records begin on a cache line of their own, so that the two sides never write to one line.
    static constexpr size_t kLine = 64;
    static constexpr size_t footprint(size_t size) {
        return (kLine + size + kLine - 1) / kLine * kLine;
    }
    uint8_t* at(uint64_t position) { return memory_.get() + (position & (bytes_ - 1)); }
    bool fits(size_t bytes);

    struct FreeAligned {
        void operator()(void* memory) const;
    };

    const size_t bytes_;
    std::unique_ptr<uint8_t, FreeAligned> memory_;

    // Positions only grow. The producer's line:
    alignas(kLine) std::atomic<uint64_t> written_{0};
    uint64_t next_write_ = 0;  // behind what publish() will show
    uint64_t known_read_ = 0;  // read_ as last looked at
    // The consumer's line:
    alignas(kLine) std::atomic<uint64_t> read_{0};
    uint64_t known_written_ = 0;
};

}  // namespace sluice::worker
