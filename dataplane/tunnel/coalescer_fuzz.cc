// Scripts of packets, sensible and not: what goes into the coalescer comes out of it again once it
// has been cut, in order within each flow. Input: one byte that chooses how the rest is read (a
// script for the traffic generator, or raw packets, each with a length in front), then the rest.
#include <memory>

#include "dataplane/base/check.h"
#include "dataplane/tunnel/coalescer.h"
#include "dataplane/tunnel/round_trip.h"

using namespace sluice;
using namespace sluice::tunnel;

namespace {

// Decisions from the fuzzer's bytes; when they are used up, always the first choice.
class ScriptedChance final : public naive::Chance {
  public:
    explicit ScriptedChance(Bytes script) : script_(script) {}
    uint32_t below(uint32_t bound) override {
        uint32_t value = take();
        if (bound > 256) value = value << 8 | take();
        return value % bound;
    }
    bool exhausted() const override { return script_.empty(); }

  private:
    uint8_t take() {
        if (script_.empty()) return 0;
        const uint8_t byte = script_.front();
        script_ = script_.subspan(1);
        return byte;
    }
    Bytes script_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // The model is slow; longer scripts find nothing that two short ones do not.
    if (size == 0 || size > 8192) return 0;
    Bytes rest(data + 1, size - 1);
    Coalescer coalescer(
        {.tcp = (data[0] & 1) == 0, .udp = (data[0] & 2) == 0, .flows_max = (data[0] >> 2) & 3u});
    naive::RoundTrip judge;
    if (data[0] & 0x80) {
        while (rest.size() >= 2) {
            const size_t length = std::min<size_t>(load_be16(rest.data()) & 0x7ff, rest.size() - 2);
            const Bytes packet = rest.subspan(2, length);
            judge.feed(coalescer, {packet.begin(), packet.end()}, rest[0] >> 3);
            rest = rest.subspan(2 + length);
        }
    } else {
        ScriptedChance chance(rest);
        naive::Traffic traffic(chance);
        for (int step = 0; step < 80 && !chance.exhausted(); ++step) {
            traffic.step(coalescer, judge);
        }
    }
    coalescer.flush(judge);
    const std::string verdict = judge.verdict();
    if (!verdict.empty()) check_failed(verdict.c_str(), __FILE__, __LINE__);
    return 0;
}
