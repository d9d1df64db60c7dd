// How often each fault was injected and each deep state was reached: the proof that the generator
// is not narrow. A sum over all seeds with a zero in it fails the run.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/drop_reason.h"
#include "tests/sim/faults.h"

namespace sluice::sim {

enum class Deed : uint8_t {
#define X(enumerator, name) enumerator,
#include "tests/sim/deeds.def"
#undef X
};

inline constexpr auto kDeedNames = std::to_array<std::string_view>({
#define X(enumerator, name) name,
#include "tests/sim/deeds.def"
#undef X
});
inline constexpr size_t kDeedCount = kDeedNames.size();

class Coverage {
  public:
    void injected(Fault fault) { ++faults_[static_cast<size_t>(fault)]; }
    void done(Deed deed, uint64_t times = 1) { deeds_[static_cast<size_t>(deed)] += times; }
    void dropped(DropReason reason) { ++drops_[static_cast<size_t>(reason)]; }
    void add(const Coverage& other);

    uint64_t count(Deed deed) const { return deeds_[static_cast<size_t>(deed)]; }
    uint64_t count(Fault fault) const { return faults_[static_cast<size_t>(fault)]; }
    void print(std::FILE* out) const;
    // The names of all that never happened and should have.
    std::vector<std::string> missing() const;

  private:
    std::array<uint64_t, kFaultCount> faults_{};
    std::array<uint64_t, kDeedCount> deeds_{};
    std::array<uint64_t, kDropReasonCount> drops_{};
};

}  // namespace sluice::sim
