// The node's JSON answers as text for people.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/base/time.h"

namespace sluice::cli {

// `command` is the one that was given: "status", "peers", … Error: the answer is not what this
// version of sluice expects.
Result<std::string> render(std::string_view command, const std::string& json, WallTime now);

// The text of {"error": …}, or the whole body when it is none.
std::string error_of(const std::string& json);

struct ReloadAnswer {
    bool changed = false;
    uint64_t generation = 0;
    std::vector<std::string> errors;
    std::vector<std::string> warnings;
    std::vector<std::string> worker_errors;
};
Result<ReloadAnswer> parse_reload(const std::string& json);

}  // namespace sluice::cli
