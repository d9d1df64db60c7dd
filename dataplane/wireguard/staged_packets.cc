#include "dataplane/wireguard/staged_packets.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

void StagedPackets::reserve(size_t peers, size_t packet_size) {
    packet_size = std::max(packet_size, packet_size_);
    // One peer alone always gets its full queue.
    const size_t affordable =
        std::max(kStagedMax, kStagedBytesMax / std::max<size_t>(packet_size, 1));
    const size_t count = std::max(slots_.size(), std::min(peers * kStagedMax, affordable));
    std::vector<uint8_t> bytes(count * packet_size);
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
        std::memcpy(bytes.data() + slot * packet_size, bytes_.data() + slot * packet_size_,
                    slots_[slot].queue != nullptr ? slots_[slot].size : 0);
    }
    bytes_ = std::move(bytes);
    packet_size_ = packet_size;
    for (size_t slot = slots_.size(); slot < count; ++slot) {
        slots_.push_back({.newer = free_});
        free_ = static_cast<uint32_t>(slot);
    }
}

size_t StagedPackets::push(StagedQueue& queue, Bytes packet) {
    SLUICE_CHECK(!slots_.empty() && packet.size() <= packet_size_);
    size_t dropped = 0;
    if (queue.count == kStagedMax) {
        pop(queue);
        dropped = 1;
    } else if (free_ == kNone) {
        // The oldest of all is the first of its own queue.
        pop(*slots_[oldest_].queue);
        dropped = 1;
    }
    const uint32_t at = free_;
    Slot& slot = slots_[at];
    free_ = slot.newer;
    slot = {.queue = &queue, .older = newest_, .size = static_cast<uint32_t>(packet.size())};
    std::memcpy(bytes_of(at), packet.data(), packet.size());
    (newest_ == kNone ? oldest_ : slots_[newest_].newer) = at;
    newest_ = at;
    (queue.count == 0 ? queue.first : slots_[queue.last].next_in_queue) = at;
    queue.last = at;
    ++queue.count;
    return dropped;
}

Bytes StagedPackets::front(const StagedQueue& queue) const {
    SLUICE_CHECK(queue.count > 0);
    return {bytes_.data() + size_t{queue.first} * packet_size_, slots_[queue.first].size};
}

void StagedPackets::pop(StagedQueue& queue) {
    SLUICE_CHECK(queue.count > 0);
    const uint32_t at = queue.first;
    Slot& slot = slots_[at];
    queue.first = slot.next_in_queue;
    --queue.count;
    (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
    (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
    slot = {.newer = free_};
    free_ = at;
}

size_t StagedPackets::clear(StagedQueue& queue) {
    const size_t count = queue.count;
    while (queue.count > 0)
        pop(queue);
    return count;
}

}  // namespace sluice::wireguard
