// Turns, deadlines, wake-ups, and which engine it is.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <thread>

#include "dataplane/io/engine_core.h"
#include "dataplane/io/test_engine.h"

namespace sluice::io {

using std::chrono::milliseconds;

TEST_CASE("a turn ends at its deadline, not before, and not at all without one") {
    TestEngine test(any_engine());
    for (const auto wait : {milliseconds(1), milliseconds(30)}) {
        const Instant deadline = test.clock.now().mono + wait;
        // A signal may end a turn early (so may the kernel's taking apart of earlier tests' rings).
        // An engine that does not wait at all makes thousands of turns.
        int turns = 0;
        do {
            test.engine->turn(deadline);
            ++turns;
        } while (test.engine->now().mono < deadline);
        CHECK(turns <= 50);
        CHECK(test.engine->now().mono < deadline + std::chrono::seconds(2));
    }
    // In the past: does not wait.
    const Instant before = test.clock.now().mono;
    test.engine->turn(Instant::min());
    test.engine->turn(before);
    CHECK(test.clock.now().mono - before < std::chrono::seconds(1));
}

TEST_CASE("wake() from another thread ends a wait without deadline, and many are one") {
    TestEngine test(any_engine());
    struct Waked final : WakeHandler, TurnHandler {
        void on_wake() override {
            ++calls;
            CHECK(turns > 0);  // the turn is announced first
        }
        void on_turn(Now) override { ++turns; }
        int calls = 0;
        int turns = 0;
    } handler;
    test.engine->set_wake_handler(&handler);
    test.engine->set_turn_handler(&handler);
    for (int i = 1; i <= 100; ++i) {
        std::thread waker([&] {
            test.engine->wake();
            test.engine->wake();
            test.engine->wake();
        });
        const int before = handler.calls;
        while (handler.calls == before)
            test.engine->turn(kNever);
        waker.join();
        // A wake() after the call is a new one; none of them may be lost.
        test.engine->turn(Instant::min());
        CHECK(handler.calls >= i);
    }
    const int calls = handler.calls;
    test.engine->wake();
    test.engine->wake();
    test.engine->turn(kNever);
    CHECK(handler.calls == calls + 1);
    test.engine->turn(Instant::min());
    CHECK(handler.calls == calls + 1);
}

TEST_CASE("no wake-up is lost between two threads") {
    TestEngine test(any_engine());
    struct Counting final : WakeHandler {
        void on_wake() override { seen = sent.load(); }
        std::atomic<int> sent{0};
        int seen = 0;
    } handler;
    test.engine->set_wake_handler(&handler);
    constexpr int kMessages = 20000;
    std::thread sender([&] {
        for (int i = 0; i < kMessages; ++i) {
            handler.sent.fetch_add(1);
            test.engine->wake();
        }
    });
    // Would hang for ever if the last wake-up were swallowed.
    while (handler.seen < kMessages)
        test.engine->turn(kNever);
    sender.join();
    CHECK(handler.seen == kMessages);
}

TEST_CASE("a wake-up during the handler is one for the next turn") {
    TestEngine test(any_engine());
    struct Again final : WakeHandler {
        void on_wake() override {
            if (++calls < 3) engine->wake();
        }
        Engine* engine = nullptr;
        int calls = 0;
    } handler;
    handler.engine = test.engine.get();
    test.engine->set_wake_handler(&handler);
    test.engine->wake();
    CHECK(test.run_until([&] { return handler.calls == 3; }));
}

TEST_CASE("a place that was given to somebody else is not found by its old id") {
    SlotTable<int> table;
    int first = 1;
    int second = 2;
    const SlotId old_id = table.insert(first);
    CHECK(table.find(old_id) == &first);
    table.erase(old_id);
    CHECK(table.find(old_id) == nullptr);
    const SlotId new_id = table.insert(second);
    CHECK(table.find(new_id) == &second);
    CHECK(table.find(old_id) == nullptr);
    table.erase(old_id);  // too late, and without effect
    CHECK(table.find(new_id) == &second);
    CHECK(table.find(kNoSlot) == nullptr);
    // The same place, so that the above shows anything.
    CHECK(static_cast<uint32_t>(old_id) == static_cast<uint32_t>(new_id));
}

namespace {

// A sandbox as containers have it: these system calls are answered with this error.
void forbid(std::initializer_list<long> calls, int error) {
    std::vector<sock_filter> filter;
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    for (const long call : calls) {
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
        filter.push_back(
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        throw std::runtime_error("no seccomp");
    }
}

std::string engine_without_uring() {
    SystemClock clock;
    DropCounters drops;
    const auto any = Engine::create(std::nullopt, clock, drops);
    if (!any) return "no engine at all: " + any.error().message;
    const EngineReport report = (*any)->report();
    if (report.kind != EngineKind::kEpoll) return "not epoll";
    if (report.why_not_uring.find("seccomp") == std::string::npos) {
        return "the reason is: " + report.why_not_uring;
    }
    (*any)->turn(Instant::min());
    const auto wanted = Engine::create(EngineKind::kUring, clock, drops);
    if (wanted) return "io_uring works";
    if (wanted.error().message.find("io_uring_setup") == std::string::npos) {
        return "no remedy in: " + wanted.error().message;
    }
    return "";
}

}  // namespace

TEST_CASE("where io_uring is allowed it is taken, unless epoll is asked for") {
    SystemClock clock;
    DropCounters drops;
    CHECK((*Engine::create(std::nullopt, clock, drops))->report().kind == EngineKind::kUring);
    const auto epoll = Engine::create(EngineKind::kEpoll, clock, drops);
    CHECK((*epoll)->report().kind == EngineKind::kEpoll);
    CHECK((*epoll)->report().why_not_uring.empty());
}

TEST_CASE("where a sandbox forbids io_uring, epoll is taken and the reason told") {
    CHECK(in_child([] {
              forbid({SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register}, EPERM);
              return engine_without_uring();
          }) == "");
    CHECK(in_child([] {
              forbid({SYS_io_uring_setup}, ENOSYS);
              return engine_without_uring();
          }) == "");
    // The setup alone is not enough.
    CHECK(in_child([] {
              forbid({SYS_io_uring_enter}, EPERM);
              return engine_without_uring();
          }) == "");
}

TEST_CASE("a kernel without epoll_pwait2 waits in milliseconds") {
    CHECK(in_child([]() -> std::string {
              forbid({SYS_epoll_pwait2}, ENOSYS);
              TestEngine test(EngineKind::kEpoll);
              const Instant deadline = test.clock.now().mono + std::chrono::microseconds(2500);
              test.engine->turn(deadline);
              return test.engine->now().mono >= deadline ? "" : "too early";
          }) == "");
}

}  // namespace sluice::io
