// What a client of HTTP/2 may ask of us that brings nobody further: one account for a connection.
//
// Everything that costs us work and the client next to nothing takes one token: a stream that it
// resets, or that we have to reset because of what it sent; SETTINGS, PING, PRIORITY, WINDOW_UPDATE
// and unknown frames; DATA without data. Time gives tokens back, and so does work that was wanted:
// each frame of data and each answer that is sent. So clients that open windows often or cancel
// much between requests that they do want never run dry, and a flood does at once. (Known as rapid
// reset, CVE-2023-44487; MadeYouReset, CVE-2025-8671; and the floods of CVE-2019-9511 to -9518.)
//
// Thread: any. Memory: none.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/base/time.h"

namespace sluice::http {

class Http2Patience {
  public:
    // As many as libnghttp2 lets a client reset at once: a page of a thousand pictures that is
    // closed. Lower cuts off honest clients, higher costs us a few milliseconds more.
    static constexpr uint32_t kMost = 1000;
    static constexpr uint32_t kPerSecond = 50;
    // A frame of data may be answered with two WINDOW_UPDATEs, and some clients do so.
    static constexpr uint32_t kPerWork = 3;

    explicit Http2Patience(Instant now) : since_(now) {}

    void earn() { tokens_ = std::min(kMost, tokens_ + kPerWork); }
    // False: no token is left.
    bool spend(Instant now) {
        if (tokens_ == 0) refill(now);
        if (tokens_ == 0) return false;
        --tokens_;
        return true;
    }

  private:
    void refill(Instant now) {
        const auto seconds = std::chrono::duration<double>(now - since_).count();
        const double earned = std::clamp(seconds * kPerSecond, 0.0, double{kMost});
        if (earned < 1.0) return;
        since_ = now;
        tokens_ = static_cast<uint32_t>(earned);
    }

    uint32_t tokens_ = kMost;
    Instant since_;
};

}  // namespace sluice::http
