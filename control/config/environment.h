// What the machine contributes to a configuration: the defaults that a file may leave out. Read
// once and passed in, so that everything else stays a function of its arguments. Thread: control's.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/base/ip.h"

namespace sluice::config {

struct Environment {
    std::string host_name;
    std::string k8s_node_name;        // $K8S_NODE_NAME; empty: not set
    std::string k8s_node_ip;          // $K8S_NODE_IP; empty: not set
    IpAddress default_route_address;  // our address towards the default route; unset: no such route
    uint32_t cores = 1;               // that this process may run on
};

Environment this_machine();

}  // namespace sluice::config
