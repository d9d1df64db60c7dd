#include "dataplane/wire/http1_chunked.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace sluice::wire {

namespace {

int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

// Sixteen digits may not overflow what follows: sizes are kept below 2^60, more than any disk.
constexpr uint8_t kDigitsMax = 15;

}  // namespace

Http1ChunkedDecoder::Result Http1ChunkedDecoder::fail(Http1Fault fault) {
    fault_ = fault;
    state_ = State::kFault;
    return Result::kFault;
}

Http1ChunkedDecoder::Step Http1ChunkedDecoder::next(Bytes input) {
    Step step;
    if (state_ == State::kEnd) {
        step.result = Result::kEnd;
        return step;
    }
    if (state_ == State::kFault) {
        step.result = Result::kFault;
        return step;
    }
    while (step.consumed < input.size()) {
        if (state_ == State::kData) {
            const size_t size = std::min<uint64_t>(left_, input.size() - step.consumed);
            step.payload = input.subspan(step.consumed, size);
            step.consumed += size;
            left_ -= size;
            if (left_ == 0) state_ = State::kDataCr;
            step.result = Result::kPayload;
            return step;
        }
        if (in_trailer(input[step.consumed])) return next_trailer(input, step);
        step.result = take(input[step.consumed]);
        if (step.result == Result::kFault) return step;
        ++step.consumed;
        if (step.result == Result::kEnd) return step;
    }
    return step;
}

// Up to the end of a trailer's line, or of the input.
Http1ChunkedDecoder::Step Http1ChunkedDecoder::next_trailer(Bytes input, Step step) {
    const size_t begin = step.consumed;
    do {
        step.result = take(input[step.consumed]);
        if (step.result == Result::kFault) return step;
        ++step.consumed;
    } while (step.consumed < input.size() && state_ != State::kTrailerStart);
    step.result = Result::kTrailer;
    step.payload = input.subspan(begin, step.consumed - begin);
    return step;
}

bool Http1ChunkedDecoder::in_trailer(uint8_t byte) const {
    return state_ == State::kTrailerName || state_ == State::kTrailerValue ||
           state_ == State::kTrailerLineFeed || (state_ == State::kTrailerStart && byte != '\r');
}

Http1ChunkedDecoder::Result Http1ChunkedDecoder::take(uint8_t byte) {
    switch (state_) {
        case State::kSize:
        case State::kSizeMore:
        case State::kSizeLineFeed:
            return take_size(byte);
        case State::kExtensionName:
        case State::kExtensionValue:
        case State::kExtensionToken:
        case State::kExtensionQuoted:
        case State::kExtensionEscaped:
        case State::kExtensionOver:
            return take_extension(byte);
        case State::kDataCr:
            if (byte != '\r') return fail(Http1Fault::kChunkEndMissing);
            state_ = State::kDataLineFeed;
            return Result::kMore;
        case State::kDataLineFeed:
            if (byte != '\n') return fail(Http1Fault::kChunkEndMissing);
            state_ = State::kSize;
            digits_ = 0;
            return Result::kMore;
        case State::kTrailerStart:
        case State::kTrailerName:
        case State::kTrailerValue:
        case State::kTrailerLineFeed:
        case State::kEndLineFeed:
            return take_trailer(byte);
        case State::kData:
        case State::kEnd:
        case State::kFault:
            break;
    }
    SLUICE_CHECK(false);
}

Http1ChunkedDecoder::Result Http1ChunkedDecoder::take_size(uint8_t byte) {
    switch (state_) {
        case State::kSize:
        case State::kSizeMore: {
            const int digit = hex_digit(byte);
            if (digit >= 0) {
                if (digits_ == kDigitsMax) return fail(Http1Fault::kChunkSizeTooLarge);
                left_ = digits_ == 0 ? static_cast<uint64_t>(digit)
                                     : left_ * 16 + static_cast<uint64_t>(digit);
                ++digits_;
                state_ = State::kSizeMore;
                return Result::kMore;
            }
            // White space before the semicolon is "bad white space" (RFC 9110 section 5.6.3): what
            // it is worth differs between implementations, so it is refused like any other byte.
            if (digits_ == 0 || (byte != '\r' && byte != ';'))
                return fail(Http1Fault::kChunkSizeSyntax);
            extension_ = 0;
            name_size_ = 0;
            state_ = byte == ';' ? State::kExtensionName : State::kSizeLineFeed;
            return Result::kMore;
        }
        default:
            if (byte != '\n') return fail(Http1Fault::kChunkSizeSyntax);
            state_ = left_ == 0 ? State::kTrailerStart : State::kData;
            return Result::kMore;
    }
}

