// From what a file says to what it means: fills in the defaults that depend on the machine, and
// checks everything that takes more than one value to see. Pure: the machine comes as an argument,
// and no file is opened.
// Thread: control's.
#pragma once

#include "control/config/config.h"
#include "control/config/diagnostics.h"
#include "control/config/environment.h"

namespace sluice::config {

// Node name and address, number of workers, listen port, the places of state files.
void resolve(Config& config, const Environment& machine, Diagnostics& diagnostics);

// Names that must be unique, references that must resolve, prefixes and ports that must not
// collide. `config` is resolved. Skips what read_config() could not read, so that no error is told
// twice.
void check(const Config& config, Diagnostics& diagnostics);

}  // namespace sluice::config
