#include "dataplane/base/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"

namespace sluice {

namespace {

void make_empty(TimerLink& head) {
    head.previous = head.next = &head;
}
bool is_empty(const TimerLink& head) {
    return head.next == &head;
}

void unlink(TimerLink& link) {
    link.previous->next = link.next;
    link.next->previous = link.previous;
    link.previous = link.next = nullptr;
}

void link_before(TimerLink& head, TimerLink& link) {
    link.previous = head.previous;
    link.next = &head;
    head.previous->next = &link;
    head.previous = &link;
}

// How many slots after `from` the next one that is not empty lies, counting round the circle: 1 is
// the slot right after it, 256 is `from` itself a whole turn later. 0: all are empty.
unsigned distance_to_occupied(const std::array<uint64_t, 4>& bits, unsigned from) {
    const unsigned first = (from + 1) % 256;
    // The first word is looked at twice: its upper part now, its lower part after the whole turn.
    uint64_t word = bits[first / 64] & (~uint64_t{0} << (first % 64));
    for (unsigned step = 0; step <= 4; ++step) {
        const unsigned index = (first / 64 + step) % 4;
        if (step > 0) word = bits[index];
        if (word != 0) {
            const unsigned slot = index * 64 + static_cast<unsigned>(std::countr_zero(word));
            return (slot - first) % 256 + 1;
        }
    }
    return 0;
}

}  // namespace

void Timer::cancel() {
    if (pending()) wheel_->remove(*this);
}

TimerWheel::TimerWheel(Instant start) : start_(start) {
    for (TimerLink& head : slots_)
        make_empty(head);
}

TimerWheel::~TimerWheel() {
    SLUICE_CHECK(!advancing_);
    for (TimerLink& head : slots_) {
        while (!is_empty(head))
            remove(static_cast<Timer&>(*head.next));
    }
}

// Rounded up, so that no timer fires early; 0 for everything up to the start.
uint64_t TimerWheel::tick_of(Instant deadline) const {
    if (deadline <= start_) return 0;
    const auto since_start = static_cast<uint64_t>(deadline.time_since_epoch().count()) -
                             static_cast<uint64_t>(start_.time_since_epoch().count());
    const auto tick = static_cast<uint64_t>(kTick.count());
    return since_start / tick + (since_start % tick != 0 ? 1 : 0);
}

Instant TimerWheel::instant_of(uint64_t tick) const {
    return start_ + kTick * static_cast<int64_t>(tick);
}

void TimerWheel::set(Timer& timer, Instant deadline) {
    timer.cancel();
    if (deadline == kNever) return;
    timer.wheel_ = this;
    timer.deadline_ = deadline;
    ++size_;
    const uint64_t tick = tick_of(deadline);
    if (tick > current_) {
        place(timer, tick);
    } else {
        timer.slot_ = kDue;
        link_before(slots_[kDue], timer);
    }
}

// Precondition: tick >= current_.
void TimerWheel::place(Timer& timer, uint64_t tick) {
    constexpr uint64_t kRange = uint64_t{1} << (kLevelBits * kLevels);
    // Beyond the range: waits in the farthest slot and is placed again from there.
    const uint64_t distance = std::min(tick - current_, kRange - 1);
    tick = current_ + distance;
    const unsigned bits = static_cast<unsigned>(std::bit_width(distance));
    const unsigned level = bits == 0 ? 0 : (bits - 1) / kLevelBits;
    const auto slot = static_cast<unsigned>(tick >> (level * kLevelBits)) % kSlots;
    timer.slot_ = level * kSlots + slot;
    occupied_[level][slot / 64] |= uint64_t{1} << (slot % 64);
    link_before(slots_[timer.slot_], timer);
}

void TimerWheel::remove(Timer& timer) {
    unlink(timer);
    timer.deadline_ = kNever;
    --size_;
    // A timer that is about to fire has left its slot already. The slot's own list is asked, not
    // the timer's neighbours, so that this is right for it as well.
    const unsigned slot = timer.slot_;
    if (slot != kDue && is_empty(slots_[slot])) {
        occupied_[slot / kSlots][slot % kSlots / 64] &= ~(uint64_t{1} << (slot % 64));
    }
}

void TimerWheel::take_all(unsigned slot, TimerLink& into) {
    make_empty(into);
    TimerLink& from = slots_[slot];
    if (is_empty(from)) return;
    into = from;
    into.next->previous = &into;
    into.previous->next = &into;
    make_empty(from);
    if (slot != kDue) {
        occupied_[slot / kSlots][slot % kSlots / 64] &= ~(uint64_t{1} << (slot % 64));
    }
}

// Timers of the slot that begins at the current tick move to where they belong on lower levels.
void TimerWheel::cascade(unsigned level) {
    const auto slot = static_cast<unsigned>(current_ >> (level * kLevelBits)) % kSlots;
    TimerLink moving;
    take_all(level * kSlots + slot, moving);
    while (!is_empty(moving)) {
        Timer& timer = static_cast<Timer&>(*moving.next);
        unlink(timer);
        place(timer, tick_of(timer.deadline_));
    }
}

void TimerWheel::fire(unsigned slot, Now now) {
    // What a timer sets goes to the slots, never into this list, so the loop ends; what it cancels
    // leaves this list as it would leave a slot.
    TimerLink firing;
    take_all(slot, firing);
    while (!is_empty(firing)) {
        Timer& timer = static_cast<Timer&>(*firing.next);
        remove(timer);
        timer.on_timer(now);
    }
}

void TimerWheel::advance(Now now) {
    SLUICE_CHECK(!advancing_);
    advancing_ = true;
    fire(kDue, now);
    const uint64_t target =
        now.mono <= start_ ? 0 : static_cast<uint64_t>((now.mono - start_) / kTick);
    for (uint64_t tick = next_tick(); tick <= target && tick != kNoTick; tick = next_tick()) {
        current_ = tick;
        for (unsigned level = kLevels - 1; level > 0; --level) {
            const uint64_t below = (uint64_t{1} << (level * kLevelBits)) - 1;
            if ((tick & below) == 0) cascade(level);
        }
        fire(static_cast<unsigned>(tick) % kSlots, now);
    }
    current_ = std::max(current_, target);
    advancing_ = false;
}

// The next tick at which a slot of the first level fires or one of a higher level moves down.
uint64_t TimerWheel::next_tick() const {
    uint64_t nearest = kNoTick;
    for (unsigned level = 0; level < kLevels; ++level) {
        const uint64_t position = current_ >> (level * kLevelBits);
        const unsigned distance =
            distance_to_occupied(occupied_[level], static_cast<unsigned>(position) % kSlots);
        if (distance == 0) continue;
        nearest = std::min(nearest, (position + distance) << (level * kLevelBits));
    }
    return nearest;
}

Instant TimerWheel::next_deadline() const {
    if (size_ == 0) return kNever;
    if (!is_empty(slots_[kDue])) return instant_of(current_);
    const uint64_t tick = next_tick();
    return tick == kNoTick ? kNever : instant_of(tick);
}

}  // namespace sluice