// *( ";" token [ "=" ( token / quoted-string ) ] ), without the bad white space.
Http1ChunkedDecoder::Result Http1ChunkedDecoder::take_extension(uint8_t byte) {
    if (++extension_ > kExtensionMax || ++extension_total_ > kExtensionTotalMax)
        return fail(Http1Fault::kChunkExtensionTooLong);
    const char as_char = static_cast<char>(byte);
    const bool token = is_http1_token({&as_char, 1});
    switch (state_) {
        case State::kExtensionName:
            if (token) {
                name_size_ = 1;
                return Result::kMore;
            }
            if (name_size_ == 0) return fail(Http1Fault::kChunkExtensionSyntax);
            if (byte != '=') return end_extension(byte);
            state_ = State::kExtensionValue;
            return Result::kMore;
        case State::kExtensionValue:
            if (!token && byte != '"') return fail(Http1Fault::kChunkExtensionSyntax);
            state_ = token ? State::kExtensionToken : State::kExtensionQuoted;
            return Result::kMore;
        case State::kExtensionToken:
            return token ? Result::kMore : end_extension(byte);
        case State::kExtensionOver:
            return end_extension(byte);
        default:
            if ((byte < 0x20 && byte != '\t') || byte >= 0x7f)
                return fail(Http1Fault::kChunkExtensionSyntax);
            if (state_ == State::kExtensionEscaped) {
                state_ = State::kExtensionQuoted;
            } else if (byte == '\\') {
                state_ = State::kExtensionEscaped;
            } else if (byte == '"') {
                state_ = State::kExtensionOver;
            }
            return Result::kMore;
    }
}

Http1ChunkedDecoder::Result Http1ChunkedDecoder::end_extension(uint8_t byte) {
    if (byte != '\r' && byte != ';') return fail(Http1Fault::kChunkExtensionSyntax);
    name_size_ = 0;
    state_ = byte == ';' ? State::kExtensionName : State::kSizeLineFeed;
    return Result::kMore;
}

Http1ChunkedDecoder::Result Http1ChunkedDecoder::take_trailer(uint8_t byte) {
    if (++trailer_total_ > kTrailerTotalMax) return fail(Http1Fault::kTrailerTooLong);
    const char as_char = static_cast<char>(byte);
    switch (state_) {
        case State::kTrailerStart:
            if (byte == '\r') {
                state_ = State::kEndLineFeed;
                return Result::kMore;
            }
            [[fallthrough]];
        case State::kTrailerName:
            if (byte == ':' && state_ == State::kTrailerName) {
                if (is_trailer_forbidden()) return fail(Http1Fault::kTrailerForbidden);
                state_ = State::kTrailerValue;
                return Result::kMore;
            }
            if (!is_http1_token({&as_char, 1})) return fail(Http1Fault::kTrailerSyntax);
            if (state_ == State::kTrailerStart) {
                if (++trailers_ > kTrailersMax) return fail(Http1Fault::kTrailerTooLong);
                name_size_ = 0;
            }
            if (name_size_ < name_.size()) name_[name_size_++] = as_char;
            state_ = State::kTrailerName;
            return Result::kMore;
        case State::kTrailerValue:
            if (byte == '\r') {
                state_ = State::kTrailerLineFeed;
                return Result::kMore;
            }
            if (!is_http1_field_value({&as_char, 1})) return fail(Http1Fault::kTrailerSyntax);
            return Result::kMore;
        case State::kTrailerLineFeed:
            if (byte != '\n') return fail(Http1Fault::kTrailerSyntax);
            state_ = State::kTrailerStart;
            return Result::kMore;
        default:
            if (byte != '\n') return fail(Http1Fault::kTrailerSyntax);
            state_ = State::kEnd;
            return Result::kEnd;
    }
}

bool Http1ChunkedDecoder::is_trailer_forbidden() const {
    const std::string_view name(name_.data(), name_size_);
    return equals_ignoring_case(name, "transfer-encoding") ||
           equals_ignoring_case(name, "content-length") || equals_ignoring_case(name, "host");
}

Http1ChunkPrefix::Http1ChunkPrefix(uint32_t payload_size) {
    SLUICE_CHECK(payload_size > 0);
    size_t at = kSizeMax;
    text_[--at] = '\n';
    text_[--at] = '\r';
    for (; payload_size != 0; payload_size >>= 4)
        text_[--at] = "0123456789abcdef"[payload_size & 15];
    begin_ = static_cast<uint8_t>(at);
}

}  // namespace sluice::wire
