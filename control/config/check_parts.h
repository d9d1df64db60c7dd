// The parts of check() (check.h). Thread: control's.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "control/config/config.h"
#include "control/config/diagnostics.h"

namespace sluice::config {

void check_wireguard(const Wireguard& wireguard, Diagnostics& diagnostics);  // check_wireguard.cc
void check_routes(const Config& config, Diagnostics& diagnostics);           // check_routes.cc

// "line 7"
std::string line_of(Position at);

// Reports every name that stands for a second thing. `what` names the kind: "peer".
template <typename Items>
void check_names(const Items& items, std::string_view what, Diagnostics& diagnostics) {
    std::map<std::string_view, Position> seen;
    for (const auto& item : items) {
        if (item.name.value.empty()) continue;
        const auto [first, fresh] = seen.emplace(item.name.value, item.name.at);
        if (fresh) continue;
        diagnostics.error(item.name.at, "the name " + in_quotes(item.name.value) +
                                            " is taken by the " + std::string(what) + " on " +
                                            line_of(first->second) + "; names must differ");
    }
}

}  // namespace sluice::config
