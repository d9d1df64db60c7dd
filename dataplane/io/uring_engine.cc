#include "dataplane/io/uring_engine.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "dataplane/base/check.h"
#include "dataplane/io/uring_datagram_port.h"
#include "dataplane/io/uring_listener.h"

namespace sluice::io {

namespace {

// Entries wait here only until the next turn or flush begins. A full queue is submitted early, so
// a smaller number costs system calls under load and nothing else.
constexpr unsigned kSubmissionEntries = 1024;
// Multishot requests complete without being asked again, so completions outnumber submissions. When
// it overflows, the kernel keeps the rest (IORING_FEAT_NODROP) at the price of an allocation each.
constexpr unsigned kCompletionEntries = 4096;

// Marks a completion that goes to a Completion; without it, it is a poll's and goes to a Watcher.
constexpr uint64_t kCompletionMark = 1u << 31;

int sysctl_value(const char* path) {
    std::ifstream file(path);
    int value = 0;
    file >> value;
    return value;
}

bool is_in_seccomp_sandbox() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word) {
        if (word == "Seccomp:") return status >> word && word != "0";
    }
    return false;
}

std::string why_refused(int error) {
    const std::string text = "io_uring is not possible: ";
    if (error == EPERM || error == EACCES) {
        const int disabled = sysctl_value("/proc/sys/kernel/io_uring_disabled");
        if (disabled != 0) {
            return text +
                   "it is switched off by kernel.io_uring_disabled = " + std::to_string(disabled) +
                   "; set this sysctl to 0, or choose the epoll engine";
        }
    }
    if (error == EPERM || error == EACCES || error == ENOSYS) {
        if (is_in_seccomp_sandbox()) {
            return text + "the seccomp filter of the container refuses it (" + error_text(error) +
                   "), as containerd and Docker do by default; allow io_uring_setup, "
                   "io_uring_enter and io_uring_register in its profile, or choose the epoll "
                   "engine";
        }
    }
    if (error == ENOMEM) {
        return text +
               "no memory may be locked for it; raise LimitMEMLOCK, or choose the epoll "
               "engine";
    }
    if (error == EINVAL || error == ENOSYS) {
        return text + "the kernel is too old; it needs Linux 6.0, or choose the epoll engine";
    }
    return text + error_text(error) + "; choose the epoll engine";
}

}  // namespace

Result<std::unique_ptr<Engine>> UringEngine::create(Clock& clock, DropCounters& drops) {
    std::unique_ptr<UringEngine> engine(new UringEngine(clock, drops));
    if (const int error = engine->open_ring(); error != 0) return fail(why_refused(error));
    if (auto opened = engine->open_waker(); !opened) return std::unexpected(opened.error());
    return engine;
}

int UringEngine::open_ring() {
    // SINGLE_ISSUER came with Linux 6.0, as did the last of what is used here without asking
    // (multishot accept 5.19, multishot recvmsg 6.0), so that it stands for all of it.
    // DEFER_TASKRUN (6.1): the kernel's part of a completion runs when a turn asks for completions,
    // not in the middle of somebody's encryption.
    int error = 0;
    for (const unsigned flags : {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                                 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN}) {
        io_uring_params params{};
        params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params.cq_entries = kCompletionEntries;
        error = -io_uring_queue_init_params(kSubmissionEntries, &ring_, &params);
        if (error != EINVAL) break;
    }
    if (error != 0) return error;
    is_open_ = true;
    // Saves looking the ring's descriptor up at each call; nothing depends on it.
    io_uring_register_ring_fd(&ring_);
    return try_nop();
}

// A sandbox may allow the setup and refuse the rest.
int UringEngine::try_nop() {
    io_uring_prep_nop(submission());
    const int submitted = io_uring_submit_and_wait(&ring_, 1);
    if (submitted < 0) return -submitted;
    io_uring_cqe* completion = nullptr;
    if (io_uring_peek_cqe(&ring_, &completion) == 0) io_uring_cqe_seen(&ring_, completion);
    return 0;
}

UringEngine::~UringEngine() {
    if (!is_open_) return;
    // The kernel takes a closed ring apart later, in the background, and may write into receive
    // buffers until then; so everything is cancelled first, and they are freed after that.
    io_uring_sync_cancel_reg everything{};
    everything.fd = -1;
    everything.flags = IORING_ASYNC_CANCEL_ANY;
    everything.timeout = {-1, -1};
    settle();
    io_uring_register_sync_cancel(&ring_, &everything);
    settle();
    // What has completed meanwhile may own something, such as an accepted descriptor. Watchers are
    // not called any more: what they belong to is gone or going.
    do {
        take_completions();
        for (unsigned i = 0; i < count_; ++i)
            give_completion(events_[i]);
    } while (count_ > 0);
    io_uring_queue_exit(&ring_);
}

