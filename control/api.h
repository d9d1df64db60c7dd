// The node's answers on the control socket: which path shows or does what.
// Thread: the loop's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/access_log.h"
#include "control/admin/server.h"
#include "control/node.h"

namespace sluice::control {

struct ApiOptions {
    std::string version;
    // Speed-ups of devices that belong to no worker; asked for at each status. May be empty.
    std::function<std::vector<contract::OffloadReport>()> offloads;
    // May be empty: there is none.
    std::function<AccessLog::Status()> access_log;
};

// Gives the server a handler for each of the node's paths. The node outlives the server.
void serve_api(admin::Server& server, Node& node, ControlLoop& loop, ApiOptions options);

}  // namespace sluice::control
