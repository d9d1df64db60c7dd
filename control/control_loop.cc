#include "control/control_loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::control {

ControlLoop::SystemDescriptor::~SystemDescriptor() {
    if (number >= 0) ::close(number);
}

Result<std::unique_ptr<ControlLoop>> ControlLoop::create(Clock& clock) {
    std::unique_ptr<ControlLoop> loop(new ControlLoop(clock));
    loop->epoll_.number = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_.number = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_.number < 0 || loop->wake_.number < 0) {
        return fail(std::string("cannot make the control loop: ") + std::strerror(errno));
    }
    loop->watch(loop->wake_.number, EPOLLIN, [raw = loop.get()](uint32_t) {
        uint64_t count = 0;
        // Only to make it quiet again; how often it was raised says nothing.
        [[maybe_unused]] const ssize_t got = ::read(raw->wake_.number, &count, sizeof count);
        raw->run_posted();
    });
    return loop;
}

ControlLoop::~ControlLoop() = default;

void ControlLoop::watch(int descriptor, uint32_t events, Handler handler) {
    SLUICE_CHECK(!tokens_.contains(descriptor));
    const uint64_t token = next_token_++;
    epoll_event event{};
    event.events = events;
    event.data.u64 = token;
    SLUICE_CHECK(epoll_ctl(epoll_.number, EPOLL_CTL_ADD, descriptor, &event) == 0);
    tokens_.emplace(descriptor, token);
    handlers_.emplace(token, std::make_shared<Handler>(std::move(handler)));
}

void ControlLoop::change(int descriptor, uint32_t events) {
    const auto token = tokens_.find(descriptor);
    SLUICE_CHECK(token != tokens_.end());
    epoll_event event{};
    event.events = events;
    event.data.u64 = token->second;
    SLUICE_CHECK(epoll_ctl(epoll_.number, EPOLL_CTL_MOD, descriptor, &event) == 0);
}

void ControlLoop::forget(int descriptor) {
    const auto token = tokens_.find(descriptor);
    if (token == tokens_.end()) return;
    SLUICE_CHECK(epoll_ctl(epoll_.number, EPOLL_CTL_DEL, descriptor, nullptr) == 0);
    handlers_.erase(token->second);
    tokens_.erase(token);
}

ControlLoop::TimerId ControlLoop::after(Duration delay, Task task) {
    const TimerId timer = next_timer_++;
    const Instant deadline = now().mono + delay;
    deadlines_.emplace(timer, deadline);
    timers_.emplace(std::pair(deadline, timer), std::move(task));
    return timer;
}

void ControlLoop::cancel(TimerId timer) {
    const auto deadline = deadlines_.find(timer);
    if (deadline == deadlines_.end()) return;
    timers_.erase(std::pair(deadline->second, timer));
    deadlines_.erase(deadline);
}

Result<void> ControlLoop::handle_signals(std::initializer_list<int> signals,
                                         std::function<void(int)> handler) {
    SLUICE_CHECK(signals_.number < 0);
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals)
        sigaddset(&set, signal);
    if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return fail("cannot block signals");
    signals_.number = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_.number < 0) {
        return fail(std::string("cannot receive signals: ") + std::strerror(errno));
    }
    watch(signals_.number, EPOLLIN, [this, handler = std::move(handler)](uint32_t) {
        signalfd_siginfo received{};
        while (::read(signals_.number, &received, sizeof received) == sizeof received) {
            handler(static_cast<int>(received.ssi_signo));
        }
    });
    return {};
}

void ControlLoop::post(Task task) {
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(task));
    }
    static constexpr uint64_t kOne = 1;
    // Fails only when the counter is full, and then the loop has been woken already.
    [[maybe_unused]] const ssize_t written = ::write(wake_.number, &kOne, sizeof kOne);
}

void ControlLoop::run_posted() {
    std::vector<Task> tasks;
    {
        const std::lock_guard lock(mutex_);
        tasks.swap(posted_);
    }
    for (const Task& task : tasks)
        task();
}

void ControlLoop::run_due_timers() {
    // Not those that a task sets now: a timer that sets itself to "at once" must not hold the loop.
    const TimerId newest = next_timer_;
    const Instant present = now().mono;
    auto next = timers_.begin();
    while (next != timers_.end() && next->first.first <= present) {
        if (next->first.second >= newest) {
            ++next;
            continue;
        }
        const Task task = std::move(next->second);
        deadlines_.erase(next->first.second);
        timers_.erase(next);
        task();
        next = timers_.begin();  // the task may have changed everything
    }
}

int ControlLoop::timeout_ms(Duration most) const {
    Duration wait = most;
    if (!timers_.empty()) wait = std::min(wait, timers_.begin()->first.first - now().mono);
    if (wait <= Duration::zero()) return 0;
    // Rounded up: waking a fraction of a millisecond too early would spin until the deadline.
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    return static_cast<int>(std::min<int64_t>(whole, INT_MAX));
}

void ControlLoop::turn(Duration most) {
    std::array<epoll_event, 64> events;
    const int count =
        epoll_wait(epoll_.number, events.data(), static_cast<int>(events.size()), timeout_ms(most));
    SLUICE_CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) {
        const auto found = handlers_.find(events[static_cast<size_t>(i)].data.u64);
        if (found == handlers_.end()) continue;  // forgotten by a handler of this turn
        // Held here, because a handler that forgets itself would otherwise be destroyed running.
        const std::shared_ptr<Handler> handler = found->second;
        (*handler)(events[static_cast<size_t>(i)].events);
    }
    run_due_timers();
}

void ControlLoop::run() {
    stopping_ = false;
    while (!stopping_)
        turn(std::chrono::hours(1));
}

void ControlLoop::stop() {
    post([this] { stopping_ = true; });
}

}  // namespace sluice::control
