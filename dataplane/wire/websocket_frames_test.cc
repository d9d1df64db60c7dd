#include "dataplane/wire/websocket_frames.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::wire {
namespace {

using namespace std::string_literals;

std::string frame(uint8_t opcode, size_t size, bool masked = false) {
    std::string bytes(1, static_cast<char>(opcode));
    const uint8_t mask = masked ? 0x80 : 0;
    if (size < 126) {
        bytes += static_cast<char>(size | mask);
    } else if (size < 65536) {
        bytes += static_cast<char>(126 | mask);
        bytes += {static_cast<char>(size >> 8), static_cast<char>(size)};
    } else {
        bytes += static_cast<char>(127 | mask);
        for (int shift = 56; shift >= 0; shift -= 8)
            bytes += static_cast<char>(static_cast<uint64_t>(size) >> shift);
    }
    return bytes + std::string(size + (masked ? 4 : 0), '\x88');
}

TEST_CASE("RFC 6455 section 5.2: a frame ends where its length says, however it is split") {
    std::string bytes;
    std::vector<size_t> ends;
    for (const auto& [opcode, size, masked] :
         std::vector<std::tuple<uint8_t, size_t, bool>>{{0x81, 0, false},
                                                        {0x02, 125, true},
                                                        {0x89, 5, false},
                                                        {0x80, 126, false},
                                                        {0x82, 65535, false},
                                                        {0x82, 65536, true},
                                                        {0x81, 1, false}}) {
        bytes += frame(opcode, size, masked);
        ends.push_back(bytes.size());
    }
    for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{4096}, bytes.size()}) {
        INFO(step);
        WebsocketFrames frames;
        std::vector<size_t> found;
        for (size_t at = 0; at < bytes.size();) {
            // The first byte takes it off the boundary, the rest leads to the next one.
            at += frames.take(as_bytes(bytes).subspan(at, 1), false);
            while (!frames.at_boundary() && at < bytes.size()) {
                const size_t size = std::min(step, bytes.size() - at);
                const size_t taken = frames.take(as_bytes(bytes).subspan(at, size), true);
                CHECK((taken == size || frames.at_boundary()));
                at += taken;
            }
            found.push_back(at);
        }
        CHECK(found == ends);
        CHECK_FALSE(frames.closing());
    }
    WebsocketFrames whole;
    CHECK(whole.take(as_bytes(bytes), false) == bytes.size());
    CHECK(whole.at_boundary());
    CHECK(whole.take(as_bytes(bytes), true) == 0);
}

TEST_CASE("RFC 6455 section 5.5.1: a Close frame is seen when its header is whole") {
    WebsocketFrames frames;
    frames.take(as_bytes("\x88"s), false);
    CHECK_FALSE(frames.closing());
    frames.take(as_bytes("\x02"s), false);
    CHECK(frames.closing());
    CHECK_FALSE(frames.at_boundary());
    frames.take(as_bytes("\x03\xe8"s), false);
    CHECK(frames.at_boundary());
}

TEST_CASE("RFC 6455 section 5.2: a length with its top bit set has no end") {
    WebsocketFrames frames;
    frames.take(as_bytes("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"s), false);
    CHECK(frames.take(as_bytes(std::string(1000, '\0')), true) == 1000);
    CHECK_FALSE(frames.at_boundary());
}

TEST_CASE("what a client is told is a whole Close frame, 1001, unmasked") {
    WebsocketFrames frames;
    CHECK(frames.take(kWebsocketGoingAway, false) == 4);
    CHECK(frames.at_boundary());
    CHECK(frames.closing());
}

}  // namespace
}  // namespace sluice::wire
