#include "dataplane/base/line_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dataplane/base/check.h"

namespace sluice {

LineRing::LineRing(size_t bytes, Doorbell& bell)
    : bytes_(bytes), bell_(bell), memory_(std::make_unique_for_overwrite<uint8_t[]>(bytes)) {
    SLUICE_CHECK(std::has_single_bit(bytes));
}

void LineRing::copy_in(uint64_t position, std::string_view bytes) {
    const size_t at = position & (bytes_ - 1);
    const size_t before_end = std::min(bytes.size(), bytes_ - at);
    std::memcpy(memory_.get() + at, bytes.data(), before_end);
    std::memcpy(memory_.get(), bytes.data() + before_end, bytes.size() - before_end);
}

bool LineRing::push(std::string_view line) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (bytes_ - (head - known_tail_) < line.size()) {
        known_tail_ = tail_.load(std::memory_order_acquire);
        if (bytes_ - (head - known_tail_) < line.size()) {
            dropped_.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
    }
    copy_in(head, line);
    head_.store(head + line.size());  // sequentially consistent, for the bell
    bell_.ring();
    return true;
}

size_t LineRing::read(MutableBytes into) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const uint64_t head = head_.load(std::memory_order_acquire);
    const size_t count = std::min<uint64_t>(head - tail, into.size());
    const size_t at = tail & (bytes_ - 1);
    const size_t before_end = std::min(count, bytes_ - at);
    std::memcpy(into.data(), memory_.get() + at, before_end);
    std::memcpy(into.data() + before_end, memory_.get(), count - before_end);
    tail_.store(tail + count, std::memory_order_release);
    return count;
}

}  // namespace sluice
