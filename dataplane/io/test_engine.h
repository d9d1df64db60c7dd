// For tests of this room: an engine with what it needs, and waiting for a condition instead of a
// time.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <functional>
#include <string>

#include "dataplane/base/clock.h"
#include "dataplane/io/engine.h"

namespace sluice::io {

struct TestEngine {
    explicit TestEngine(EngineKind kind) {
        auto made = Engine::create(kind, clock, drops);
        if (!made) throw std::runtime_error(made.error().message);
        engine = std::move(*made);
    }

    // Turns until the condition holds. False: it took more than ten seconds, which only a failure
    // does.
    bool run_until(const std::function<bool()>& condition) {
        const Instant end = clock.now().mono + std::chrono::seconds(10);
        while (!condition()) {
            if (clock.now().mono > end) return false;
            engine->turn(clock.now().mono + std::chrono::milliseconds(20));
        }
        return true;
    }

    // Turns as long as there is something to do.
    void run_until_idle() {
        for (int i = 0; i < 20; ++i) {
            engine->turn(clock.now().mono + std::chrono::milliseconds(1));
        }
    }

    SystemClock clock;
    DropCounters drops;
    std::unique_ptr<Engine> engine;
};

inline EngineKind any_engine() {
    const EngineKind kind = GENERATE(EngineKind::kEpoll, EngineKind::kUring);
    UNSCOPED_INFO("engine: " << name_of(kind));
    return kind;
}

inline Endpoint loopback(uint16_t port, bool v6 = false) {
    return {*IpAddress::parse(v6 ? "::1" : "127.0.0.1"), port};
}

// Runs `body` in a child process, for what cannot be undone (limits, sandboxes, namespaces). It
// returns an empty string, or what went wrong, which the parent gets.
inline std::string in_child(const std::function<std::string()>& body) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return "pipe failed";
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        ::close(pipe_ends[0]);
        std::string message;
        try {
            message = body();
        } catch (const std::exception& error) {
            message = std::string("exception: ") + error.what();
        }
        [[maybe_unused]] const ssize_t written =
            ::write(pipe_ends[1], message.data(), message.size());
        _exit(message.empty() ? 0 : 1);
    }
    ::close(pipe_ends[1]);
    std::string message;
    char buffer[512];
    ssize_t got;
    while ((got = ::read(pipe_ends[0], buffer, sizeof buffer)) > 0) {
        message.append(buffer, static_cast<size_t>(got));
    }
    ::close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (message.empty() && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        message = "the child died with status " + std::to_string(status);
    }
    return message;
}

}  // namespace sluice::io
