// A script of counters: the window says what a plain set says.
// Input: pairs of a command and a number; commands move around the highest counter so far.
#include <algorithm>
#include <set>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/wireguard/replay_window.h"

using namespace sluice;
using namespace sluice::wireguard;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    ReplayWindow window;
    std::set<uint64_t> seen;
    for (size_t at = 0; at + 3 <= size; at += 3) {
        const uint64_t highest = seen.empty() ? 0 : *seen.rbegin();
        const uint64_t number = load_be16(data + at + 1);
        uint64_t counter = 0;
        switch (data[at] % 6) {
            case 0:  // ahead
                counter = highest + number;
                break;
            case 1:  // behind
                counter = highest - std::min(highest, number);
                break;
            case 2:  // at the window's far edge
                counter = highest - std::min(highest, ReplayWindow::kReach + number % 8 - 4);
                break;
            case 3:  // far ahead
                counter = highest + number * kReplayWindowBits / 16;
                break;
            case 4:  // the end of a session
                counter = kRejectAfterMessages - 100 + number % 200;
                break;
            default:  // anywhere
                counter = number << (data[at] / 6);
                break;
        }
        const bool expected = counter < kRejectAfterMessages && !seen.contains(counter) &&
                              (seen.empty() || counter + ReplayWindow::kReach >= highest);
        SLUICE_CHECK(window.would_accept(counter) == expected);
        SLUICE_CHECK(window.accept(counter) == expected);
        if (expected) seen.insert(counter);
    }
    return 0;
}
