// Control's log: lines on stderr, for people and for whatever collects them. Workers do not log;
// what they have to say comes up in reports. Thread: any. Never throws; a line that cannot be
// written is lost, and the work goes on.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::control::log {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kSilent };

// Lines below this level are not written. kInfo until it is set.
void set_level(Level level);

void debug(std::string_view line);
void info(std::string_view line);
void warning(std::string_view line);
void error(std::string_view line);

}  // namespace sluice::control::log
