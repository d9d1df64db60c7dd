// HTTP/1 message heads: found, taken apart, never repaired.
//
// Two steps, so that a head may arrive in any pieces and nothing is kept for it but two numbers:
// Http1HeadScanner finds where a head ends, looking at each byte once; parse_*_head() takes the
// complete head apart into views of the caller's buffer. What is found, faults included, depends on
// the bytes alone and not on how they were split.
//
// Refused: whatever two implementations might read in two ways. LF without CR, CR without LF, NUL
// and other control bytes, folded lines, white space before a colon or before the first header,
// names that are not tokens, more than one space in the request line.
//
// Not its job: what headers mean. Where the body ends is decided in http/body_framing.
// Memory: none of its own; the views live as long as the buffer.
// Thread: any, no shared state. Source: RFC 9112 sections 2 to 5, RFC 9110 section 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "dataplane/base/bytes.h"

namespace sluice::wire {

enum class Http1Fault : uint8_t {
#define X(enumerator, status, sentence) enumerator,
#include "dataplane/wire/http1_faults.def"
#undef X
};

struct Http1FaultText {
    uint16_t status;  // what a request that has it is answered with
    std::string_view sentence;
};
Http1FaultText text_of(Http1Fault fault);

struct Http1Limits {
    size_t head_bytes_max = 64 * 1024;
    // RFC 9112 section 3 recommends to take at least 8000 bytes. A longer one is refused with 414
    // long before the whole head's limit. Responses have no such limit of their own.
    size_t request_line_max = 8 * 1024;
};

enum class Http1Kind : uint8_t { kRequest, kResponse };

class Http1HeadScanner {
  public:
    enum class Result : uint8_t { kMore, kComplete, kFault };

    // `buffer` begins where the head begins, and between calls only grows. One empty line before a
    // request is passed over (RFC 9112 section 2.2); it counts as part of the head.
    Result scan(Bytes buffer, Http1Kind kind, const Http1Limits& limits);

    size_t head_size() const { return searched_; }  // after kComplete; the last CRLF included
    Http1Fault fault() const { return fault_; }     // after kFault
    void reset() { *this = {}; }

  private:
    uint32_t line_begin_ = 0;
    uint32_t searched_ = 0;  // no LF from line_begin_ up to here
    bool first_line_ = true;
    Http1Fault fault_{};
};

struct Http1Field {
    std::string_view name;   // a token, as sent
    std::string_view value;  // without white space around it; no control byte but HTAB
};

struct Http1RequestHead {
    std::string_view method;  // a token
    std::string_view target;  // visible ASCII, not empty
    uint8_t minor_version = 1;
    std::span<const Http1Field> fields;
};

struct Http1ResponseHead {
    uint16_t status = 0;  // [100, 599]
    std::string_view reason;
    uint8_t minor_version = 1;
    std::span<const Http1Field> fields;
};

// `head` is exactly what a scanner found complete. `storage` holds the fields and bounds their
// number.
std::expected<Http1RequestHead, Http1Fault> parse_request_head(Bytes head,
                                                               std::span<Http1Field> storage);
std::expected<Http1ResponseHead, Http1Fault> parse_response_head(Bytes head,
                                                                 std::span<Http1Field> storage);

bool is_http1_token(std::string_view text);  // RFC 9110 section 5.6.2; not empty
// Every byte may stand in a field value: RFC 9110 section 5.5.
bool is_http1_field_value(std::string_view text);

// ASCII case is all the case that HTTP knows (RFC 9110 section 5.1).
bool equals_ignoring_case(std::string_view a, std::string_view b);

}  // namespace sluice::wire
