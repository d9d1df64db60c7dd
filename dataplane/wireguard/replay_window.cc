#include "dataplane/wireguard/replay_window.h"

#include <algorithm>

namespace sluice::wireguard {

bool ReplayWindow::is_ahead(uint64_t counter) const {
#ifdef SLUICE_PLANTED_BUG_REPLAY_WINDOW
    // PLANTED BUG, in no product: off by one, so the highest counter seen is accepted once more.
    return counter + 1 >= next_;
#else
    return counter >= next_;
#endif
}

bool ReplayWindow::would_accept(uint64_t counter) const {
    if (counter >= kRejectAfterMessages) return false;
    if (is_ahead(counter)) return true;
    if (next_ - 1 - counter > kReach) return false;
    return (seen_[counter / 64 % kWords] >> (counter % 64) & 1) == 0;
}

bool ReplayWindow::accept(uint64_t counter) {
    if (!would_accept(counter)) return false;
    if (counter >= next_) {
        // Words between the old highest and the new one hold bits of a turn of the ring ago.
        const uint64_t word = counter / 64;
        const uint64_t first = next_ == 0 ? 0 : (next_ - 1) / 64 + 1;
        const uint64_t stale = word + 1 > first ? std::min(word + 1 - first, kWords) : 0;
        for (uint64_t i = 0; i < stale; ++i)
            seen_[(word - i) % kWords] = 0;
        next_ = counter + 1;
    }
    seen_[counter / 64 % kWords] |= uint64_t{1} << (counter % 64);
    return true;
}

}  // namespace sluice::wireguard
