// Going to the background as a program that others start and wait for: the parent process returns
// when the child says that it is ready, or with the child's exit code if it could not start.
//
// Thread: the process's first and only one; call before any thread, loop or file is made.
#pragma once

#include <expected>
#include <initializer_list>
#include <utility>

namespace sluice::control {

// In the child: what it owes its parent.
class StartReport {
  public:
    explicit StartReport(int descriptor, bool keeps_output)
        : descriptor_(descriptor), keeps_output_(keeps_output) {}
    StartReport(StartReport&& other) noexcept
        : descriptor_(std::exchange(other.descriptor_, -1)), keeps_output_(other.keeps_output_) {}
    StartReport& operator=(StartReport&&) = delete;
    ~StartReport();

    // The child works; it lets go of the terminal and of the folder it was started in. False: the
    // parent is gone and nobody waits, so the child should end.
    bool ready();

  private:
    int descriptor_ = -1;
    bool keeps_output_ = false;
};

// Makes the child, in a session of its own, with stdin, stdout, stderr (until it is ready, so that
// it can say why it is not) and the descriptors `kept` of the parent's, and no others: what a
// caller holds open, such as a lock, must not live as long as we do.
// `keeps_output`: stdout and stderr stay after that, for the log.
// The error is the parent's exit code; it has nothing left to do but to return it.
std::expected<StartReport, int> go_to_background(std::initializer_list<int> kept,
                                                 bool keeps_output);

}  // namespace sluice::control
