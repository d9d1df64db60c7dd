// Where a message ends: the one place that decides it, for requests and for responses.
//
// What is decided here is what we forward: the original headers that frame a message never pass,
// and new ones are written from this decision. A message that two implementations could end in two
// places is refused. README.md holds the rules as a table.
//
// Thread: any. Memory: none. Source: RFC 9112 sections 6 and 9.3, RFC 9110 section 8.6.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

enum class BodyKind : uint8_t {
    kNone,
    kLength,      // `length` bytes; may be 0, which is said differently from kNone
    kChunked,     // up to the last chunk
    kUntilClose,  // responses only: up to the end of the connection
};

struct BodyFraming {
    BodyKind kind = BodyKind::kNone;
    uint64_t length = 0;  // kLength only
};

// What the headers say that is about the message's end or about the connection.
struct RequestFraming {
    BodyFraming body;
    bool close = false;             // the client wants no further request on this connection
    bool expects_continue = false;  // the client may wait for our word before it sends the body
};
std::expected<RequestFraming, wire::Http1Fault> frame_request(const wire::Http1RequestHead& head);

// Such a method gives a body no meaning (RFC 9110 section 9.3.1), so a server may not know that
// there is one and take it for the next request.
bool is_odd_with_body(std::string_view method);

struct ResponseFraming {
    BodyFraming body;
    // What Content-Length said of a body that is not sent here: the answer to HEAD, or 304. Passed
    // on, as information.
    bool has_length_only = false;
    uint64_t length_only = 0;
    bool reusable = false;  // the connection may carry another request after this response
};
// `to_head`: the request's method was HEAD.
std::expected<ResponseFraming, wire::Http1Fault> frame_response(const wire::Http1ResponseHead& head,
                                                                bool to_head);

// More options than this in Connection headers are an attack: each is compared with each header.
inline constexpr size_t kConnectionOptionsMax = 16;

}  // namespace sluice::http
