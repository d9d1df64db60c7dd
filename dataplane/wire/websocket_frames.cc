#include "dataplane/wire/websocket_frames.h"

#include <algorithm>

namespace sluice::wire {

size_t WebsocketFrames::take(Bytes bytes, bool to_boundary) {
    size_t taken = 0;
    while (taken < bytes.size() && !(to_boundary && at_boundary())) {
        if (left_ > 0) {
            const uint64_t size = std::min<uint64_t>(left_, bytes.size() - taken);
            left_ -= size;
            taken += size;
        } else {
            take_header(bytes[taken++]);
        }
    }
    return taken;
}

void WebsocketFrames::take_header(uint8_t byte) {
    header_[header_size_++] = byte;
    if (header_size_ < 2) return;
    const uint8_t short_length = header_[1] & 0x7f;
    const size_t extended = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    if (header_size_ < 2 + extended) return;
    uint64_t length = extended == 0 ? short_length : 0;
    for (size_t i = 0; i < extended; ++i)
        length = length << 8 | header_[2 + i];
    closing_ = closing_ || (header_[0] & 0x0f) == 0x08;
    header_size_ = 0;
    if ((header_[1] & 0x80) != 0) length += 4;  // the masking key
    // The top bit must be 0; what says otherwise is no frame, and where it ends is nowhere.
    left_ = (length >> 63) != 0 ? UINT64_MAX : length;
}

}  // namespace sluice::wire
