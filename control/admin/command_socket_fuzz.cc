// Any bytes from a caller of the control socket: the same outcome however they are split, never a
// request that was not there, and every refusal is a status of its kind.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "control/admin/request_reader.h"
#include "dataplane/base/check.h"

namespace sluice::admin {

namespace {

struct Outcome {
    RequestReader::State state = RequestReader::State::kMore;
    std::string text;

    friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome outcome_of(const RequestReader& reader, RequestReader::State state) {
    if (state == RequestReader::State::kComplete) {
        const Request& request = reader.request();
        SLUICE_CHECK(!request.method.empty());
        SLUICE_CHECK(request.body.size() <= 1000);
        return {state, request.method + " " + request.path + "\n" + request.body};
    }
    if (state == RequestReader::State::kRefused) {
        SLUICE_CHECK(reader.refusal().status >= 400);
        return {state, std::to_string(reader.refusal().status) + reader.refusal().body};
    }
    return {state, {}};
}

// In pieces of `step` bytes, until something is decided.
Outcome run(Bytes bytes, size_t step) {
    RequestReader reader(4096, 1000);
    RequestReader::State state = RequestReader::State::kMore;
    while (!bytes.empty() && state == RequestReader::State::kMore) {
        const size_t size = std::min(step, bytes.size());
        state = reader.feed(bytes.first(size));
        bytes = bytes.subspan(size);
    }
    return outcome_of(reader, state);
}

}  // namespace

}  // namespace sluice::admin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using sluice::admin::RequestReader;
    const sluice::Bytes bytes(data, size);
    const auto slowly = sluice::admin::run(bytes, 1);
    for (const size_t step : {size_t{2}, size_t{7}, size_t{64}, size}) {
        if (step == 0) continue;
        const auto outcome = sluice::admin::run(bytes, step);
        // Bytes behind a request are refused only if they come with it: one by one, the request is
        // complete, and answered, before they are there.
        if (slowly.state == RequestReader::State::kComplete) {
            SLUICE_CHECK(outcome == slowly || outcome.state == RequestReader::State::kRefused);
        } else {
            SLUICE_CHECK(outcome == slowly);
        }
    }
    return 0;
}
