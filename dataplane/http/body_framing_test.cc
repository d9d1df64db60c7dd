#include "dataplane/http/body_framing.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

using wire::Http1Fault;

std::string_view kind_name(BodyKind kind) {
    switch (kind) {
        case BodyKind::kNone:
            return "none";
        case BodyKind::kLength:
            return "length";
        case BodyKind::kChunked:
            return "chunked";
        case BodyKind::kUntilClose:
            return "until close";
    }
    return "?";
}

struct RequestCase {
    const char* rule;
    std::string fields;  // whole lines
    BodyKind kind = BodyKind::kNone;
    uint64_t length = 0;
    bool close = false;
    bool expects = false;
    std::optional<Http1Fault> fault = {};
    uint8_t minor = 1;
};

std::expected<RequestFraming, Http1Fault> frame(const std::string& fields, uint8_t minor) {
    std::vector<wire::Http1Field> storage(100);
    const std::string head = "POST / HTTP/1." + std::to_string(minor) + "\r\n" + fields + "\r\n";
    const auto parsed = wire::parse_request_head(as_bytes(head), storage);
    REQUIRE(parsed);
    return frame_request(*parsed);
}

TEST_CASE("where a request ends") {
    const std::vector<RequestCase> cases = {
        {"RFC 9112 6.3 (7): neither header, no body", ""},
        {"RFC 9112 6.3 (6): Content-Length", "Content-Length: 12\r\n", BodyKind::kLength, 12},
        {"RFC 9112 6.3 (6): of nothing", "content-length: 0\r\n", BodyKind::kLength, 0},
        {"RFC 9110 8.6: zeros in front", "Content-Length: 0012\r\n", BodyKind::kLength, 12},
        {"RFC 9110 8.6: the largest", "Content-Length: 9223372036854775807\r\n", BodyKind::kLength,
         9223372036854775807u},
        {"RFC 9112 6.3 (4): chunked", "Transfer-Encoding: chunked\r\n", BodyKind::kChunked},
        {"RFC 9112 7: names of codings have no case", "transfer-encoding: ChunKed\r\n",
         BodyKind::kChunked},
        {"RFC 9112 9.3: close", "Connection: keep-alive, Close\r\n", BodyKind::kNone, 0, true},
        {"RFC 9112 9.3: HTTP/1.0 is not kept",
         "Connection: keep-alive\r\n",
         BodyKind::kNone,
         0,
         true,
         false,
         {},
         0},
        {"RFC 9110 10.1.1: Expect", "Expect: 100-Continue\r\nContent-Length: 1\r\n",
         BodyKind::kLength, 1, false, true},
        {"RFC 9110 10.1.1: not without a body", "Expect: 100-continue\r\n"},
        {"RFC 9110 10.1.1: not of 1.0",
         "Expect: 100-continue\r\nContent-Length: 1\r\n",
         BodyKind::kLength,
         1,
         true,
         false,
         {},
         0},
        {"an underscore makes another header",
         "Content_Length: 7\r\nTransfer_Encoding: chunked\r\n"},
    };
    for (const RequestCase& tried : cases) {
        INFO(tried.rule);
        const auto framing = frame(tried.fields, tried.minor);
        REQUIRE(framing);
        CHECK(kind_name(framing->body.kind) == kind_name(tried.kind));
        CHECK(framing->body.length == tried.length);
        CHECK(framing->close == tried.close);
        CHECK(framing->expects_continue == tried.expects);
    }
}

