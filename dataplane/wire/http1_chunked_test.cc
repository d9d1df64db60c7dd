#include "dataplane/wire/http1_chunked.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice::wire {
namespace {

struct Decoded {
    std::string body;
    std::string trailers;
    std::optional<Http1Fault> fault;
    bool ended = false;
    std::string rest;

    friend bool operator==(const Decoded&, const Decoded&) = default;
};

// Gives the decoder `step` bytes a time; 0: all at once.
Decoded decode(std::string_view input, size_t step = 0) {
    Http1ChunkedDecoder decoder;
    Decoded decoded;
    size_t begin = 0;
    for (size_t end = step == 0 ? input.size() : std::min(step, input.size());;) {
        const auto taken = decoder.next(as_bytes(input.substr(begin, end - begin)));
        const bool trailer = taken.result == Http1ChunkedDecoder::Result::kTrailer;
        (trailer ? decoded.trailers : decoded.body) += as_text(taken.payload);
        begin += taken.consumed;
        if (taken.result == Http1ChunkedDecoder::Result::kFault) {
            decoded.fault = decoder.fault();
            decoded.trailers.clear();  // nobody passes on what came before
            return decoded;
        }
        if (taken.result == Http1ChunkedDecoder::Result::kEnd) {
            decoded.ended = true;
            decoded.rest = input.substr(begin);
            return decoded;
        }
        if (trailer || taken.result == Http1ChunkedDecoder::Result::kPayload) continue;
        CHECK(begin == end);
        if (end == input.size()) return decoded;
        end = std::min(end + step, input.size());
    }
}

TEST_CASE("a chunked body is the same however it is split") {
    const std::string input =
        "5\r\nhello\r\n"
        "00a;name=value;x=\"y\\\"; z\";flag\r\n0123456789\r\n"
        "1F\r\n" +
        std::string(31, 'f') +
        "\r\n"
        "000\r\nTrailer: one\r\nTransfer-Encodings: x\r\nHos:\r\n\r\n"
        "GET / HTTP/1.1\r\n";
    for (size_t step = 0; step <= input.size(); ++step) {
        const Decoded decoded = decode(input, step);
        CHECK(decoded.ended);
        CHECK(decoded.body == "hello0123456789" + std::string(31, 'f'));
        CHECK(decoded.trailers == "Trailer: one\r\nTransfer-Encodings: x\r\nHos:\r\n");
        CHECK(decoded.rest == "GET / HTTP/1.1\r\n");
    }
}

TEST_CASE("a body that has not come to its end is not at its end") {
    const std::string input = "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for (size_t size = 0; size < input.size(); ++size) {
        const Decoded decoded = decode(input.substr(0, size));
        CHECK_FALSE(decoded.ended);
        CHECK_FALSE(decoded.fault);
    }
}

