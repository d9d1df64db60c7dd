// What the node knows, as the JSON that the control socket answers with. Pure: values in, text out.
// Counts of all workers are added up; a peer's or server's numbers may come from several of them.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::admin {

// Everything that a view may need; what it points to outlives the call.
struct Picture {
    const contract::Snapshot& snapshot;
    const std::vector<contract::WorkerReport>& reports;
    const std::vector<uint32_t>& silent;  // workers that did not answer in time
    WallTime now;
};

// Of the last reload; `result` is "none", "ok", "unchanged" or "refused".
struct LastReloadView {
    std::string_view result = "none";
    std::string error;  // lines, when it was refused
    WallTime time{};
};

struct AccessLogView {
    std::string target = "off";  // "off", "stdout" or a file
    uint64_t lines = 0;
    uint64_t dropped = 0;
    std::string error;
};

struct NodeView {
    std::string_view version;
    std::string_view state;
    Duration uptime{};
    size_t workers = 0;
    std::string ip;  // empty: not known
    // Speed-ups of devices that belong to no worker, such as the TUN device.
    std::vector<contract::OffloadReport> offloads;
    AccessLogView access_log;
    LastReloadView last_reload;
};

std::string status_json(const Picture& picture, const NodeView& node);
std::string peers_json(const Picture& picture);
std::string routes_json(const Picture& picture);
std::string backends_json(const Picture& picture);
std::string certs_json(const Picture& picture);
std::string workers_json(const Picture& picture);

// {"generation":…, "changed":…, "errors":[…], "warnings":[…], "worker_errors":[…]}, and "error"
// with the first error if there is one.
struct ReloadView {
    bool ok = false;
    bool changed = false;
    uint64_t generation = 0;
    const std::vector<std::string>& errors;
    const std::vector<std::string>& warnings;
    const std::vector<std::string>& worker_errors;
};
std::string reload_json(const ReloadView& reload);

// {"state": state}
std::string state_json(std::string_view state);

}  // namespace sluice::admin
