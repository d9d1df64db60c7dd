#include "dataplane/base/clock.h"

#include <time.h>

namespace sluice {

namespace {
Duration read(clockid_t id) {
    timespec t{};
    clock_gettime(id, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}
}  // namespace

Now SystemClock::now() {
    return {Instant(read(CLOCK_BOOTTIME)), WallTime(read(CLOCK_REALTIME))};
}

}  // namespace sluice
