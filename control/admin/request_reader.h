// From the bytes of a caller of the control socket to one request. Pure: bytes in, request or
// refusal out; how the bytes are split makes no difference.
// Thread: any; one object a connection.
// Source: RFC 9112. Bodies need a Content-Length here; no caller of this socket streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "control/admin/server.h"
#include "dataplane/base/bytes.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::admin {

class RequestReader {
  public:
    enum class State : uint8_t { kMore, kComplete, kRefused };

    RequestReader(size_t head_bytes_max, size_t body_bytes_max)
        : head_bytes_max_(head_bytes_max), body_bytes_max_(body_bytes_max) {}

    // Takes the next bytes. After kComplete or kRefused it must not be called again.
    State feed(Bytes bytes);

    const Request& request() const { return request_; }   // after kComplete
    const Response& refusal() const { return refusal_; }  // after kRefused
    // Nothing came yet: a caller that leaves now is owed no answer.
    bool untouched() const { return buffer_.empty(); }
    // The caller waits for "100 Continue" before it sends the body (RFC 9110 section 10.1.1).
    bool expects_continue() const { return expects_continue_; }

  private:
    State refuse(uint16_t status, std::string_view reason);
    State read_head(size_t head_size);
    State read_fields(std::span<const wire::Http1Field> fields, uint8_t minor_version);
    State read_body();

    size_t head_bytes_max_;
    size_t body_bytes_max_;
    std::string buffer_;
    wire::Http1HeadScanner scanner_;
    size_t head_size_ = 0;  // 0: not complete
    size_t body_size_ = 0;
    bool expects_continue_ = false;
    Request request_;
    Response refusal_;
};

}  // namespace sluice::admin
