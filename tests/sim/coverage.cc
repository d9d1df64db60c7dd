#include "tests/sim/coverage.h"

#include <cinttypes>

namespace sluice::sim {

namespace {

// What a Device can answer to the world's traffic and attacks. The others belong to other rooms.
constexpr auto kExpectedDrops = std::to_array<DropReason>({
    DropReason::kDatagramTooShort,    DropReason::kDatagramBadType,
    DropReason::kDatagramBadLength,   DropReason::kMac1Invalid,
    DropReason::kCookieReplied,       DropReason::kHandshakeRateLimited,
    DropReason::kHandshakeInvalid,    DropReason::kHandshakeUnknownPeer,
    DropReason::kHandshakeReplayed,   DropReason::kHandshakeFlood,
    DropReason::kHandshakeUnexpected, DropReason::kCookieUnexpected,
    DropReason::kCookieInvalid,       DropReason::kReceiverIndexUnknown,
    DropReason::kDataInvalid,         DropReason::kDataReplayed,
    DropReason::kSessionExpired,      DropReason::kInnerSourceNotAllowed,
    DropReason::kInnerNoEndpoint,     DropReason::kNoSendBuffer,
});

template <typename Counts>
void sum(Counts& into, const Counts& from) {
    for (size_t i = 0; i < into.size(); ++i)
        into[i] += from[i];
}

void print_line(std::FILE* out, std::string_view name, uint64_t count) {
    std::fprintf(out, "  %12" PRIu64 "  %.*s\n", count, static_cast<int>(name.size()), name.data());
}

}  // namespace

void Coverage::add(const Coverage& other) {
    sum(faults_, other.faults_);
    sum(deeds_, other.deeds_);
    sum(drops_, other.drops_);
}

void Coverage::print(std::FILE* out) const {
    std::fprintf(out, "faults injected:\n");
    for (size_t i = 0; i < kFaultCount; ++i)
        print_line(out, kFaultTexts[i].name, faults_[i]);
    std::fprintf(out, "states reached:\n");
    for (size_t i = 0; i < kDeedCount; ++i)
        print_line(out, kDeedNames[i], deeds_[i]);
    std::fprintf(out, "drops reported by the nodes:\n");
    for (size_t i = 1; i < kDropReasonCount; ++i) {
        if (drops_[i] > 0) print_line(out, kDropReasonTexts[i].name, drops_[i]);
    }
}

std::vector<std::string> Coverage::missing() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < kFaultCount; ++i) {
        if (faults_[i] == 0) names.push_back("fault " + std::string(kFaultTexts[i].name));
    }
    for (size_t i = 0; i < kDeedCount; ++i) {
        if (deeds_[i] == 0) names.push_back("state: " + std::string(kDeedNames[i]));
    }
    for (const DropReason reason : kExpectedDrops) {
        if (drops_[static_cast<size_t>(reason)] == 0) {
            names.push_back("drop reason " + std::string(text_of(reason).name));
        }
    }
    return names;
}

}  // namespace sluice::sim
