// sim: runs seeds of the simulated world. See README.md.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/clock.h"
#include "dataplane/crypto/aead_backend.h"
#include "tests/sim/world.h"

namespace sluice::sim {
namespace {

struct Options {
    uint64_t first = 1;
    uint64_t seeds = 1000;
    double minutes = 0;  // of faults, in virtual time; 0: drawn from the seed
    bool log = false;
    bool twice = false;
    std::string_view expected;  // the invariant that must be broken
};

struct Outcome {
    std::optional<Violation> violation;
    Coverage coverage;
    uint64_t hash = 0;
    Duration elapsed{};
    Duration slowest_heal{};
};

constexpr const char* kUsage =
    "usage: sim [--seeds N] [--first S] [--minutes M] [--twice] [--expect-violation NAME]\n"
    "       sim --seed S [--minutes M] [--log]\n"
    "  --seeds N    how many seeds to run (1000)\n"
    "  --first S    the first of them (1)\n"
    "  --seed S     this one only\n"
    "  --minutes M  virtual minutes with faults (drawn from the seed)\n"
    "  --log        print every event\n"
    "  --twice      run every seed twice and compare: a seed must replay bit for bit\n"
    "  --expect-violation NAME  succeed only if this invariant is seen broken\n";

Outcome run_seed(uint64_t seed, double minutes, EventLog& log) {
    const auto fault_time = Duration(static_cast<int64_t>(minutes * 60e9));
    World world(seed, fault_time, log);
    Outcome outcome;
    try {
        world.run();
    } catch (const Violation& violation) {
        outcome.violation = violation;
    }
    outcome.coverage = world.coverage();
    outcome.hash = log.hash();
    outcome.elapsed = world.elapsed();
    outcome.slowest_heal = world.slowest_heal();
    return outcome;
}

std::string repeat_line(const char* program, uint64_t seed, double minutes) {
    std::string line = std::string(program) + " --seed " + std::to_string(seed);
    if (minutes > 0) line += " --minutes " + std::to_string(minutes);
    return line + " --log";
}

// The seed is run again with its text kept: what led to the violation is the end of what touched
// the node that broke.
void print_failure(const char* program, uint64_t seed, double minutes, const Violation& violation) {
    constexpr size_t kLines = 40;
    const InvariantText text = text_of(violation.invariant);
    std::printf("seed %" PRIu64 " FAILED: %.*s: %.*s\n  node %u: %s\n", seed,
                static_cast<int>(text.name.size()), text.name.data(),
                static_cast<int>(text.sentence.size()), text.sentence.data(), violation.node,
                violation.detail.c_str());
    EventLog log(true);
    run_seed(seed, minutes, log);
    std::vector<const EventLog::Line*> last;
    for (auto line = log.lines().rbegin(); line != log.lines().rend(); ++line) {
        if (last.size() == kLines) break;
        if (line->node == violation.node) last.push_back(&*line);
    }
    std::printf("the last events of that node:\n");
    for (auto line = last.rbegin(); line != last.rend(); ++line)
        EventLog::print(**line, stdout);
    std::printf("repeat with: %s\n", repeat_line(program, seed, minutes).c_str());
}

bool parse(int argc, char** argv, Options& options) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--log") {
            options.log = true;
        } else if (name == "--twice") {
            options.twice = true;
        } else if (i + 1 == argc) {
            return false;
        } else {
            const char* value = argv[++i];
            char* end = nullptr;
            if (name == "--expect-violation") {
                options.expected = value;
                continue;
            } else if (name == "--minutes") {
                options.minutes = std::strtod(value, &end);
                if (!(options.minutes > 0 && options.minutes < 1e6)) return false;
            } else if (name == "--seeds") {
                options.seeds = std::strtoull(value, &end, 10);
            } else if (name == "--first") {
                options.first = std::strtoull(value, &end, 10);
            } else if (name == "--seed") {
                options.first = std::strtoull(value, &end, 10);
                options.seeds = 1;
            } else {
                return false;
            }
            if (end == value || *end != '\0') return false;
        }
    }
    return options.seeds > 0;
}

bool is_invariant(std::string_view name) {
    for (const InvariantText& text : kInvariantTexts) {
        if (text.name == name) return true;
    }
    return false;
}

void print_summary(const Options& options, const Coverage& sum, Duration virtual_time,
                   Duration slowest_heal, Duration real_time) {
    const double seconds = std::chrono::duration<double>(real_time).count();
    const double hours = std::chrono::duration<double>(virtual_time).count() / 3600;
    sum.print(stdout);
    std::printf("%" PRIu64 " seeds from %" PRIu64
                ": %.1f seeds/s, %.1f virtual hours, "
                "%.0f times real time, slowest healing %.1f s\n",
                options.seeds, options.first, static_cast<double>(options.seeds) / seconds, hours,
                hours * 3600 / seconds, std::chrono::duration<double>(slowest_heal).count());
}

int run(const char* program, const Options& options) {
    // Once in a process, with allocations of its own; here, so that no seed is charged with them.
    crypto::choose_aead(crypto::AeadChoice::kAuto);
    SystemClock clock;
    const Instant began = clock.now().mono;
    Coverage sum;
    Duration virtual_time{};
    Duration slowest_heal{};
    for (uint64_t i = 0; i < options.seeds; ++i) {
        const uint64_t seed = options.first + i;
        EventLog log(options.log);
        const Outcome outcome = run_seed(seed, options.minutes, log);
        for (const EventLog::Line& line : log.lines())
            EventLog::print(line, stdout);
        if (outcome.violation) {
            // A bug may break several invariants, in one seed this first and in another that.
            const auto name = text_of(outcome.violation->invariant).name;
            if (!options.expected.empty() && name != options.expected) {
                std::printf("seed %" PRIu64 ": %.*s\n", seed, static_cast<int>(name.size()),
                            name.data());
                continue;
            }
            print_failure(program, seed, options.minutes, *outcome.violation);
            if (options.expected.empty()) return 1;
            std::printf("caught, as expected, after %" PRIu64 " seeds\n", i + 1);
            return 0;
        }
        if (options.twice) {
            EventLog again(false);
            if (run_seed(seed, options.minutes, again).hash != outcome.hash) {
                std::printf("seed %" PRIu64 " FAILED: its second run was another one\n", seed);
                return 1;
            }
        }
        if (options.seeds == 1 || options.twice) {
            std::printf("seed %" PRIu64 ": event log hash %016" PRIx64 "\n", seed, outcome.hash);
        }
        sum.add(outcome.coverage);
        virtual_time += outcome.elapsed;
        slowest_heal = std::max(slowest_heal, outcome.slowest_heal);
    }
    print_summary(options, sum, virtual_time, slowest_heal, clock.now().mono - began);
    if (!options.expected.empty()) {
        std::printf("FAILED: the expected violation was not seen\n");
        return 1;
    }
    // A few seeds need not reach everything; many that do not are too narrow to prove anything.
    constexpr uint64_t kSeedsThatReachAll = 500;
    const auto missing = sum.missing();
    if (options.seeds >= kSeedsThatReachAll && options.minutes == 0 && !missing.empty()) {
        for (const std::string& name : missing)
            std::printf("never happened: %s\n", name.c_str());
        std::printf("FAILED: the generator is too narrow\n");
        return 1;
    }
    return 0;
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
    sluice::sim::Options options;
    if (!sluice::sim::parse(argc, argv, options) ||
        (!options.expected.empty() && !sluice::sim::is_invariant(options.expected))) {
        std::fputs(sluice::sim::kUsage, stderr);
        return 2;
    }
    return sluice::sim::run(argv[0], options);
}
