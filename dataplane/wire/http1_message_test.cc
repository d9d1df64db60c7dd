#include "dataplane/wire/http1_message.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/wire/http1_writer.h"

namespace sluice::wire {
namespace {

using namespace std::string_literals;

struct Outcome {
    std::optional<Http1Fault> fault;
    bool complete = false;
    size_t head_size = 0;
    Http1RequestHead request;
    Http1ResponseHead response;
};

// Gives the scanner `step` bytes more a time; 0: all at once.
Outcome read_head(std::string_view input, Http1Kind kind, std::span<Http1Field> storage,
                  size_t step = 0, const Http1Limits& limits = {}) {
    Http1HeadScanner scanner;
    Outcome outcome;
    for (size_t end = step == 0 ? input.size() : 0;; end = std::min(end + step, input.size())) {
        const Bytes buffer = as_bytes(input.substr(0, end));
        const auto result = scanner.scan(buffer, kind, limits);
        if (result == Http1HeadScanner::Result::kFault) {
            outcome.fault = scanner.fault();
            return outcome;
        }
        if (result == Http1HeadScanner::Result::kComplete) break;
        if (end == input.size()) return outcome;
    }
    outcome.complete = true;
    outcome.head_size = scanner.head_size();
    const Bytes head = as_bytes(input.substr(0, scanner.head_size()));
    if (kind == Http1Kind::kRequest) {
        const auto parsed = parse_request_head(head, storage);
        if (parsed) outcome.request = *parsed;
        if (!parsed) outcome.fault = parsed.error();
    } else {
        const auto parsed = parse_response_head(head, storage);
        if (parsed) outcome.response = *parsed;
        if (!parsed) outcome.fault = parsed.error();
    }
    return outcome;
}

struct Refused {
    const char* rule;  // where it is written
    std::string input;
    Http1Fault fault;
};

const std::vector<Refused> kRefusedRequests = {
    {"RFC 9112 2.2: a line ends in CRLF", "GET / HTTP/1.1\nHost: a\r\n\r\n",
     Http1Fault::kLineFeedAlone},
    {"RFC 9112 2.2: a header line too", "GET / HTTP/1.1\r\nHost: a\n\r\n",
     Http1Fault::kLineFeedAlone},
    {"RFC 9112 2.2: and the empty one", "GET / HTTP/1.1\r\nHost: a\r\n\n",
     Http1Fault::kLineFeedAlone},
    {"RFC 9112 2.2: LF alone before a request", "\nGET / HTTP/1.1\r\n\r\n",
     Http1Fault::kLineFeedAlone},
    {"RFC 9112 2.2: one empty line before a request, not two", "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
     Http1Fault::kRequestLineSyntax},
    {"RFC 9112 2.2: bare CR in the request line", "GET /\rX HTTP/1.1\r\n\r\n",
     Http1Fault::kTargetSyntax},
    {"RFC 9112 2.2: bare CR in a value", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
     Http1Fault::kControlByte},
    {"RFC 9112 2.2: bare CR at a line's end", "GET / HTTP/1.1\r\nA: b\r\r\n\r\n",
     Http1Fault::kControlByte},
    {"RFC 9112 2.2: bare CR in a name", "GET / HTTP/1.1\r\nA\r: b\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9112 2.2: white space before the first header", "GET / HTTP/1.1\r\n A: b\r\n\r\n",
     Http1Fault::kFieldFolded},
    {"RFC 9112 5.2: no folding with a space", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
     Http1Fault::kFieldFolded},
    {"RFC 9112 5.2: no folding with a tab", "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n",
     Http1Fault::kFieldFolded},
    {"RFC 9112 5.1: no space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9112 5.1: no tab before the colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9112 5: a header has a name", "GET / HTTP/1.1\r\n: a\r\n\r\n", Http1Fault::kFieldSyntax},
    {"RFC 9112 5: a header has a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9110 5.1: names are tokens", "GET / HTTP/1.1\r\nA(b): c\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9110 5.1: names are ASCII", "GET / HTTP/1.1\r\nH\xc3\xb6st: c\r\n\r\n",
     Http1Fault::kFieldSyntax},
    {"RFC 9110 5.1: no NUL in names", "GET / HTTP/1.1\r\nA\0b: c\r\n\r\n"s,
     Http1Fault::kFieldSyntax},
    {"RFC 9110 5.5: no NUL in values", "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n"s,
     Http1Fault::kControlByte},
    {"RFC 9110 5.5: no other control byte", "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n",
     Http1Fault::kControlByte},
    {"RFC 9110 5.5: no DEL", "GET / HTTP/1.1\r\nA: 0123456\x7f\r\n\r\n", Http1Fault::kControlByte},
    {"RFC 9112 3: one space, not two", "GET  / HTTP/1.1\r\n\r\n", Http1Fault::kTargetSyntax},
    {"RFC 9112 3: nor before the version", "GET /  HTTP/1.1\r\n\r\n", Http1Fault::kTargetSyntax},
    {"RFC 9112 3: no tab between", "GET\t/ HTTP/1.1\r\n\r\n", Http1Fault::kRequestLineSyntax},
    {"RFC 9112 3: nothing behind the version", "GET / HTTP/1.1 \r\n\r\n",
     Http1Fault::kTargetSyntax},
    {"RFC 9112 3: nothing before the method", " GET / HTTP/1.1\r\n\r\n", Http1Fault::kMethodSyntax},
    {"RFC 9112 3: no space in the target", "GET /a b HTTP/1.1\r\n\r\n", Http1Fault::kTargetSyntax},
    {"RFC 9112 3: HTTP/0.9 is over", "GET /\r\n\r\n", Http1Fault::kRequestLineSyntax},
    {"RFC 9112 3.1: methods are tokens", "G@T / HTTP/1.1\r\n\r\n", Http1Fault::kMethodSyntax},
    {"RFC 9112 3.2: targets are ASCII", "GET /\xff HTTP/1.1\r\n\r\n", Http1Fault::kTargetSyntax},
    {"RFC 9112 3.2: no control byte in targets", "GET /\x01 HTTP/1.1\r\n\r\n",
     Http1Fault::kTargetSyntax},
    {"RFC 9112 2.3: the version is in capitals", "GET / http/1.1\r\n\r\n",
     Http1Fault::kVersionSyntax},
    {"RFC 9112 2.3: the version is one digit each", "GET / HTTP/1.10\r\n\r\n",
     Http1Fault::kVersionSyntax},
    {"RFC 9112 2.3: the version has a dot", "GET / HTTP/1,1\r\n\r\n", Http1Fault::kVersionSyntax},
    {"RFC 9112 2.3: the version is HTTP's", "GET / HTCPCP/1.0\r\n\r\n", Http1Fault::kVersionSyntax},
    {"RFC 9110 15.6.6: HTTP/2 begins otherwise", "PRI * HTTP/2.0\r\n\r\n",
     Http1Fault::kVersionUnsupported},
    {"RFC 9110 15.6.6: there is no 1.2", "GET / HTTP/1.2\r\n\r\n", Http1Fault::kVersionUnsupported},
    {"RFC 9110 15.6.6: nor 0.9 with a version", "GET / HTTP/0.9\r\n\r\n",
     Http1Fault::kVersionUnsupported},
};

TEST_CASE("requests that could be read in two ways are refused, however they are split") {
    std::vector<Http1Field> storage(100);
    for (const Refused& refused : kRefusedRequests) {
        INFO(refused.rule);
        for (const size_t step : {0, 1, 2, 3, 7}) {
            const Outcome outcome = read_head(refused.input, Http1Kind::kRequest, storage, step);
            REQUIRE(outcome.fault);
            CHECK(text_of(*outcome.fault).sentence == text_of(refused.fault).sentence);
        }
    }
}

const std::vector<Refused> kRefusedResponses = {
    {"RFC 9112 4: a status line begins the response", "\r\nHTTP/1.1 200 OK\r\n\r\n",
     Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: with a version", "ICY 200 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: one space", "HTTP/1.1  200 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: three digits", "HTTP/1.1 20 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: not four", "HTTP/1.1 2000 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: digits only", "HTTP/1.1 +20 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9110 15: from 100", "HTTP/1.1 099 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9110 15: to 599", "HTTP/1.1 600 OK\r\n\r\n", Http1Fault::kStatusLineSyntax},
    {"RFC 9112 4: no control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n",
     Http1Fault::kControlByte},
    {"RFC 9112 4: nor CR", "HTTP/1.1 200 O\rK\r\n\r\n", Http1Fault::kControlByte},
    {"RFC 9112 2.2: CRLF", "HTTP/1.1 200 OK\nA: b\r\n\r\n", Http1Fault::kLineFeedAlone},
    {"RFC 9112 2.3: version", "HTTP/2.0 200 OK\r\n\r\n", Http1Fault::kVersionUnsupported},
    {"RFC 9112 5.2: no folding", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Http1Fault::kFieldFolded},
    {"RFC 9112 5.1: no space before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
     Http1Fault::kFieldSyntax},
};

TEST_CASE("responses that are malformed are refused, however they are split") {
    std::vector<Http1Field> storage(100);
    for (const Refused& refused : kRefusedResponses) {
        INFO(refused.rule);
        for (const size_t step : {0, 1, 5}) {
            const Outcome outcome = read_head(refused.input, Http1Kind::kResponse, storage, step);
            REQUIRE(outcome.fault);
            CHECK(text_of(*outcome.fault).sentence == text_of(refused.fault).sentence);
        }
    }
}

TEST_CASE("a request head is taken apart, however it is split") {
    const std::string input =
        "\r\nM-SEARCH /a?b|c HTTP/1.0\r\n"
        "Host:example.org\r\n"
        "X-Empty:\r\n"
        "X-Blank: \t \r\n"
        "X-Text: \t a \x80\xff\tb:c \t\r\n"
        "\r\n"
        "body";
    for (size_t step = 0; step <= input.size(); ++step) {
        std::vector<Http1Field> storage(4);
        const Outcome outcome = read_head(input, Http1Kind::kRequest, storage, step);
        REQUIRE(outcome.complete);
        REQUIRE_FALSE(outcome.fault);
        CHECK(outcome.head_size == input.size() - 4);
        const Http1RequestHead& head = outcome.request;
        CHECK(head.method == "M-SEARCH");
        CHECK(head.target == "/a?b|c");
        CHECK(head.minor_version == 0);
        REQUIRE(head.fields.size() == 4);
        CHECK(head.fields[0].name == "Host");
        CHECK(head.fields[0].value == "example.org");
        CHECK(head.fields[1].value.empty());
        CHECK(head.fields[2].value.empty());
        CHECK(head.fields[3].value == "a \x80\xff\tb:c");
    }
}

TEST_CASE("a response head is taken apart") {
    std::vector<Http1Field> storage(4);
    const Outcome with_reason =
        read_head("HTTP/1.1 404 Not here, sorry\r\nA: b\r\n\r\n", Http1Kind::kResponse, storage, 1);
    CHECK(with_reason.response.status == 404);
    CHECK(with_reason.response.reason == "Not here, sorry");
    CHECK(with_reason.response.minor_version == 1);
    REQUIRE(with_reason.response.fields.size() == 1);
    CHECK(
        read_head("HTTP/1.0 200 \r\n\r\n", Http1Kind::kResponse, storage).response.reason.empty());
    CHECK(read_head("HTTP/1.0 200\r\n\r\n", Http1Kind::kResponse, storage).response.status == 200);
}

TEST_CASE("limits hold to the byte, however the head is split") {
    std::vector<Http1Field> storage(3);
    const Http1Limits limits{.head_bytes_max = 60, .request_line_max = 30};
    const auto fault_of = [&](const std::string& input, Http1Kind kind) {
        const auto whole = read_head(input, kind, storage, 0, limits).fault;
        for (size_t step = 1; step < 9; ++step)
            CHECK(read_head(input, kind, storage, step, limits).fault == whole);
        return whole;
    };
    const std::string line_of_30 = "GET /" + std::string(14, 'a') + " HTTP/1.1\r\n";
    REQUIRE(line_of_30.size() == 30);
    const std::string line_of_31 = "GET /" + std::string(15, 'a') + " HTTP/1.1\r\n";
    CHECK(fault_of(line_of_30 + "\r\n", Http1Kind::kRequest) == std::nullopt);
    CHECK(fault_of(line_of_31 + "\r\n", Http1Kind::kRequest) == Http1Fault::kRequestLineTooLong);
    // The end of the line need not have come: 414 (RFC 9110 15.5.15).
    CHECK(fault_of(std::string(30, 'a'), Http1Kind::kRequest) == Http1Fault::kRequestLineTooLong);
    CHECK(fault_of(std::string(29, 'a'), Http1Kind::kRequest) == std::nullopt);

    // 431 (RFC 6585 5).
    const std::string head_of_60 = line_of_30 + "A: " + std::string(23, 'b') + "\r\n\r\n";
    REQUIRE(head_of_60.size() == 60);
    CHECK(fault_of(head_of_60, Http1Kind::kRequest) == std::nullopt);
    const std::string head_of_61 = line_of_30 + "A: " + std::string(24, 'b') + "\r\n\r\n";
    CHECK(fault_of(head_of_61, Http1Kind::kRequest) == Http1Fault::kHeadTooLarge);
    CHECK(fault_of("HTTP/1.1 200 OK\r\nA: " + std::string(80, 'b'), Http1Kind::kResponse) ==
          Http1Fault::kHeadTooLarge);

    CHECK(fault_of("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n", Http1Kind::kRequest) ==
          std::nullopt);
    CHECK(fault_of("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n", Http1Kind::kRequest) ==
          Http1Fault::kTooManyFields);
}

TEST_CASE("every byte is judged the same wherever it stands in a value") {
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool allowed = byte >= 0x20 ? byte != 0x7f : byte == '\t';
        for (size_t length = 1; length < 20; ++length) {
            for (size_t at = 0; at < length; ++at) {
                std::string value(length, 'a');
                value[at] = static_cast<char>(byte);
                REQUIRE(is_http1_field_value(value) == allowed);
            }
        }
    }
}

TEST_CASE("statuses for the faults of a request") {
    CHECK(text_of(Http1Fault::kRequestLineTooLong).status == 414);
    CHECK(text_of(Http1Fault::kHeadTooLarge).status == 431);
    CHECK(text_of(Http1Fault::kTooManyFields).status == 431);
    CHECK(text_of(Http1Fault::kVersionUnsupported).status == 505);
    CHECK(text_of(Http1Fault::kTransferEncodingUnknown).status == 501);
    CHECK(text_of(Http1Fault::kExpectUnknown).status == 417);
    CHECK(text_of(Http1Fault::kFieldFolded).status == 400);
}

TEST_CASE("what is written is what was asked for, or nothing") {
    std::vector<uint8_t> into(74);
    Http1HeadWriter writer(into);
    writer.request_line("GET", "/a", "?b");
    writer.field("Host", "c");
    writer.field("Content-Length", uint64_t{18446744073709551615u});
    REQUIRE(writer.ok());
    const std::string expected =
        "GET /a?b HTTP/1.1\r\nHost: c\r\nContent-Length: 18446744073709551615\r\n";
    CHECK(as_text({into.data(), writer.size()}) == expected);
    writer.field("X", "0123");  // one byte too long
    CHECK_FALSE(writer.ok());
    CHECK(writer.size() == expected.size());
    writer.end();  // would fit, but a head with a hole must never look complete
    CHECK(writer.size() == expected.size());
}

TEST_CASE("no value becomes a second line") {
    for (const std::string& value :
         std::vector<std::string>{"a\r\nX: b", "a\nb", "a\rb", "a\r\n\r\n", "\r", "\n"}) {
        std::vector<uint8_t> into(64);
        Http1HeadWriter writer(into);
        writer.field("A", value);
        CHECK_FALSE(writer.ok());
        CHECK(writer.size() == 0);
    }
}

}  // namespace
}  // namespace sluice::wire
