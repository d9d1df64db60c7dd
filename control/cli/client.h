// Speaks to a running node over its control socket.
// Thread: any; every call blocks until the node has answered or the time is over.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace sluice::cli {

struct Answer {
    uint16_t status = 0;
    std::string body;
};

// Errors say in one line what to do: no node runs there, permission is missing, it does not answer.
Result<Answer> ask(const std::string& socket, std::string_view method, std::string_view path);

}  // namespace sluice::cli
