// Control's one thread and one loop: descriptors, signals, timers, and work handed in by other
// threads. Callbacks run one after the other on this thread and must not block.
//
// Thread: made, used and destroyed on one thread; only post() and stop() may be called from others.
// Memory: a handful of small maps; control may allocate.
// Failure: create() fails when the system refuses descriptors; later failures of epoll are bugs.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"

namespace sluice::control {

class ControlLoop {
  public:
    using Handler = std::function<void(uint32_t events)>;
    using Task = std::function<void()>;
    // Never 0, never given twice.
    using TimerId = uint64_t;

    // `clock` outlives the loop.
    static Result<std::unique_ptr<ControlLoop>> create(Clock& clock);
    ~ControlLoop();
    ControlLoop(const ControlLoop&) = delete;
    ControlLoop& operator=(const ControlLoop&) = delete;

    // `descriptor` stays the caller's, who calls forget() before closing it. Events are those of
    // epoll(7), level-triggered. A handler may watch and forget anything, itself included: after
    // forget() a handler is not called again, not even for events already fetched.
    void watch(int descriptor, uint32_t events, Handler handler);
    void change(int descriptor, uint32_t events);
    void forget(int descriptor);

    TimerId after(Duration delay, Task task);
    void cancel(TimerId timer);  // one that fired or was cancelled is ignored

    // Signals become calls on this thread. Blocks them for the calling thread; threads that are
    // made later inherit that, so call it before any is.
    Result<void> handle_signals(std::initializer_list<int> signals,
                                std::function<void(int signal)> handler);

    // Any thread: runs the task on the loop's thread, in the order of posting.
    void post(Task task);

    // Runs until stop(). One turn() waits for something to happen, up to `most`, and handles it.
    void run();
    void turn(Duration most);
    void stop();  // any thread

    Now now() const { return clock_.now(); }

  private:
    struct SystemDescriptor {
        int number = -1;
        ~SystemDescriptor();
    };

    explicit ControlLoop(Clock& clock) : clock_(clock) {}
    void run_posted();
    void run_due_timers();
    int timeout_ms(Duration most) const;

    Clock& clock_;
    SystemDescriptor epoll_;
    SystemDescriptor wake_;
    SystemDescriptor signals_;
    // Tokens, not descriptors, are what epoll gives back: a number that was closed and opened again
    // within one turn is another thing.
    uint64_t next_token_ = 1;
    std::map<uint64_t, std::shared_ptr<Handler>> handlers_;
    std::map<int, uint64_t> tokens_;
    uint64_t next_timer_ = 1;
    std::map<std::pair<Instant, TimerId>, Task> timers_;
    std::map<TimerId, Instant> deadlines_;
    std::mutex mutex_;  // guards posted_
    std::vector<Task> posted_;
    bool stopping_ = false;  // loop's thread only; stop() posts
};

}  // namespace sluice::control
