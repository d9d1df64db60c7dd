// The chunked transfer coding: the frames taken off, strictly, and put on.
//
// Trailers are checked and handed out as they came; which of them pass is decided elsewhere
// (http/trailers.h). One that is about the message's end or host is refused (RFC 9110 section
// 6.5.1): software that mixes trailers with headers would believe it. Chunk extensions are checked
// and dropped, as RFC 9112 section 7.1.1 demands of those that are not understood.
//
// Memory: none; payload is handed out as views of the input. Thread: any, no shared state.
// Source: RFC 9112 section 7.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::wire {

class Http1ChunkedDecoder {
  public:
    enum class Result : uint8_t {
        kMore,     // all input is consumed and the body goes on
        kPayload,  // `payload` is some of the body; call again with what was not consumed
        kTrailer,  // `payload` is some of the trailers' lines, line ends included; the same
        kEnd,      // the body is complete; what was not consumed is not part of it
        kFault,
    };
    struct Step {
        Result result = Result::kMore;
        size_t consumed = 0;  // bytes of the input, payload included
        Bytes payload;        // part of the input
    };

    // What is found depends on the bytes alone and not on how they were split.
    Step next(Bytes input);
    Http1Fault fault() const { return fault_; }

    // A line of extensions this long is an attack or a mistake; no known software sends any.
    static constexpr uint32_t kExtensionMax = 256;
    // For the extensions of a whole body: or else tiny chunks with long extensions would cost far
    // more to take apart than the body they carry.
    static constexpr uint32_t kExtensionTotalMax = 16 * 1024;
    static constexpr uint32_t kTrailerTotalMax = 8 * 1024;
    // As many as headers are allowed by default.
    static constexpr uint32_t kTrailersMax = 100;

  private:
    enum class State : uint8_t {
        kSize,      // first digit of a size
        kSizeMore,  // further digits, ';' or CR
        kExtensionName,
        kExtensionValue,  // first byte of a value
        kExtensionToken,
        kExtensionQuoted,
        kExtensionEscaped,  // the byte behind a backslash
        kExtensionOver,     // behind a quoted value
        kSizeLineFeed,      // LF after the size line
        kData,
        kDataCr,
        kDataLineFeed,
        kTrailerStart,  // a trailer's first byte, or the CR of the last line
        kTrailerName,
        kTrailerValue,
        kTrailerLineFeed,
        kEndLineFeed,
        kEnd,
        kFault,
    };

    Step next_trailer(Bytes input, Step step);
    Result take(uint8_t byte);
    Result take_size(uint8_t byte);
    Result take_extension(uint8_t byte);
    Result end_extension(uint8_t byte);
    Result take_trailer(uint8_t byte);
    bool is_trailer_forbidden() const;
    bool in_trailer(uint8_t byte) const;
    Result fail(Http1Fault fault);

    uint64_t left_ = 0;       // of the chunk's payload, or its size as far as read
    uint32_t extension_ = 0;  // bytes of the extensions of this chunk
    uint32_t extension_total_ = 0;
    uint32_t trailer_total_ = 0;
    uint32_t trailers_ = 0;
    // The trailer's name, as much of it as the longest forbidden one has, and one byte more.
    static constexpr size_t kNameKept = sizeof "transfer-encoding";
    std::array<char, kNameKept> name_{};
    uint8_t name_size_ = 0;
    uint8_t digits_ = 0;
    State state_ = State::kSize;
    Http1Fault fault_{};
};

// The line that goes before a chunk's payload; CRLF goes after the payload.
class Http1ChunkPrefix {
  public:
    static constexpr size_t kSizeMax = 10;             // eight hexadecimal digits and CRLF
    explicit Http1ChunkPrefix(uint32_t payload_size);  // > 0: a chunk of size 0 ends the body
    std::string_view text() const { return {text_.data() + begin_, kSizeMax - begin_}; }

  private:
    std::array<char, kSizeMax> text_;
    uint8_t begin_;
};
inline constexpr std::string_view kHttp1ChunkSuffix = "\r\n";
inline constexpr std::string_view kHttp1LastChunk = "0\r\n\r\n";

}  // namespace sluice::wire
