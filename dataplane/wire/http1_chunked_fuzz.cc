// Any bytes as a chunked body. First byte: how the input is split.
//  - Whatever the split, body, trailers, end and fault are the same.
//  - A body that ends is the one that a reader of lines and counts, written from the grammar of
//    RFC 9112 section 7.1, finds too.
//  - The body, put into chunks by us, is read back as it was.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/check.h"
#include "dataplane/wire/http1_chunked.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

struct Outcome {
    std::string body;
    std::string trailers;
    std::optional<Http1Fault> fault;
    size_t end = 0;  // 0: the body has not ended
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome decode(std::string_view input, size_t step) {
    Http1ChunkedDecoder decoder;
    Outcome outcome;
    size_t begin = 0;
    for (size_t end = std::min(step, input.size());;) {
        const auto taken = decoder.next(as_bytes(input.substr(begin, end - begin)));
        const bool trailer = taken.result == Http1ChunkedDecoder::Result::kTrailer;
        (trailer ? outcome.trailers : outcome.body) += as_text(taken.payload);
        begin += taken.consumed;
        SLUICE_CHECK(begin <= end);
        if (taken.result == Http1ChunkedDecoder::Result::kFault) {
            outcome.fault = decoder.fault();
            outcome.trailers.clear();  // nobody passes on what came before
            return outcome;
        }
        if (taken.result == Http1ChunkedDecoder::Result::kEnd) {
            outcome.end = begin;
            return outcome;
        }
        if (trailer || taken.result == Http1ChunkedDecoder::Result::kPayload) {
            SLUICE_CHECK(!taken.payload.empty());
            continue;
        }
        SLUICE_CHECK(begin == end);
        if (end == input.size()) return outcome;
        end = std::min(end + step, input.size());
    }
}

// The reader of lines and counts. Precondition: the body ends somewhere.
Outcome read_lines(std::string_view input) {
    Outcome outcome;
    size_t at = 0;
    const auto line = [&] {
        const size_t end = input.find("\r\n", at);
        SLUICE_CHECK(end != std::string_view::npos);
        const std::string_view text = input.substr(at, end - at);
        at = end + 2;
        SLUICE_CHECK(text.find_first_of("\r\n") == std::string_view::npos);
        return text;
    };
    for (;;) {
        const std::string size_text(line());
        const std::string digits = size_text.substr(0, size_text.find(';'));
        SLUICE_CHECK(!digits.empty() &&
                     digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos);
        const size_t size = std::stoul(digits, nullptr, 16);
        if (size == 0) break;
        SLUICE_CHECK(size <= input.size() - at);
        outcome.body += input.substr(at, size);
        at += size;
        SLUICE_CHECK(line().empty());
    }
    for (std::string_view trailer = line(); !trailer.empty(); trailer = line()) {
        const size_t colon = trailer.find(':');
        SLUICE_CHECK(colon != std::string_view::npos && is_http1_token(trailer.substr(0, colon)));
        outcome.trailers.append(trailer).append("\r\n");
    }
    outcome.end = at;
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const size_t step = size_t{data[0]} + 1;
    const std::string_view input = as_text({data + 1, size - 1});
    const Outcome whole = decode(input, input.size() + 1);
    SLUICE_CHECK(decode(input, step) == whole);
    SLUICE_CHECK(decode(input, 1) == whole);
    if (whole.end == 0) return 0;
    SLUICE_CHECK(read_lines(input) == whole);

    std::string framed;
    for (size_t at = 0; at < whole.body.size(); at += step) {
        const std::string piece = whole.body.substr(at, step);
        framed += Http1ChunkPrefix(static_cast<uint32_t>(piece.size())).text();
        framed += piece;
        framed += kHttp1ChunkSuffix;
    }
    framed += kHttp1LastChunk;
    const Outcome again = decode(framed, 7);
    SLUICE_CHECK(again.body == whole.body && again.end == framed.size());
    return 0;
}
