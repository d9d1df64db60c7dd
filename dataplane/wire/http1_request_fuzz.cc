// Any bytes as the head of a request. First byte: how the input is split.
//  - Whatever the split, the outcome is the same.
//  - A head that is accepted, written anew, is accepted again and says the same.
//  - Nothing in an accepted head can be read in another way by somebody who looks for line ends,
//    colons and spaces by simpler means.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/http1_message.h"
#include "dataplane/wire/http1_writer.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

constexpr Http1Limits kLimits{.head_bytes_max = 2048, .request_line_max = 512};

struct Outcome {
    std::optional<Http1Fault> fault;
    size_t head_size = 0;  // 0: not complete
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome scan(std::string_view input, size_t step) {
    Http1HeadScanner scanner;
    for (size_t end = std::min(step, input.size());; end = std::min(end + step, input.size())) {
        const auto result =
            scanner.scan(as_bytes(input.substr(0, end)), Http1Kind::kRequest, kLimits);
        if (result == Http1HeadScanner::Result::kFault) return {scanner.fault(), 0};
        if (result == Http1HeadScanner::Result::kComplete) return {{}, scanner.head_size()};
        if (end == input.size()) return {};
    }
}

bool same(const Http1RequestHead& a, const Http1RequestHead& b) {
    return a.method == b.method && a.target == b.target &&
           std::ranges::equal(a.fields, b.fields, [](const Http1Field& x, const Http1Field& y) {
               return x.name == y.name && x.value == y.value;
           });
}

void check_by_simpler_means(std::string_view head, const Http1RequestHead& request) {
    SLUICE_CHECK(head.find('\0') == std::string_view::npos);
    SLUICE_CHECK(std::ranges::count(head, '\r') == std::ranges::count(head, '\n'));
    if (head.starts_with("\r\n")) head.remove_prefix(2);
    size_t line_count = 0;
    while (head != "\r\n") {
        const size_t end = head.find("\r\n");
        SLUICE_CHECK(end != std::string_view::npos && end > 0);
        const std::string_view line = head.substr(0, end);
        if (line_count == 0) {
            const std::string expected = std::string(request.method) + " " +
                                         std::string(request.target) + " HTTP/1." +
                                         std::to_string(request.minor_version);
            SLUICE_CHECK(line == expected);
        } else {
            const Http1Field& field = request.fields[line_count - 1];
            SLUICE_CHECK(line.substr(0, line.find(':')) == field.name);
            SLUICE_CHECK(field.name.find_first_of(" \t") == std::string_view::npos);
            std::string_view value = line.substr(line.find(':') + 1);
            const size_t first = value.find_first_not_of(" \t");
            value = first == std::string_view::npos
                        ? std::string_view()
                        : value.substr(first, value.find_last_not_of(" \t") - first + 1);
            SLUICE_CHECK(value == field.value);
        }
        ++line_count;
        head.remove_prefix(end + 2);
    }
    SLUICE_CHECK(line_count == request.fields.size() + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const size_t step = size_t{data[0]} + 1;
    const std::string_view input = as_text({data + 1, size - 1});
    const Outcome whole = scan(input, input.size() + 1);
    SLUICE_CHECK(scan(input, step) == whole);
    SLUICE_CHECK(scan(input, 1) == whole);
    if (whole.head_size == 0) return 0;

    std::vector<Http1Field> storage(32);
    const std::string_view head = input.substr(0, whole.head_size);
    const auto request = parse_request_head(as_bytes(head), storage);
    if (!request) {
        SLUICE_CHECK(text_of(request.error()).status >= 400);
        return 0;
    }
    check_by_simpler_means(head, *request);

    std::vector<uint8_t> into(2 * kLimits.head_bytes_max);
    Http1HeadWriter writer(into);
    writer.request_line(request->method, request->target, {});
    for (const Http1Field& field : request->fields)
        writer.field(field.name, field.value);
    writer.end();
    SLUICE_CHECK(writer.ok());
    std::vector<Http1Field> storage_again(32);
    const auto again = parse_request_head({into.data(), writer.size()}, storage_again);
    SLUICE_CHECK(again && same(*request, *again));
    return 0;
}
