// Dates in certificates, revocation lists and OCSP responses as WallTime.
#pragma once

#include <openssl/asn1.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>

#include "dataplane/base/time.h"

namespace sluice::tls {

// Whole seconds. Far dates ("99991231235959Z": never) become the last one that WallTime can hold.
// Nothing: not a date.
inline std::optional<WallTime> wall_time_of(const ASN1_TIME* date) {
    std::tm parts{};
    if (date == nullptr || ASN1_TIME_to_tm(date, &parts) != 1) return std::nullopt;
    constexpr int64_t kLast =
        std::chrono::duration_cast<std::chrono::seconds>(Duration::max()).count();
    const int64_t seconds = std::clamp<int64_t>(timegm(&parts), -kLast, kLast);
    return WallTime(std::chrono::seconds(seconds));
}

inline std::time_t seconds_of(WallTime time) {
    return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace sluice::tls
