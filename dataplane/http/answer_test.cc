#include "dataplane/http/answer.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

std::string date_at(int64_t seconds) {
    HttpDate date;
    return std::string(date.text(WallTime(std::chrono::seconds(seconds))));
}

TEST_CASE("dates are those of RFC 9110 section 5.6.7") {
    CHECK(date_at(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(date_at(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(date_at(951782400) == "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK(date_at(4102444799) == "Thu, 31 Dec 2099 23:59:59 GMT");
    HttpDate date;
    CHECK(date.text(WallTime(std::chrono::seconds(1))) == "Thu, 01 Jan 1970 00:00:01 GMT");
    CHECK(date.text(WallTime(std::chrono::milliseconds(1999))) == "Thu, 01 Jan 1970 00:00:01 GMT");
    CHECK(date.text(WallTime(std::chrono::seconds(2))) == "Thu, 01 Jan 1970 00:00:02 GMT");
}

TEST_CASE("an answer says its length and tells nothing of the inside") {
    std::vector<uint8_t> body(200);
    const size_t body_size = write_refusal_body(403, "not for you", body);
    CHECK(as_text({body.data(), body_size}) == "403 Forbidden: not for you.\n");
    std::vector<uint8_t> into(1000);
    const Answer answer{
        .status = 403, .body = as_text({body.data(), body_size}), .close = true, .date = "today"};
    const size_t size = write_answer(answer, into);
    CHECK(
        as_text({into.data(), size}) ==
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 28\r\nCache-Control: no-store\r\nDate: today\r\nConnection: close\r\n\r\n"
        "403 Forbidden: not for you.\n");
    // What does not fit is not written in part.
    CHECK(write_answer(answer, MutableBytes(into).first(size - 1)) == 0);
    CHECK(write_answer(answer, MutableBytes(into).first(20)) == 0);
    CHECK(write_refusal_body(403, "not for you", MutableBytes(body).first(10)) == 0);
}

TEST_CASE("every status that we answer with has its reason") {
    for (const uint16_t status :
         {200, 400, 403, 404, 408, 414, 417, 431, 500, 501, 502, 503, 504, 505})
        CHECK_FALSE(reason_of(status).empty());
}

}  // namespace
}  // namespace sluice::http
