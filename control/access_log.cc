#include "control/access_log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "control/config/diagnostics.h"
#include "control/log.h"

namespace sluice::control {

namespace {

// How long lines gather before they are written, so that a worker rings at most 50 times a second
// and a disk gets large pieces.
constexpr auto kGather = std::chrono::milliseconds(20);
// How long to wait for room before looking whether the node is stopping.
constexpr int kRoomWaitMs = 200;

// A ring's whole content, which ends where a line ends.
size_t buffer_bytes(const std::vector<LineRing*>& rings) {
    size_t bytes = 0;
    for (const LineRing* const ring : rings)
        bytes = std::max(bytes, ring->capacity());
    return bytes;
}

}  // namespace

// Where lines go: a descriptor, and whether the last line in it is whole.
class AccessLog::Output {
  public:
    Output(int descriptor, bool owned) : descriptor_(descriptor), owned_(owned) {
        struct stat facts{};
        regular_ = fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode);
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;
    ~Output() {
        if (owned_) ::close(descriptor_);
    }

    // Null: errno says why.
    static std::unique_ptr<Output> open(const std::string& target) {
        if (target == "stdout") return std::make_unique<Output>(STDOUT_FILENO, false);
        // O_NONBLOCK: a pipe that nobody reads must not hold us up.
        const int file = ::open(target.c_str(),
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                S_IRUSR | S_IWUSR | S_IRGRP);
        return file < 0 ? nullptr : std::make_unique<Output>(file, true);
    }

    // How many bytes went out; fewer than all: errno says why. EAGAIN: `stopping`, and nobody took
    // them.
    size_t write(Bytes bytes, const std::atomic<bool>& stopping) {
        size_t done = 0;
        if (torn_ && !bytes.empty()) {
            // The rest of a line that was cut short is gone; what comes is a line of its own.
            static constexpr uint8_t kEnd[] = {'\n'};
            if (write_some(kEnd, stopping) != 1) return 0;
            torn_ = false;
        }
        while (done < bytes.size()) {
            const size_t count = write_some(bytes.subspan(done), stopping);
            if (count == 0) break;
            done += count;
        }
        if (done > 0) torn_ = bytes[done - 1] != '\n';
        return done;
    }

  private:
    size_t write_some(Bytes bytes, const std::atomic<bool>& stopping) {
        // stdout may be shared with others, so it stays as it blocks. poll(2) promises room for
        // PIPE_BUF bytes only.
        static constexpr size_t kCertain = 4096;
        if (!regular_) {
            while (true) {
                pollfd room{.fd = descriptor_, .events = POLLOUT, .revents = 0};
                const int ready = ::poll(&room, 1, kRoomWaitMs);
                if (ready > 0) break;
                if (stopping.load()) {
                    errno = EAGAIN;
                    return 0;
                }
            }
            bytes = bytes.first(std::min(bytes.size(), kCertain));
        }
        while (true) {
            const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
            if (count >= 0) return static_cast<size_t>(count);
            if (errno != EINTR) return 0;
        }
    }

    int descriptor_;
    bool owned_;
    bool regular_ = false;
    bool torn_ = false;
};

AccessLog::AccessLog(std::vector<LineRing*> rings, Doorbell& bell)
    : rings_(std::move(rings)), bell_(bell), buffer_(buffer_bytes(rings_)) {
    thread_ = std::thread([this] { run(); });
}

AccessLog::~AccessLog() {
    stopping_ = true;
    bell_.ring();
    thread_.join();
}

void AccessLog::write_to(const std::string& target) {
    {
        const std::lock_guard guard(mutex_);
        target_ = target;
    }
    reopen_ = true;
    bell_.ring();
}

AccessLog::Status AccessLog::status() const {
    Status status;
    status.lines = lines_.load();
    status.dropped = lost_.load();
    for (const LineRing* const ring : rings_)
        status.dropped += ring->dropped();
    const std::lock_guard guard(mutex_);
    status.target = target_;
    status.error = error_;
    return status;
}

// An error is told when it appears, not with every line that it costs.
void AccessLog::note(const std::string& error) {
    {
        const std::lock_guard guard(mutex_);
        if (error_ == error) return;
        error_ = error;
    }
    if (!error.empty()) log::warning("access log: " + error);
}

void AccessLog::reopen() {
    std::string target;
    {
        const std::lock_guard guard(mutex_);
        target = target_;
    }
    output_.reset();
    off_ = target == "off";
    if (off_) {
        note({});
        return;
    }
    output_ = Output::open(target);
    note(output_ ? std::string()
                 : "cannot open " + config::in_quotes(target) + ": " + std::strerror(errno));
}

void AccessLog::write_all_to_output(Bytes lines) {
    const auto count = [](Bytes of) {
        return static_cast<uint64_t>(std::count(of.begin(), of.end(), uint8_t{'\n'}));
    };
    const size_t done = output_ ? output_->write(lines, stopping_) : 0;
    lines_ += count(lines.first(done));
    if (done == lines.size()) {
        note({});
        return;
    }
    const int reason = errno;
    // What was on its way when the log was switched off is nobody's loss.
    if (!off_) lost_ += count(lines.subspan(done));
    if (output_) note(std::string("cannot write: ") + std::strerror(reason));
}

bool AccessLog::write_what_is_there() {
    if (reopen_.exchange(false)) reopen();
    bool any = false;
    for (LineRing* const ring : rings_) {
        const size_t count = ring->read(buffer_);
        if (count == 0) continue;
        any = true;
        // The file may be writable again: a folder that was made, a disk that was emptied.
        if (!output_) reopen();
        write_all_to_output(Bytes(buffer_).first(count));
    }
    return any;
}

void AccessLog::run() {
    // A reader of stdout that has gone is an error of write(2), not the end of the process; and
    // signals are for control's thread.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    while (!stopping_.load()) {
        if (write_what_is_there()) {
            std::this_thread::sleep_for(kGather);
            continue;
        }
        bell_.announce_sleep();
        const bool work = stopping_.load() || reopen_.load() ||
                          std::any_of(rings_.begin(), rings_.end(),
                                      [](const LineRing* ring) { return !ring->is_empty(); });
        if (work) {
            bell_.stay_awake();
        } else {
            bell_.sleep();
        }
    }
    while (write_what_is_there()) {
    }
}

}  // namespace sluice::control