io_uring_sqe* UringEngine::submission() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) {
        io_uring_submit(&ring_);
        entry = io_uring_get_sqe(&ring_);
        SLUICE_CHECK(entry != nullptr);
    }
    entry->user_data = 0;
    return entry;
}

uint64_t UringEngine::mark(SlotId id) {
    return id | kCompletionMark;
}

void UringEngine::cancel(uint64_t user_data) {
    io_uring_sqe* entry = submission();
    io_uring_prep_cancel64(entry, user_data, 0);
    entry->user_data = 0;
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void UringEngine::settle() {
    io_uring_submit_and_get_events(&ring_);
}

void UringEngine::arm_poll(int fd, uint32_t events, SlotId id) {
    io_uring_sqe* entry = submission();
    // Multishot, and edge-triggered because IORING_POLL_ADD_LEVEL is not set.
    io_uring_prep_poll_multishot(entry, fd, events);
    entry->user_data = id;
}

int UringEngine::arm(int fd, uint32_t events, SlotId id) {
    arm_poll(fd, events, id);
    const size_t index = id & 0x7fffffff;
    if (polls_.size() <= index) polls_.resize(index + 1);
    polls_[index] = {fd, events};
    return 0;
}

void UringEngine::disarm(int, SlotId id) {
    // A poll holds on to the open file: the socket is closed when the kernel has seen this, at the
    // latest when the next turn begins. Not by POLL_REMOVE: that fails, and the file stays open for
    // ever, if an event of this poll is just being prepared.
    cancel(id);
}

void UringEngine::collect(std::optional<Duration> timeout) {
    if (!timeout) {
        io_uring_submit_and_wait(&ring_, 1);
    } else if (*timeout == Duration::zero()) {
        io_uring_submit_and_get_events(&ring_);
    } else {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
        __kernel_timespec ts{seconds.count(), (*timeout - seconds).count()};
        io_uring_cqe* first = nullptr;
        io_uring_submit_and_wait_timeout(&ring_, &first, 1, &ts, nullptr);
    }
    // Their errors (a signal, the time is over, the kernel wants completions taken first) all mean
    // the same: look at what is there.
    take_completions();
}

void UringEngine::take_completions() {
    std::array<io_uring_cqe*, kEventsPerTurn> completions;
    count_ = io_uring_peek_batch_cqe(&ring_, completions.data(), kEventsPerTurn);
    for (unsigned i = 0; i < count_; ++i) {
        events_[i] = {completions[i]->user_data, completions[i]->res, completions[i]->flags};
    }
    // Copied and given back before anybody is called, because a handler may submit and so need
    // room.
    io_uring_cq_advance(&ring_, count_);
}

void UringEngine::dispatch() {
    for (unsigned i = 0; i < count_; ++i) {
        const Event& event = events_[i];
        if (event.user_data == 0) continue;
        if ((event.user_data & kCompletionMark) != 0) {
            give_completion(event);
        } else {
            give_readiness(event);
        }
    }
}

void UringEngine::give_completion(const Event& event) {
    if ((event.user_data & kCompletionMark) == 0) return;
    Completion* target = completions_.find(event.user_data & ~kCompletionMark);
    if (target != nullptr) target->on_completion(event.result, event.flags);
}

void UringEngine::give_readiness(const Event& event) {
    const SlotId id = event.user_data;
    if (!is_watched(id)) return;
    // Re-armed before the call, which may unwatch it. Arming looks at the present state first, so
    // no edge is lost in between. Errors of poll itself (EBADF, ENOMEM) are reported as POLLERR:
    // who watches will meet them when trying.
    if (event.result < 0) {
        call(id, POLLERR);
        return;
    }
    // After an error or the end of both directions there are no more edges: reading and writing do
    // not wait any more. The kernel may end the poll then, and would end a new one at once.
    if ((event.flags & IORING_CQE_F_MORE) == 0 && (event.result & (POLLERR | POLLHUP)) == 0) {
        const Poll poll = polls_[id & 0x7fffffff];
        arm_poll(poll.fd, poll.events, id);
    }
    call(id, static_cast<uint32_t>(event.result));
}

std::unique_ptr<Acceptor> UringEngine::make_acceptor(Descriptor socket, AcceptHandler& handler,
                                                     int&) {
    return UringListener::start(*this, std::move(socket), handler);
}

Result<std::unique_ptr<DatagramPort>> UringEngine::make_datagram_port(
    DatagramSocket socket, const DatagramPortOptions& options, DatagramHandler& handler) {
    return UringDatagramPort::open(*this, std::move(socket), options, handler);
}

Result<std::unique_ptr<Engine>> make_uring_engine(Clock& clock, DropCounters& drops) {
    return UringEngine::create(clock, drops);
}

}  // namespace sluice::io
