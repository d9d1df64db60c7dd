#include "dataplane/http/server_health.h"

#include <algorithm>

namespace sluice::http {

void ServerHealth::configure(const contract::PassiveEjection& ejection, bool checked) {
    ejection_ = ejection;
    if (standing_ == Standing::kUnhealthy && !checked) *this = {};
    if (standing_ == Standing::kEjected && ejection.failures == 0) *this = {};
    ejection_ = ejection;
}

void ServerHealth::begin(Standing standing, std::string_view reason, Now now) {
    standing_ = standing;
    begun_at_ = now.mono;
    since_ = now.wall;
    reason_ = reason;
}

void ServerHealth::request_ended(bool good, std::string_view reason, Now now) {
    if (good) {
        failures_ = 0;
        return;
    }
    if (ejection_.failures == 0) return;
    const Standing current = standing(now);
    // It is asked only because nobody else is left; that is no news of it.
    if (current == Standing::kEjected || current == Standing::kUnhealthy) return;
    ++failures_;
    if (failures_ < ejection_.failures) return;
    begin(Standing::kEjected, reason, now);
    failures_ = ejection_.failures - 1;  // it is on probation when it comes back
}

void ServerHealth::probed(bool good, std::string_view reason, const contract::HealthCheck& check,
                          Now now) {
    good_probes_ = good ? good_probes_ + 1 : 0;
    bad_probes_ = good ? 0 : bad_probes_ + 1;
    if (standing_ == Standing::kUnhealthy) {
        if (good && good_probes_ >= check.healthy_after) {
            failures_ = 0;
            begin(Standing::kRecovering, {}, now);
        } else if (!good) {
            reason_ = reason;
        }
    } else if (!good && bad_probes_ >= check.unhealthy_after) {
        begin(Standing::kUnhealthy, reason, now);
    }
}

ServerHealth::Standing ServerHealth::standing(Now now) const {
    const Duration elapsed = now.mono - begun_at_;
    switch (standing_) {
        case Standing::kEjected:
            if (elapsed < ejection_.rest) return Standing::kEjected;
            return elapsed < ejection_.rest + ejection_.slow_start ? Standing::kRecovering
                                                                   : Standing::kServing;
        case Standing::kRecovering:
            return elapsed < ejection_.slow_start ? Standing::kRecovering : Standing::kServing;
        default:
            return standing_;
    }
}

uint32_t ServerHealth::share(Now now) const {
    if (standing(now) != Standing::kRecovering) return kFullShare;
    Duration elapsed = now.mono - begun_at_;
    if (standing_ == Standing::kEjected) elapsed -= ejection_.rest;
    const auto part = static_cast<uint32_t>(elapsed * kFullShare / ejection_.slow_start);
    return std::clamp(part, kFullShare / 10, kFullShare);
}

WallTime ServerHealth::since(Now now) const {
    if (standing_ == Standing::kServing) return {};
    const Standing current = standing(now);
    WallTime began = since_;
    if (current == standing_) return began;
    if (standing_ == Standing::kEjected) began += ejection_.rest;
    if (current == Standing::kServing) began += ejection_.slow_start;
    return began;
}

std::string_view name_of(ServerHealth::Standing standing) {
    switch (standing) {
        case ServerHealth::Standing::kServing:
            return "serving";
        case ServerHealth::Standing::kRecovering:
            return "recovering";
        case ServerHealth::Standing::kEjected:
            return "ejected";
        case ServerHealth::Standing::kUnhealthy:
            break;
    }
    return "unhealthy";
}

}  // namespace sluice::http