TEST_CASE("chunks that could be read in two ways are refused, however they are split") {
    struct Refused {
        const char* rule;
        std::string input;
        Http1Fault fault;
    };
    const std::vector<Refused> all = {
        {"RFC 9112 7.1: a chunk has a size", "\r\nhello\r\n0\r\n\r\n",
         Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: hexadecimal", "g\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: no prefix", "0x5\r\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: no sign", "+5\r\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: not negative", "-5\r\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: no underscores", "1_0\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: no space before", " 5\r\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: no space behind", "5 \r\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9110 5.6.3: nor before an extension", "5 ;a\r\nhello\r\n",
         Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 2.2: LF alone behind the size", "5\nhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 2.2: CR alone behind the size", "5\rhello\r\n", Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1: the size overflows nothing", "fffffffffffffffff\r\n",
         Http1Fault::kChunkSizeTooLarge},
        {"RFC 9112 7.1: nor does its length", "0000000000000005\r\nhello\r\n",
         Http1Fault::kChunkSizeTooLarge},
        {"RFC 9112 7.1: the chunk is longer than its size", "5\r\nhello!\r\n",
         Http1Fault::kChunkEndMissing},
        {"RFC 9112 2.2: LF alone behind the chunk", "5\r\nhello\n0\r\n\r\n",
         Http1Fault::kChunkEndMissing},
        {"RFC 9112 2.2: CR alone behind the chunk", "5\r\nhello\r0\r\n\r\n",
         Http1Fault::kChunkEndMissing},
        {"RFC 9112 7.1.1: no LF in an extension", "5;a\nhello\r\n0\r\n\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: no CR in an extension", "5;a\rb\r\nhello\r\n",
         Http1Fault::kChunkSizeSyntax},
        {"RFC 9112 7.1.1: no control byte in one", "5;a\x01\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: only ASCII", "5;a=\x80\r\nhello\r\n", Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: an extension has a name", "5;\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: each has one", "5;a;\r\nhello\r\n", Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: which is a token", "5;a:b\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: its value is something", "5;a=\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: a token", "5;a=b c\r\nhello\r\n", Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: or quoted to the end", "5;a=\"b\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: and no further", "5;a=\"b\"c\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9110 5.6.3: no white space around", "5; a\r\nhello\r\n",
         Http1Fault::kChunkExtensionSyntax},
        {"RFC 9112 7.1.1: not without bounds", "5;" + std::string(300, 'a') + "\r\nhello\r\n",
         Http1Fault::kChunkExtensionTooLong},
        {"RFC 9112 7.1.2: trailers are headers", "0\r\nA b: c\r\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 7.1.2: with a name", "0\r\n: c\r\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 7.1.2: with a colon", "0\r\nabc\r\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 5.2: not folded", "0\r\nA: b\r\n c\r\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9110 5.5: without control bytes", "0\r\nA: \x02\r\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 2.2: LF alone in a trailer", "0\r\nA: b\n\r\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 2.2: LF alone at the end", "0\r\n\n", Http1Fault::kTrailerSyntax},
        {"RFC 9112 2.2: CR alone at the end", "0\r\n\rX", Http1Fault::kTrailerSyntax},
        {"RFC 9110 6.5.1: no framing in trailers", "0\r\nContent-Length: 5\r\n\r\n",
         Http1Fault::kTrailerForbidden},
        {"RFC 9110 6.5.1: in any spelling", "0\r\nA: b\r\ntRANSFER-eNCODING: chunked\r\n\r\n",
         Http1Fault::kTrailerForbidden},
        {"RFC 9110 6.5.1: no routing either", "0\r\nhost: a\r\n\r\n",
         Http1Fault::kTrailerForbidden},
        {"RFC 9112 7.1.2: not without bounds", "0\r\nA: " + std::string(9000, 'a') + "\r\n\r\n",
         Http1Fault::kTrailerTooLong},
    };
    for (const Refused& refused : all) {
        INFO(refused.rule);
        const Decoded whole = decode(refused.input);
        REQUIRE(whole.fault);
        CHECK(text_of(*whole.fault).sentence == text_of(refused.fault).sentence);
        for (size_t step = 1; step < std::min<size_t>(refused.input.size(), 12); ++step)
            CHECK(decode(refused.input, step) == whole);
    }
}

TEST_CASE("extensions of a whole body are bounded together") {
    const std::string chunk = "1;" + std::string(200, 'a') + "\r\nx\r\n";
    std::string input;
    for (int i = 0; i < 100; ++i)
        input += chunk;
    const Decoded decoded = decode(input + "0\r\n\r\n");
    CHECK(decoded.fault == Http1Fault::kChunkExtensionTooLong);
    CHECK(decoded.body.size() == Http1ChunkedDecoder::kExtensionTotalMax / 201);
}

TEST_CASE("the largest size that is taken is taken right") {
    Http1ChunkedDecoder decoder;
    const auto step = decoder.next(as_bytes("fffffffffffffff\r\nabc"));
    CHECK(step.result == Http1ChunkedDecoder::Result::kPayload);
    CHECK(as_text(step.payload) == "abc");
}

TEST_CASE("after the end and after a fault nothing is taken") {
    Http1ChunkedDecoder ended;
    CHECK(ended.next(as_bytes("0\r\n\r\n")).result == Http1ChunkedDecoder::Result::kEnd);
    CHECK(ended.next(as_bytes("5\r\n")).result == Http1ChunkedDecoder::Result::kEnd);
    CHECK(ended.next(as_bytes("5\r\n")).consumed == 0);
    Http1ChunkedDecoder broken;
    CHECK(broken.next(as_bytes("x")).result == Http1ChunkedDecoder::Result::kFault);
    CHECK(broken.next(as_bytes("0\r\n\r\n")).result == Http1ChunkedDecoder::Result::kFault);
}

TEST_CASE("a prefix that was written is read back") {
    for (const uint32_t size : {1u, 9u, 10u, 16u, 16384u, 65536u, 0xffffffffu}) {
        const Http1ChunkPrefix prefix(size);
        Http1ChunkedDecoder decoder;
        const std::string input = std::string(prefix.text()) + "x";
        const auto step = decoder.next(as_bytes(input));
        REQUIRE(step.result == Http1ChunkedDecoder::Result::kPayload);
        CHECK(step.consumed == input.size());
        char expected[16];
        std::snprintf(expected, sizeof expected, "%x\r\n", size);
        CHECK(prefix.text() == expected);
    }
}

}  // namespace
}  // namespace sluice::wire
