#include "control/admin/request_reader.h"

#include <array>
#include <charconv>

namespace sluice::admin {

namespace {

// Our own client sends three, curl four.
constexpr size_t kFieldsMax = 32;

std::optional<size_t> content_length(std::string_view text) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const bool whole = end == text.data() + text.size();
    // from_chars takes no sign for an unsigned number, so digits are all that can have matched.
    if (text.empty() || error != std::errc() || !whole) return {};
    return length;
}

}  // namespace

RequestReader::State RequestReader::refuse(uint16_t status, std::string_view reason) {
    refusal_ = error_response(status, reason);
    return State::kRefused;
}

RequestReader::State RequestReader::feed(Bytes bytes) {
    buffer_ += as_text(bytes);
    if (head_size_ > 0) return read_body();
    const wire::Http1Limits limits{.head_bytes_max = head_bytes_max_,
                                   .request_line_max = head_bytes_max_ / 2};
    switch (scanner_.scan(as_bytes(buffer_), wire::Http1Kind::kRequest, limits)) {
        case wire::Http1HeadScanner::Result::kMore:
            return State::kMore;
        case wire::Http1HeadScanner::Result::kFault: {
            const wire::Http1FaultText fault = text_of(scanner_.fault());
            return refuse(fault.status, fault.sentence);
        }
        case wire::Http1HeadScanner::Result::kComplete:
            break;
    }
    return read_head(scanner_.head_size());
}

RequestReader::State RequestReader::read_head(size_t head_size) {
    std::array<wire::Http1Field, kFieldsMax> storage;
    const Bytes head = as_bytes(buffer_).first(head_size);
    const auto parsed = wire::parse_request_head(head, storage);
    if (!parsed) {
        const wire::Http1FaultText fault = text_of(parsed.error());
        return refuse(fault.status, fault.sentence);
    }
    request_.method = parsed->method;
    request_.path = parsed->target.substr(0, parsed->target.find('?'));
    const State state = read_fields(parsed->fields, parsed->minor_version);
    if (state != State::kMore) return state;
    head_size_ = head_size;
    return read_body();
}

RequestReader::State RequestReader::read_fields(std::span<const wire::Http1Field> fields,
                                                uint8_t minor_version) {
    size_t hosts = 0;
    size_t lengths = 0;
    for (const wire::Http1Field& field : fields) {
        if (wire::equals_ignoring_case(field.name, "host")) ++hosts;
        if (wire::equals_ignoring_case(field.name, "transfer-encoding")) {
            return refuse(411, "a body needs a Content-Length here");
        }
        if (wire::equals_ignoring_case(field.name, "expect")) {
            expects_continue_ = wire::equals_ignoring_case(field.value, "100-continue");
            if (!expects_continue_) return refuse(417, "the expectation is not 100-continue");
        }
        if (!wire::equals_ignoring_case(field.name, "content-length")) continue;
        const auto length = content_length(field.value);
        if (!length) return refuse(400, "Content-Length is not a number");
        if (++lengths > 1) return refuse(400, "there is more than one Content-Length");
        if (*length > body_bytes_max_) return refuse(413, "the body is too large");
        body_size_ = *length;
    }
    if (hosts > 1) return refuse(400, "there is more than one Host header");
    if (hosts == 0 && minor_version >= 1) return refuse(400, "the Host header is missing");
    return State::kMore;
}

RequestReader::State RequestReader::read_body() {
    const std::string_view body = std::string_view(buffer_).substr(head_size_);
    if (body.size() < body_size_) return State::kMore;
    // One request a connection: bytes behind it were never asked for.
    if (body.size() > body_size_) return refuse(400, "there are bytes behind the request");
    request_.body = body;
    return State::kComplete;
}

}  // namespace sluice::admin
