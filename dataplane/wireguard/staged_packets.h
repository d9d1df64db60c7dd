// Copies of inner packets that wait for a session: a queue per peer, all in one store of fixed
// size. When a peer's queue or the whole store is full, the oldest packet of it goes: what is new
// is more likely to be still wanted.
//
// Thread: one. Memory: only reserve() allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/base/bytes.h"

namespace sluice::wireguard {

// One peer's queue; it belongs to the peer, its packets to the store.
struct StagedQueue {
    uint32_t first = UINT32_MAX;
    uint32_t last = UINT32_MAX;
    uint32_t count = 0;
};

class StagedPackets {
  public:
    // Room for up to kStagedMax packets for each of `peers` peers, of up to `packet_size` bytes,
    // but for no more than kStagedBytesMax in all. Keeps what waits; never shrinks.
    void reserve(size_t peers, size_t packet_size);
    // Returns how many packets went to make room (0 or 1). Precondition: the packet fits.
    size_t push(StagedQueue& queue, Bytes packet);
    // The oldest packet of the queue; valid until the store is changed. Precondition: not empty.
    Bytes front(const StagedQueue& queue) const;
    void pop(StagedQueue& queue);
    // Returns how many there were.
    size_t clear(StagedQueue& queue);

    size_t capacity() const { return slots_.size(); }

  private:
    static constexpr uint32_t kNone = UINT32_MAX;
    struct Slot {
        StagedQueue* queue = nullptr;
        uint32_t next_in_queue = kNone;
        // The order in which all packets came; a free slot uses `newer` to link the free ones.
        uint32_t older = kNone;
        uint32_t newer = kNone;
        uint32_t size = 0;
    };

    uint8_t* bytes_of(uint32_t slot) { return bytes_.data() + size_t{slot} * packet_size_; }

    size_t packet_size_ = 0;
    std::vector<uint8_t> bytes_;
    std::vector<Slot> slots_;
    uint32_t free_ = kNone;
    uint32_t oldest_ = kNone;
    uint32_t newest_ = kNone;
};

}  // namespace sluice::wireguard
