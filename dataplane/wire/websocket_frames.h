// Where the frames of a WebSocket connection begin and end; what is in them is nobody's business.
// Memory: none. Thread: any, no shared state. Source: RFC 6455 section 5.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/bytes.h"

namespace sluice::wire {

class WebsocketFrames {
  public:
    // Takes the bytes of one direction, in order, and says how many: all of them or, with
    // `to_boundary`, those up to where the next frame would begin, which may be none.
    size_t take(Bytes bytes, bool to_boundary);

    // The next byte is the first one of a frame. Never again after a frame that cannot be one.
    bool at_boundary() const { return left_ == 0 && header_size_ == 0; }
    // A Close frame has begun: no data follows it.
    bool closing() const { return closing_; }

  private:
    void take_header(uint8_t byte);

    uint64_t left_ = 0;  // of the frame, behind its header
    std::array<uint8_t, 10> header_{};
    uint8_t header_size_ = 0;
    bool closing_ = false;
};

// A Close frame begins here. Precondition: a frame does.
inline bool is_websocket_close(Bytes bytes) {
    return !bytes.empty() && (bytes.front() & 0x0f) == 0x08;
}

// "Going away": Close, 1001, from a server (RFC 6455 section 7.4.1).
inline constexpr std::array<uint8_t, 4> kWebsocketGoingAway = {0x88, 0x02, 0x03, 0xe9};

}  // namespace sluice::wire
