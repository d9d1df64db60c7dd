// Any bytes as the head of a response. First byte: how the input is split. Whatever the split, the
// outcome is the same; an accepted head, written anew, says the same again.
#include <algorithm>
#include <optional>
#include <string_view>
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
            scanner.scan(as_bytes(input.substr(0, end)), Http1Kind::kResponse, kLimits);
        if (result == Http1HeadScanner::Result::kFault) return {scanner.fault(), 0};
        if (result == Http1HeadScanner::Result::kComplete) return {{}, scanner.head_size()};
        if (end == input.size()) return {};
    }
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
    const auto response = parse_response_head(as_bytes(head), storage);
    if (!response) return 0;
    SLUICE_CHECK(std::ranges::count(head, '\r') == std::ranges::count(head, '\n'));
    SLUICE_CHECK(static_cast<size_t>(std::ranges::count(head, '\n')) ==
                 response->fields.size() + 2);

    std::vector<uint8_t> into(2 * kLimits.head_bytes_max);
    Http1HeadWriter writer(into);
    writer.status_line(response->status, response->reason);
    for (const Http1Field& field : response->fields)
        writer.field(field.name, field.value);
    writer.end();
    SLUICE_CHECK(writer.ok());
    std::vector<Http1Field> storage_again(32);
    const auto again = parse_response_head({into.data(), writer.size()}, storage_again);
    SLUICE_CHECK(again && again->status == response->status && again->reason == response->reason);
    SLUICE_CHECK(std::ranges::equal(response->fields, again->fields,
                                    [](const Http1Field& x, const Http1Field& y) {
                                        return x.name == y.name && x.value == y.value;
                                    }));
    return 0;
}
