#include "dataplane/base/source_limits.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace sluice {

using source_limits::kLines;
using source_limits::Line;

namespace {

constexpr uint64_t kValueMask = (uint64_t{1} << 48) - 1;

uint64_t tag_of(uint64_t source) {
    return source & ~kValueMask;
}
Line& line_of(const std::unique_ptr<Line[]>& lines, uint64_t source) {
    return lines[source % kLines];
}

// Moments as microseconds, never 0; 48 bits last for nine years of up-time.
uint64_t microseconds(Instant time) {
    const auto since =
        std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch());
    return (static_cast<uint64_t>(std::max<int64_t>(since.count(), 0)) + 1) & kValueMask;
}
uint64_t microseconds(Duration duration) {
    return static_cast<uint64_t>(
        std::chrono::ceil<std::chrono::microseconds>(std::max(duration, Duration::zero())).count());
}

struct SipState {
    uint64_t v0, v1, v2, v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void take(uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
};

std::array<uint64_t, 2> draw_key(Random& random) {
    return {random.u64(), random.u64()};
}

}  // namespace

SourceHash::SourceHash(Random& random) : key_(draw_key(random)) {}

uint64_t SourceHash::of(Bytes bytes) const {
    SipState state{key_[0] ^ 0x736f6d6570736575, key_[1] ^ 0x646f72616e646f6d,
                   key_[0] ^ 0x6c7967656e657261, key_[1] ^ 0x7465646279746573};
    const uint64_t size = bytes.size();
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
        uint64_t word = 0;
        for (unsigned i = 0; i < 8; ++i)
            word |= uint64_t{bytes[i]} << 8 * i;
        state.take(word);
    }
    uint64_t last = size << 56;
    for (unsigned i = 0; i < bytes.size(); ++i)
        last |= uint64_t{bytes[i]} << 8 * i;
    state.take(last);
    state.v2 ^= 0xff;
    for (int i = 0; i < 4; ++i)
        state.round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

uint64_t SourceHash::of(const IpAddress& address, uint64_t purpose) const {
    std::array<uint8_t, 17> bytes{};
    for (unsigned i = 0; i < 8; ++i) {
        bytes[i] = static_cast<uint8_t>(purpose >> 8 * i);
        bytes[8 + i] = address.bytes[i];
    }
    bytes[16] = static_cast<uint8_t>(address.family);
    return of(bytes);
}

Pace Pace::of(uint32_t requests, Duration per, uint32_t burst) {
    const Duration even = per / std::max<uint32_t>(requests, 1);
    const Duration interval = std::max<Duration>(even, std::chrono::microseconds(1));
    return {interval, interval * (std::max<uint32_t>(burst, 1) - 1)};
}

PaceTable::PaceTable() : lines_(std::make_unique<Line[]>(kLines)) {}

Duration PaceTable::take(uint64_t source, const Pace& pace, Instant now) {
    Line& line = line_of(lines_, source);
    const uint64_t tag = tag_of(source);
    const uint64_t at = microseconds(now);
    const uint64_t tolerance = microseconds(pace.tolerance);
    for (;;) {
        std::atomic<uint64_t>* chosen = nullptr;
        uint64_t old = 0;
        for (std::atomic<uint64_t>& slot : line.slots) {
            const uint64_t value = slot.load(std::memory_order_relaxed);
            const bool own = value != 0 && (value & ~kValueMask) == tag;
            // Nobody's is as good as one that owes nothing.
            if (own || chosen == nullptr || (value & kValueMask) < (old & kValueMask)) {
                chosen = &slot;
                old = value;
            }
            if (own) break;
        }
        const bool own = old != 0 && (old & ~kValueMask) == tag;
        const uint64_t even = std::max(own ? old & kValueMask : 0, at);
        if (even > at + tolerance) return std::chrono::microseconds(even - at - tolerance);
        const uint64_t next = tag | ((even + microseconds(pace.interval)) & kValueMask);
        if (chosen->compare_exchange_strong(old, next, std::memory_order_relaxed))
            return Duration::zero();
        // Another worker was faster here, so all in all there was progress.
    }
}

CountTable::CountTable() : lines_(std::make_unique<Line[]>(kLines)) {}

CountTable::Place CountTable::enter(uint64_t source, uint32_t most) {
    Place place;
    place.taken_ = true;
    if (most == 0) return place;
    Line& line = line_of(lines_, source);
    const uint64_t tag = tag_of(source);
    for (;;) {
        std::atomic<uint64_t>* chosen = nullptr;
        uint64_t old = 0;
        for (std::atomic<uint64_t>& slot : line.slots) {
            const uint64_t value = slot.load(std::memory_order_relaxed);
            const bool own = value != 0 && (value & ~kValueMask) == tag;
            if (own || (value == 0 && chosen == nullptr)) {
                chosen = &slot;
                old = value;
            }
            if (own) break;
        }
        if (chosen == nullptr) return place;
        const uint64_t count = old & kValueMask;
        if (count >= most) {
            place.taken_ = false;
            return place;
        }
        if (chosen->compare_exchange_strong(old, tag | (count + 1), std::memory_order_relaxed)) {
            place.slot_ = chosen;
            return place;
        }
    }
}

CountTable::Place::Place(Place&& other) noexcept
    : slot_(std::exchange(other.slot_, nullptr)), taken_(std::exchange(other.taken_, false)) {}

CountTable::Place& CountTable::Place::operator=(Place&& other) noexcept {
    if (this == &other) return *this;
    leave();
    slot_ = std::exchange(other.slot_, nullptr);
    taken_ = std::exchange(other.taken_, false);
    return *this;
}

void CountTable::Place::leave() {
    if (slot_ == nullptr) return;
    uint64_t old = slot_->load(std::memory_order_relaxed);
    // The last one leaves nobody's slot behind.
    while (!slot_->compare_exchange_weak(old, (old & kValueMask) == 1 ? 0 : old - 1,
                                         std::memory_order_relaxed)) {
    }
    slot_ = nullptr;
}

}  // namespace sluice
