// The whole way from a configuration file on disk to checked values: read, resolve, check, read the
// files it names. Each stage goes on after errors of the one before it, so that one run tells all.
// Thread: control's.
#pragma once

#include <optional>
#include <string>

#include "control/config/check.h"
#include "control/config/config.h"
#include "control/config/environment.h"
#include "control/config/files.h"

namespace sluice::config {

struct Loaded {
    Config config;
    Files files;
};

// Nothing if the file has any error; what is wrong, and warnings either way, are in `diagnostics`.
// The private key file may be absent: then files.private_key is zero.
std::optional<Loaded> load(const std::string& path, const Environment& machine, WallTime now,
                           Diagnostics& diagnostics);

}  // namespace sluice::config
