// Which message counters of a session have been seen: a ring of bits behind the highest one.
// accept() only for counters of authenticated messages; the cheap would_accept() may come before.
// Source: RFC 6479 (clear whole words instead of shifting), with kReplayWindowBits in all.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

class ReplayWindow {
  public:
    // How far behind the highest counter one may be. One word less than the bits there are, because
    // the word of the highest counter is only partly filled.
    static constexpr uint64_t kReach = kReplayWindowBits - 64;

    // A counter of kRejectAfterMessages or more is never accepted.
    bool would_accept(uint64_t counter) const;
    // Marks it as seen; false if it was seen before or lies behind the window.
    bool accept(uint64_t counter);

  private:
    static constexpr uint64_t kWords = kReplayWindowBits / 64;

    bool is_ahead(uint64_t counter) const;

    uint64_t next_ = 0;  // one more than the highest counter seen
    std::array<uint64_t, kWords> seen_{};
};

}  // namespace sluice::wireguard
