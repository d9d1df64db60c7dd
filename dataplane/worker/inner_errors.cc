#include "dataplane/worker/inner_errors.h"

#include <algorithm>
#include <optional>

namespace sluice::worker {

namespace {

// A worker's errors a second, and at once: a tenth of what Linux allows itself, and its burst. An
// error costs as much as a small packet; more would let a scan of an empty network take time from
// those who are there, fewer would leave programs that try many peers in their timeouts.
constexpr int kErrorsPerSecond = 100;
constexpr int kErrorsBurst = 50;
constexpr Duration kPerError = Duration(std::chrono::seconds(1)) / kErrorsPerSecond;

std::optional<wire::IcmpError> error_for(DropReason reason) {
    switch (reason) {
        case DropReason::kInnerNoPeer:
        case DropReason::kInnerNoEndpoint:
            return wire::IcmpError::kUnreachable;
        case DropReason::kInnerTooLarge:
            return wire::IcmpError::kTooBig;
        default:
            return {};
    }
}

}  // namespace

void InnerErrors::tell(DropReason reason, Bytes packet, uint16_t mtu, Instant now,
                       io::TunPort& tun) {
    const auto error = error_for(reason);
    if (!error) return;
    const size_t size = wire::write_icmp_error(*error, mtu, packet, buffer_);
    if (size == 0 || !may_send(now)) return;
    const Bytes pieces[] = {Bytes(buffer_).first(size)};
    if (tun.write({}, pieces)) sent_.add();
}

bool InnerErrors::may_send(Instant now) {
    const Instant full_at = std::max(full_at_, now) + kPerError;
    if (full_at > now + kErrorsBurst * kPerError) return false;
    full_at_ = full_at;
    return true;
}

}  // namespace sluice::worker
