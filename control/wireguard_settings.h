// What `sluice wireguard` is told, by its arguments and by the environment variables that
// user-space implementations of WireGuard share. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "control/config/config.h"
#include "control/log.h"
#include "dataplane/base/result.h"

namespace sluice::control {

struct WireguardSettings {
    std::string interface;
    bool foreground = false;             // -f, or WG_PROCESS_FOREGROUND=1
    std::optional<int> tun_descriptor;   // WG_TUN_FD: opened and attached by the caller
    std::optional<int> uapi_descriptor;  // WG_UAPI_FD: the socket of wg(8), bound by the caller
    log::Level log_level = log::Level::kError;  // LOG_LEVEL
    bool keeps_output = false;  // in the background, too: a log was asked for by LOG_LEVEL
    uint32_t workers = 1;       // SLUICE_WORKERS; 0 and unset: one per core
    config::Engine engine = config::Engine::kAuto;  // SLUICE_ENGINE, as [io] engine
};

// The value of an environment variable; empty: not set.
using EnvironmentVariable = std::function<std::string(const std::string& name)>;

// Errors name the variable, what it says, and what it may say. A LOG_LEVEL that nobody knows means
// "error", as with other implementations.
Result<WireguardSettings> wireguard_settings(std::string interface, bool foreground,
                                             const EnvironmentVariable& variable, uint32_t cores);

}  // namespace sluice::control
