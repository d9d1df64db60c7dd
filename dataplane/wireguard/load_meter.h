// Whether strangers cost the worker so much that they must first prove where they are.
// It counts messages that passed the first MAC, answered or not, so that a flood which is only
// answered with cookies keeps it alarmed. It never refuses anything by itself: one counter for all
// sources would let one of them lock out the others.
// Thread: one.
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

class LoadMeter {
  public:
    // Counts one message, and says whether we are under load now.
    bool count(Instant now) {
        if (window_began_ + kLoadWindow <= now) {
            window_began_ = now;
            messages_ = 0;
        }
        if (++messages_ > kLoadMessagesMax) loaded_until_ = now + kLoadHold;
        return now < loaded_until_;
    }

  private:
    Instant window_began_ = Instant::min();
    Instant loaded_until_ = Instant::min();
    uint32_t messages_ = 0;
};

}  // namespace sluice::wireguard
