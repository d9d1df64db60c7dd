// The commands of the one binary: what was asked for on the command line, done.
// Thread: the process's first; commands that ask a running node block until it answers.
#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace sluice::cli {

// 0: done. 1: refused or failed, with the reason on the error stream. 2: wrong usage.
enum ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2 };

// `sluice wireguard`, or the program under the name `sluice-wireguard`.
struct WireguardStart {
    std::string interface;
    bool foreground = false;
};

struct Program {
    std::string version;
    // `sluice run`: starts the node and returns when it has stopped.
    std::function<int(const std::string& config_file)> run;
    // A plain WireGuard interface.
    std::function<int(const WireguardStart& start)> wireguard;
};

// Runs the command line and returns the exit code.
int run_command_line(int argc, const char* const* argv, const Program& program, std::ostream& out,
                     std::ostream& err);

}  // namespace sluice::cli
