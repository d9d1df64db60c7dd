// How a server does, by what became of requests and by what health checks found.
//
// A server whose requests keep failing is ejected: it rests, and then comes back slowly, from a
// tenth of its weight to all of it; the first failure while it comes back ejects it again. A server
// whose health checks fail gets nothing until they succeed, and comes back in the same way.
// Nothing here decides that nobody is asked at all: that is for the one who picks (backend.h).
//
// Pure; the time is told. Thread: the worker's.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::http {

class ServerHealth {
  public:
    enum class Standing : uint8_t { kServing, kRecovering, kEjected, kUnhealthy };
    // A server with its whole weight.
    static constexpr uint32_t kFullShare = 100;

    // What was found before stays; without checks nothing is unhealthy.
    void configure(const contract::PassiveEjection& ejection, bool checked);

    // Of a request, or of an attempt to connect for one. `reason`: of a failure.
    void request_ended(bool good, std::string_view reason, Now now);
    // Of a health check.
    void probed(bool good, std::string_view reason, const contract::HealthCheck& check, Now now);

    Standing standing(Now now) const;
    // How much of its weight counts, of kFullShare: a tenth at least.
    uint32_t share(Now now) const;
    const std::string& reason() const { return reason_; }
    // When the standing began; zero: it always was so.
    WallTime since(Now now) const;

  private:
    void begin(Standing standing, std::string_view reason, Now now);

    contract::PassiveEjection ejection_;
    Standing standing_ = Standing::kServing;
    Instant begun_at_{};
    WallTime since_{};
    std::string reason_;
    uint32_t failures_ = 0;  // of requests, in a row
    uint32_t good_probes_ = 0;
    uint32_t bad_probes_ = 0;
};

std::string_view name_of(ServerHealth::Standing standing);

}  // namespace sluice::http
