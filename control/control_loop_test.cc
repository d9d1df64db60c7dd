// The loop calls what it was told to call, in order, and nothing that was taken back.
#include "control/control_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

struct Pair {
    Pair() { REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0); }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;
    ~Pair() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    std::array<int, 2> ends{};
};

std::unique_ptr<ControlLoop> make_loop() {
    static SystemClock clock;
    auto loop = ControlLoop::create(clock);
    REQUIRE(loop);
    return std::move(*loop);
}

}  // namespace

TEST_CASE("a descriptor that is ready is told, until it is forgotten") {
    const auto loop = make_loop();
    const Pair pair;
    int calls = 0;
    loop->watch(pair.ends[0], EPOLLIN, [&](uint32_t events) {
        CHECK((events & EPOLLIN) != 0);
        ++calls;
    });
    loop->turn(0ms);
    CHECK(calls == 0);
    REQUIRE(::write(pair.ends[1], "x", 1) == 1);
    loop->turn(1s);
    loop->turn(1s);
    CHECK(calls == 2);  // level-triggered
    loop->change(pair.ends[0], 0);
    loop->turn(0ms);
    CHECK(calls == 2);
    loop->change(pair.ends[0], EPOLLIN);
    loop->turn(1s);
    CHECK(calls == 3);
    loop->forget(pair.ends[0]);
    loop->turn(0ms);
    CHECK(calls == 3);
}

TEST_CASE("a handler may forget itself and others in the middle of a turn") {
    const auto loop = make_loop();
    const Pair one;
    const Pair two;
    int calls = 0;
    const auto forget_both = [&](uint32_t) {
        ++calls;
        loop->forget(one.ends[0]);
        loop->forget(two.ends[0]);
    };
    loop->watch(one.ends[0], EPOLLIN, forget_both);
    loop->watch(two.ends[0], EPOLLIN, forget_both);
    REQUIRE(::write(one.ends[1], "x", 1) == 1);
    REQUIRE(::write(two.ends[1], "x", 1) == 1);
    loop->turn(1s);
    CHECK(calls == 1);
}

TEST_CASE("timers fire in order, once, and not before their time") {
    const auto loop = make_loop();
    std::string order;
    const Instant start = loop->now().mono;
    Instant last{};
    loop->after(20ms, [&] {
        order += "c";
        last = loop->now().mono;
    });
    loop->after(0ms, [&] { order += "a"; });
    loop->after(10ms, [&] { order += "b"; });
    const auto cancelled = loop->after(5ms, [&] { order += "x"; });
    loop->cancel(cancelled);
    loop->cancel(cancelled);
    while (order.size() < 3)
        loop->turn(1s);
    CHECK(order == "abc");
    CHECK(last - start >= 20ms);
}

TEST_CASE("a timer that sets itself to at once does not hold the loop") {
    const auto loop = make_loop();
    int fired = 0;
    std::function<void()> again = [&] {
        ++fired;
        loop->after(0ms, again);
    };
    loop->after(0ms, again);
    loop->turn(0ms);
    CHECK(fired == 1);
    loop->turn(0ms);
    CHECK(fired == 2);
}

TEST_CASE("a timer may cancel one that is due in the same turn") {
    const auto loop = make_loop();
    int fired = 0;
    ControlLoop::TimerId second = 0;
    loop->after(0ms, [&] {
        ++fired;
        loop->cancel(second);
    });
    second = loop->after(0ms, [&] { ++fired; });
    loop->turn(0ms);
    loop->turn(0ms);
    CHECK(fired == 1);
}

TEST_CASE("tasks of other threads run here, in the order of each thread") {
    const auto loop = make_loop();
    const auto here = std::this_thread::get_id();
    std::vector<int> seen;
    std::thread other([&] {
        for (int i = 0; i < 1000; ++i) {
            loop->post([&, i] {
                CHECK(std::this_thread::get_id() == here);
                seen.push_back(i);
            });
        }
        loop->stop();
    });
    loop->run();
    other.join();
    REQUIRE(seen.size() == 1000);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
}

TEST_CASE("signals become calls") {
    // On a thread of its own, which keeps the signal mask of the others as it was.
    std::thread([] {
        const auto loop = make_loop();
        std::vector<int> received;
        REQUIRE(loop->handle_signals({SIGUSR1, SIGUSR2}, [&](int s) { received.push_back(s); }));
        REQUIRE(pthread_kill(pthread_self(), SIGUSR2) == 0);
        while (received.empty())
            loop->turn(1s);
        REQUIRE(pthread_kill(pthread_self(), SIGUSR1) == 0);
        while (received.size() < 2)
            loop->turn(1s);
        CHECK(received == std::vector<int>{SIGUSR2, SIGUSR1});
    }).join();
}

}  // namespace sluice::control
