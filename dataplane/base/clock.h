// The only place that asks the system for the time.
// Thread: SystemClock may be read from any thread.
#pragma once

#include "dataplane/base/time.h"

namespace sluice {

class Clock {
  public:
    virtual ~Clock() = default;
    virtual Now now() = 0;
};

class SystemClock final : public Clock {
  public:
    Now now() override;
};

}  // namespace sluice
