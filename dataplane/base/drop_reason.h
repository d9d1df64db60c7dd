// Why something from outside was dropped, and how often. The list is drop_reasons.def.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/base/counters.h"

namespace sluice {

enum class DropReason : uint8_t {
#define X(enumerator, name, sentence) enumerator,
#include "dataplane/base/drop_reasons.def"
#undef X
};

struct DropReasonText {
    std::string_view name;      // in status and metrics
    std::string_view sentence;  // for people
};

inline constexpr auto kDropReasonTexts = std::to_array<DropReasonText>({
#define X(enumerator, name, sentence) {name, sentence},
#include "dataplane/base/drop_reasons.def"
#undef X
});
inline constexpr size_t kDropReasonCount = kDropReasonTexts.size();

inline DropReasonText text_of(DropReason reason) {
    return kDropReasonTexts[static_cast<size_t>(reason)];
}

// One worker's counts. Written by the worker, read by control.
class DropCounters {
  public:
    void add(DropReason reason, uint64_t amount = 1) {
        counts_[static_cast<size_t>(reason)].add(amount);
    }
    uint64_t value(DropReason reason) const { return counts_[static_cast<size_t>(reason)].value(); }

  private:
    std::array<Counter, kDropReasonCount> counts_;
};

}  // namespace sluice
