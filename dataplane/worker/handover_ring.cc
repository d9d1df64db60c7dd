#include "dataplane/worker/handover_ring.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "dataplane/base/check.h"

namespace sluice::worker {

void HandoverRing::FreeAligned::operator()(void* memory) const {
    std::free(memory);
}

HandoverRing::HandoverRing(size_t bytes) : bytes_(bytes) {
    SLUICE_CHECK(std::has_single_bit(bytes) && bytes >= kBytesMin);
    memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kLine, bytes)));
    if (memory_ == nullptr) throw std::bad_alloc();
}

bool HandoverRing::fits(size_t bytes) {
    if (next_write_ + bytes - known_read_ <= bytes_) return true;
    known_read_ = read_.load(std::memory_order_acquire);
    return next_write_ + bytes - known_read_ <= bytes_;
}

MutableBytes HandoverRing::reserve(size_t size) {
    SLUICE_CHECK(size > 0 && size <= kRecordBytesMax);
    next_write_ = written_.load(std::memory_order_relaxed);  // what was not published is forgotten
    const size_t needed = footprint(size);
    const size_t to_end = bytes_ - (next_write_ & (bytes_ - 1));
    if (needed > to_end) {
        if (!fits(to_end + needed)) return {};
        const Head mark{kGoOnAtStart};
        std::memcpy(at(next_write_), &mark, sizeof mark);
        next_write_ += to_end;
    } else if (!fits(needed)) {
        return {};
    }
    const Head head{static_cast<uint32_t>(size)};
    uint8_t* record = at(next_write_);
    std::memcpy(record, &head, sizeof head);
    next_write_ += needed;
    return {record + kLine, size};
}

void HandoverRing::publish() {
    written_.store(next_write_, std::memory_order_release);
}

MutableBytes HandoverRing::front() {
    uint64_t position = read_.load(std::memory_order_relaxed);
    if (position == known_written_) {
        known_written_ = written_.load(std::memory_order_acquire);
        if (position == known_written_) return {};
    }
    Head head;
    std::memcpy(&head, at(position), sizeof head);
    if (head.size == kGoOnAtStart) {
        // The record at the start was published with the mark.
        position += bytes_ - (position & (bytes_ - 1));
        read_.store(position, std::memory_order_release);
        std::memcpy(&head, at(position), sizeof head);
    }
    return {at(position) + kLine, head.size};
}

void HandoverRing::pop() {
    const uint64_t position = read_.load(std::memory_order_relaxed);
    Head head;
    std::memcpy(&head, at(position), sizeof head);
    read_.store(position + footprint(head.size), std::memory_order_release);
}

}  // namespace sluice::worker
