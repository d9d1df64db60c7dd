#include "control/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace sluice::control::log {

namespace {

spdlog::logger& logger() {
    // Made at first use and never destroyed: threads may log until the very end of the process.
    static spdlog::logger* const made = [] {
        auto* const fresh =
            new spdlog::logger("sluice", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        fresh->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
        // A full disk or a closed pipe behind stderr is no reason to stop serving.
        fresh->set_error_handler([](const std::string&) {});
        return fresh;
    }();
    return *made;
}

spdlog::level::level_enum level_of(Level level) {
    switch (level) {
        case Level::kDebug:
            return spdlog::level::debug;
        case Level::kInfo:
            return spdlog::level::info;
        case Level::kWarning:
            return spdlog::level::warn;
        case Level::kError:
            return spdlog::level::err;
        case Level::kSilent:
            return spdlog::level::off;
    }
    return spdlog::level::info;
}

// The view goes in as an argument, because a line may hold braces that fmt would take for its own.
void write(Level level, std::string_view line) {
    logger().log(level_of(level), "{}", line);
}

}  // namespace

void set_level(Level level) {
    logger().set_level(level_of(level));
}
void debug(std::string_view line) {
    write(Level::kDebug, line);
}
void info(std::string_view line) {
    write(Level::kInfo, line);
}
void warning(std::string_view line) {
    write(Level::kWarning, line);
}
void error(std::string_view line) {
    write(Level::kError, line);
}

}  // namespace sluice::control::log
