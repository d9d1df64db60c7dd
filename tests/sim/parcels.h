// The inner packets of a run. Each is sent once and can be rebuilt from its number, so that a
// delivered one is compared byte for byte without having been kept.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/time.h"
#include "tests/sim/sim_network.h"

namespace sluice::sim {

struct Parcel {
    uint32_t from = kNobody;
    uint32_t to = kNobody;
    uint16_t size = 0;
    bool v4 = true;
    bool forged_source = false;  // an address that the sender may not use: never to be delivered
    bool delivered = false;
    Instant sent_at{};
};

class Parcels {
  public:
    static constexpr size_t kSizeMin = 48;  // an IPv6 header and the parcel's number
    static constexpr size_t kSizeMax = 1420;

    uint64_t add(const Parcel& parcel);
    Parcel& at(uint64_t number) { return parcels_[number]; }
    size_t size() const { return parcels_.size(); }
    // The packet, in a buffer that the next call overwrites.
    Bytes build(uint64_t number);
    // Which parcel a packet says it is.
    std::optional<uint64_t> number_of(Bytes packet) const;

  private:
    std::vector<Parcel> parcels_;
    std::vector<uint8_t> buffer_ = std::vector<uint8_t>(kSizeMax);
};

}  // namespace sluice::sim
