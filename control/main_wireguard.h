// `sluice wireguard`, wired top to bottom: a plain WireGuard interface, started as user-space
// implementations are by convention.
#pragma once

#include "control/cli/command_line.h"

namespace sluice::control {

// Returns when the interface is gone, or, of one that goes to the background, when it can be used.
int run_wireguard(const cli::WireguardStart& start);

}  // namespace sluice::control
