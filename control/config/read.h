// From the text of a configuration file to typed values. Pure: no file, no machine, no clock.
// Thread: control's.
#pragma once

#include <optional>
#include <string_view>

#include "control/config/config.h"
#include "control/config/diagnostics.h"

namespace sluice::config {

// Nothing when the text is not TOML at all. Reports every unknown key, wrong type and malformed
// value. What comes back is complete only if nothing was reported as an error; otherwise it is good
// for finding more errors, nothing else.
std::optional<Config> read_config(std::string_view text, Diagnostics& diagnostics);

}  // namespace sluice::config