TEST_CASE("requests whose end is in doubt are refused") {
    const auto refused = [](const char* rule, const char* fields, Http1Fault fault,
                            uint8_t minor = 1) {
        INFO(rule);
        const auto framing = frame(fields, minor);
        REQUIRE_FALSE(framing);
        CHECK(text_of(framing.error()).sentence == text_of(fault).sentence);
    };
    const auto length = Http1Fault::kContentLengthSyntax;
    refused("RFC 9110 8.6: digits", "Content-Length: x\r\n", length);
    refused("RFC 9110 8.6: no sign", "Content-Length: +1\r\n", length);
    refused("RFC 9110 8.6: not negative", "Content-Length: -1\r\n", length);
    refused("RFC 9110 8.6: decimal", "Content-Length: 0x1\r\n", length);
    refused("RFC 9110 8.6: no underscores", "Content-Length: 1_0\r\n", length);
    refused("RFC 9110 8.6: whole", "Content-Length: 1.0\r\n", length);
    refused("RFC 9110 8.6: not empty", "Content-Length:\r\n", length);
    refused("RFC 9110 8.6: no white space inside", "Content-Length: 1 0\r\n", length);
    refused("RFC 9110 8.6: no list, even of one number", "Content-Length: 5, 5\r\n", length);
    refused("RFC 9110 8.6: no overflow of 63 bits", "Content-Length: 9223372036854775808\r\n",
            length);
    refused("RFC 9110 8.6: nor of 64", "Content-Length: 18446744073709551621\r\n", length);
    refused("RFC 9112 6.3 (5): two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n",
            Http1Fault::kContentLengthRepeated);
    refused("RFC 9112 6.3 (5): twice the same", "Content-Length: 5\r\ncontent-length: 5\r\n",
            Http1Fault::kContentLengthRepeated);
    refused("RFC 9112 6.1: both", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Http1Fault::kContentLengthWithTransferEncoding);
    refused("RFC 9112 6.1: both, the other way",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Http1Fault::kContentLengthWithTransferEncoding);
    refused("RFC 9112 6.1: in HTTP/1.0", "Transfer-Encoding: chunked\r\n",
            Http1Fault::kTransferEncodingInOldVersion, 0);
    const auto coding = Http1Fault::kTransferEncodingSyntax;
    refused("RFC 9112 6.1: twice", "Transfer-Encoding: chunked, chunked\r\n", coding);
    refused("RFC 9112 6.1: twice, two headers",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", coding);
    refused("RFC 9112 6.1: not last", "Transfer-Encoding: chunked, gzip\r\n", coding);
    refused("RFC 9112 6.1: after another", "Transfer-Encoding: gzip, chunked\r\n", coding);
    refused("RFC 9112 7: quoted", "Transfer-Encoding: \"chunked\"\r\n", coding);
    refused("RFC 9112 7: with a vertical neighbour", "Transfer-Encoding: chunked;a=b\r\n", coding);
    refused("RFC 9112 7: empty", "Transfer-Encoding:\r\n", coding);
    const auto unknown = Http1Fault::kTransferEncodingUnknown;
    refused("RFC 9112 6.1: unknown", "Transfer-Encoding: xchunked\r\n", unknown);
    refused("RFC 9112 6.1: identity is gone", "Transfer-Encoding: identity\r\n", unknown);
    refused("RFC 9112 6.1: gzip", "Transfer-Encoding: gzip\r\n", unknown);
    refused("RFC 9110 10.1.1: unknown expectation", "Expect: tea\r\n", Http1Fault::kExpectUnknown);
    refused("RFC 9110 7.6.1: options are tokens", "Connection: close;now\r\n",
            Http1Fault::kConnectionSyntax);
    refused("more options than anybody needs",
            "Connection: a,b,c,d,e,f,g,h\r\nConnection: i,j,k,l,m,n,o,p,q\r\n",
            Http1Fault::kConnectionSyntax);
}

std::expected<ResponseFraming, Http1Fault> frame_answer(const std::string& text, bool to_head) {
    std::vector<wire::Http1Field> storage(100);
    const std::string head = text + "\r\n";
    const auto parsed = wire::parse_response_head(as_bytes(head), storage);
    REQUIRE(parsed);
    return frame_response(*parsed, to_head);
}

TEST_CASE("where a response ends, and whether its connection can be used again") {
    struct Case {
        const char* rule;
        const char* head;
        bool to_head;
        BodyKind kind;
        uint64_t length;
        bool reusable;
        std::optional<uint64_t> length_only = {};
    };
    const std::vector<Case> cases = {
        {"RFC 9112 6.3 (6)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", false, BodyKind::kLength,
         5, true},
        {"RFC 9112 6.3 (4)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", false,
         BodyKind::kChunked, 0, true},
        {"RFC 9112 6.3 (8)", "HTTP/1.1 200 OK\r\n", false, BodyKind::kUntilClose, 0, false},
        {"RFC 9112 9.3: close", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n",
         false, BodyKind::kLength, 5, false},
        {"RFC 9112 9.3: 1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
         false, BodyKind::kLength, 5, false},
        {"RFC 9112 6.3 (1): HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true,
         BodyKind::kNone, 0, true, 5},
        {"RFC 9112 6.3 (1): HEAD, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
         true, BodyKind::kNone, 0, true},
        {"RFC 9112 6.3 (1): HEAD, no length", "HTTP/1.1 200 OK\r\n", true, BodyKind::kNone, 0,
         true},
        {"RFC 9112 6.3 (1): 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", false,
         BodyKind::kNone, 0, true, 5},
        {"RFC 9112 6.3 (1): 204", "HTTP/1.1 204 No Content\r\n", false, BodyKind::kNone, 0, true},
        {"RFC 9110 8.6: 204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n",
         false, BodyKind::kNone, 0, true},
        {"RFC 9110 8.6: 204 with a length is in doubt",
         "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", false, BodyKind::kNone, 0, false},
        {"RFC 9112 6.1: 204 with chunks is in doubt",
         "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", false, BodyKind::kNone, 0,
         false},
        {"RFC 9112 6.3 (1): 1xx", "HTTP/1.1 103 Early Hints\r\n", false, BodyKind::kNone, 0, true},
    };
    for (const Case& tried : cases) {
        INFO(tried.rule);
        const auto framing = frame_answer(tried.head, tried.to_head);
        REQUIRE(framing);
        CHECK(kind_name(framing->body.kind) == kind_name(tried.kind));
        CHECK(framing->body.length == tried.length);
        CHECK(framing->reusable == tried.reusable);
        CHECK(framing->has_length_only == tried.length_only.has_value());
        CHECK(framing->length_only == tried.length_only.value_or(0));
    }
}

TEST_CASE("responses whose end is in doubt are refused") {
    for (const char* head : {
             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
             "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
         }) {
        INFO(head);
        CHECK_FALSE(frame_answer(head, false));
        CHECK_FALSE(frame_answer(head, true));
    }
}

}  // namespace
}  // namespace sluice::http
