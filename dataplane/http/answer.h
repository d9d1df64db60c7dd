// The answers that we give ourselves: refusals and the welcome page.
// They say what the client did or may do next, and nothing of what is inside.
// Thread: any. Memory: the caller's. Source: RFC 9110 section 15.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/base/time.h"

namespace sluice::http {

std::string_view reason_of(uint16_t status);

struct Answer {
    uint16_t status = 500;
    std::string_view content_type = "text/plain; charset=utf-8";
    std::string_view body;
    bool close = false;
    bool head_only = false;  // the answer to HEAD
    std::string_view date;
    std::string_view location = {};  // of redirects
    uint32_t retry_after_s = 0;      // 0: not said
};
// Its size, or 0 if it does not fit.
size_t write_answer(const Answer& answer, MutableBytes into);

// The body of a refusal: "403 Forbidden: sentence.\n".
size_t write_refusal_body(uint16_t status, std::string_view sentence, MutableBytes into);
// The welcome page. `peer` empty: not through the tunnel.
size_t write_welcome_body(std::string_view host, std::string_view peer, MutableBytes into);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), made once a second.
class HttpDate {
  public:
    std::string_view text(WallTime now);

  private:
    int64_t second_ = INT64_MIN;
    char text_[30];
};

}  // namespace sluice::http
