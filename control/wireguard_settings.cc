#include "control/wireguard_settings.h"

#include <charconv>
#include <climits>
#include <string_view>
#include <utility>

namespace sluice::control {

namespace {

// As many workers as a receiver index has room for.
constexpr uint32_t kWorkersMax = 256;

std::unexpected<Error> refuse(std::string_view name, std::string_view value,
                              std::string_view right) {
    std::string text(name);
    text += "=";
    text += value;
    text += ": it has to be ";
    text += right;
    return fail(std::move(text));
}

std::optional<uint32_t> number_from(std::string_view text, uint32_t most) {
    uint32_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, value);
    if (error != std::errc() || end != last || value > most) return {};
    return value;
}

Result<std::optional<int>> descriptor_from(const EnvironmentVariable& variable,
                                           const std::string& name) {
    const std::string text = variable(name);
    if (text.empty()) return std::nullopt;
    const auto number = number_from(text, INT_MAX);
    if (!number) return refuse(name, text, "the number of an open descriptor");
    return static_cast<int>(*number);
}

Result<uint32_t> workers_from(const EnvironmentVariable& variable, uint32_t cores) {
    const std::string text = variable("SLUICE_WORKERS");
    if (text.empty()) return cores;
    const auto number = number_from(text, kWorkersMax);
    if (!number) {
        return refuse("SLUICE_WORKERS", text, "a number up to 256; 0 means one per core");
    }
    return *number == 0 ? cores : *number;
}

Result<config::Engine> engine_from(const EnvironmentVariable& variable) {
    const std::string text = variable("SLUICE_ENGINE");
    if (text.empty() || text == "auto") return config::Engine::kAuto;
    if (text == "io_uring") return config::Engine::kIoUring;
    if (text == "epoll") return config::Engine::kEpoll;
    return refuse("SLUICE_ENGINE", text, "io_uring, epoll or auto");
}

}  // namespace

Result<WireguardSettings> wireguard_settings(std::string interface, bool foreground,
                                             const EnvironmentVariable& variable, uint32_t cores) {
    WireguardSettings settings;
    settings.interface = std::move(interface);
    settings.foreground = foreground || variable("WG_PROCESS_FOREGROUND") == "1";

    const auto tun = descriptor_from(variable, "WG_TUN_FD");
    if (!tun) return std::unexpected(tun.error());
    settings.tun_descriptor = *tun;
    const auto uapi = descriptor_from(variable, "WG_UAPI_FD");
    if (!uapi) return std::unexpected(uapi.error());
    settings.uapi_descriptor = *uapi;

    const std::string level = variable("LOG_LEVEL");
    if (level == "verbose" || level == "debug") settings.log_level = log::Level::kDebug;
    if (level == "silent") settings.log_level = log::Level::kSilent;
    settings.keeps_output = !level.empty() && level != "silent";

    const auto workers = workers_from(variable, cores);
    if (!workers) return std::unexpected(workers.error());
    settings.workers = *workers;
    const auto engine = engine_from(variable);
    if (!engine) return std::unexpected(engine.error());
    settings.engine = *engine;
    return settings;
}

}  // namespace sluice::control
