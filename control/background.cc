#include "control/background.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <vector>

namespace sluice::control {

namespace {

constexpr int kFailed = 1;

void close_all_but(std::vector<int> kept) {
    std::sort(kept.begin(), kept.end());
    unsigned next = STDERR_FILENO + 1;
    for (const int descriptor : kept) {
        const auto here = static_cast<unsigned>(std::max(descriptor, 0));
        if (here < next) continue;
        if (here > next) ::close_range(next, here - 1, 0);
        next = here + 1;
    }
    ::close_range(next, UINT_MAX, 0);
}

int wait_for(pid_t child, int reports) {
    char said = 0;
    ssize_t got;
    do {
        got = ::recv(reports, &said, sizeof said, 0);
    } while (got < 0 && errno == EINTR);
    if (got == sizeof said) return 0;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    // It has said why, unless it could not.
    if (WIFSIGNALED(status)) {
        std::fprintf(stderr, "sluice: ended by signal %d while it started\n", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : kFailed;
}

}  // namespace

StartReport::~StartReport() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

bool StartReport::ready() {
    // Whoever started us must not wait for the end of what we no longer write.
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        ::dup2(null, STDIN_FILENO);
        if (!keeps_output_) {
            ::dup2(null, STDOUT_FILENO);
            ::dup2(null, STDERR_FILENO);
        }
        ::close(null);
    }
    // A folder that somebody is in cannot be unmounted. If this one cannot be left, nothing is
    // lost.
    [[maybe_unused]] const int moved = ::chdir("/");
    const char said = 1;
    const bool heard = ::send(descriptor_, &said, sizeof said, MSG_NOSIGNAL) == sizeof said;
    ::close(std::exchange(descriptor_, -1));
    return heard;
}

std::expected<StartReport, int> go_to_background(std::initializer_list<int> kept,
                                                 bool keeps_output) {
    // What is opened next must not take the place of a missing stdin, stdout or stderr.
    int null;
    do {
        null = ::open("/dev/null", O_RDWR);
    } while (null >= 0 && null <= STDERR_FILENO);
    if (null >= 0) ::close(null);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        std::fprintf(stderr, "sluice: cannot go to the background: %s\n", std::strerror(errno));
        return std::unexpected(kFailed);
    }
    const pid_t child = ::fork();
    if (child < 0) {
        std::fprintf(stderr, "sluice: cannot go to the background: %s\n", std::strerror(errno));
        ::close(ends[0]);
        ::close(ends[1]);
        return std::unexpected(kFailed);
    }
    if (child > 0) {
        ::close(ends[1]);
        const int code = wait_for(child, ends[0]);
        ::close(ends[0]);
        return std::unexpected(code);
    }
    ::setsid();
    std::vector<int> open(kept);
    open.push_back(ends[1]);
    close_all_but(std::move(open));
    return StartReport(ends[1], keeps_output);
}

}  // namespace sluice::control
