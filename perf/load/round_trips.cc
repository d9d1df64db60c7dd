// How long a small UDP packet takes to the other end of the tunnel and back, one at a time: what a
// request that finds everything idle has to wait.
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "perf/load/options.h"
#include "perf/load/sockets.h"

namespace sluice::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPayload = 64;

void answer(const Descriptor& socket, const std::atomic<bool>& stop) {
    uint8_t bytes[kPayload];
    sockaddr_in from{};
    while (!stop.load()) {
        socklen_t size = sizeof from;
        const ssize_t count = recvfrom(socket.number(), bytes, sizeof bytes, 0,
                                       reinterpret_cast<sockaddr*>(&from), &size);
        if (count < 0) continue;  // nothing for a while
        sendto(socket.number(), bytes, static_cast<size_t>(count), 0,
               reinterpret_cast<const sockaddr*>(&from), size);
    }
}

double microseconds(Clock::duration time) {
    return std::chrono::duration<double, std::micro>(time).count();
}

}  // namespace

void round_trips(Options& options) {
    const Descriptor from =
        open_udp(options.text("from-namespace"), address_of(options.text("from"), 0));
    const std::string to_address = options.text("to");
    const Descriptor to = open_udp(options.text("to-namespace"), address_of(to_address, 0));
    const auto duration = std::chrono::milliseconds(options.number("milliseconds"));
    options.finish();

    set_receive_timeout(to, 100);
    set_receive_timeout(from, 1000);
    const sockaddr_in target = address_of(to_address, port_of(to));
    if (connect(from.number(), reinterpret_cast<const sockaddr*>(&target), sizeof target))
        fail_with_errno("connect");

    std::atomic<bool> stop = false;
    std::thread server([&] { answer(to, stop); });
    std::vector<Clock::duration> times;
    uint64_t lost = 0;
    uint64_t number = 0;
    uint8_t bytes[kPayload] = {};
    const auto start = Clock::now();
    for (auto now = start; now - start < duration;) {
        ++number;
        std::memcpy(bytes, &number, sizeof number);
        if (send(from.number(), bytes, sizeof bytes, 0) < 0) fail_with_errno("send");
        uint64_t echoed = 0;
        do {  // an answer to one that was given up is not the one
            if (recv(from.number(), bytes, sizeof bytes, 0) < 0) break;
            std::memcpy(&echoed, bytes, sizeof echoed);
        } while (echoed != number);
        const auto after = Clock::now();
        if (echoed == number)
            times.push_back(after - now);
        else
            ++lost;
        now = after;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    stop = true;
    server.join();

    std::ranges::sort(times);
    const auto percentile = [&](double share) {
        if (times.empty()) return 0.0;
        return microseconds(
            times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))]);
    };
    std::printf(
        "{\"round_trips\": %zu, \"lost\": %llu, \"seconds\": %.6f, \"p50_us\": %.2f, "
        "\"p99_us\": %.2f, \"p999_us\": %.2f}\n",
        times.size(), static_cast<unsigned long long>(lost), seconds, percentile(0.5),
        percentile(0.99), percentile(0.999));
}

}  // namespace sluice::perf
