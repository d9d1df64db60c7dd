#include "tests/sim/event_log.h"

#include "tests/sim/sim_clock.h"

namespace sluice::sim {

void EventLog::mix(Bytes bytes) {
    mix(bytes.size());
    size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8)
        mix(load_le64(&bytes[at]));
    for (; at < bytes.size(); ++at)
        mix(bytes[at]);
}

void EventLog::print(const Line& line, std::FILE* out) {
    const double seconds = std::chrono::duration<double>(line.at - SimClock::kStart).count();
    std::fprintf(out, "%12.6f  node %u  %s\n", seconds, line.node, line.text.c_str());
}

}  // namespace sluice::sim
