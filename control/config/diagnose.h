// For tests: what a configuration text is told, on a machine that is the same everywhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/config/check.h"
#include "control/config/read.h"

namespace sluice::config {

inline Environment test_machine() {
    Environment machine;
    machine.host_name = "testhost";
    machine.default_route_address = *IpAddress::parse("192.168.10.21");
    machine.cores = 4;
    return machine;
}

// Everything but the files that it names, as lines of "f:LINE:COLUMN: …".
inline std::string diagnose(std::string_view text) {
    Diagnostics diagnostics;
    std::optional<Config> config = read_config(text, diagnostics);
    if (config) {
        resolve(*config, test_machine(), diagnostics);
        check(*config, diagnostics);
    }
    std::string all;
    for (const std::string& line : diagnostics.lines("f"))
        all += line + "\n";
    return all;
}

struct BrokenFile {
    const char* what;
    std::string_view text;
    std::string_view told;
};

}  // namespace sluice::config
