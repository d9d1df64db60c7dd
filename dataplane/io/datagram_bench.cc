// What datagrams cost over loopback: one port sends batches of 1452 bytes (an inner packet of
// 1420), another one of the same engine receives them, in one thread. CPU seconds per GB are those
// of this thread and so hold the whole of the kernel's work in both directions, copies included.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cstring>
#include <stdexcept>

#include "dataplane/base/clock.h"
#include "dataplane/io/engine.h"

namespace sluice::io {
namespace {

class Counting final : public DatagramHandler {
  public:
    void on_datagrams(MutableBytes bytes, size_t, const Path&, uint8_t) override {
        received += bytes.size();
        ++calls;
    }
    void on_datagrams_end() override {}
    size_t received = 0;
    size_t calls = 0;
};

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

std::unique_ptr<DatagramPort> open_port(Engine& engine, DatagramHandler& handler,
                                        const DatagramPortOptions& options) {
    auto port = engine.open_datagram_port(options, handler);
    if (!port) throw std::runtime_error(port.error().message);
    return std::move(*port);
}

// Arguments: engine, offloads on or off, datagrams sent before the receiver has its turn.
void loopback_round(benchmark::State& state) {
    const auto kind = static_cast<EngineKind>(state.range(0));
    const bool offloads = state.range(1) != 0;
    const size_t datagrams = static_cast<size_t>(state.range(2));
    constexpr size_t kSize = 1452;
    SystemClock clock;
    DropCounters drops;
    auto engine = Engine::create(kind, clock, drops);
    if (!engine) return state.SkipWithError(engine.error().message.c_str());
    Counting handler;
    const DatagramPortOptions options{.gso = offloads, .gro = offloads};
    const auto receiver = open_port(**engine, handler, options);
    const auto sender = open_port(**engine, handler, options);
    const Path path{.remote = {*IpAddress::parse("127.0.0.1"), receiver->local_port()},
                    .local = *IpAddress::parse("127.0.0.1")};
    size_t sent = 0;
    const double start = cpu_seconds();
    for (auto _ : state) {
        for (size_t i = 0; i < datagrams; ++i) {
            const MutableBytes room = sender->buffer(kSize, path, 0);
            if (room.empty()) break;
            std::memset(room.data(), static_cast<int>(i), kSize);  // as encryption would
            sender->commit(kSize);
            sent += kSize;
        }
        sender->flush();
        while (handler.received < sent)
            (*engine)->turn(Instant::min());
    }
    const double gigabytes = static_cast<double>(sent) / 1e9;
    state.SetLabel(std::string(name_of(kind)) + (offloads ? ", GSO and GRO" : ", plain"));
    state.counters["cpu_s_per_GB"] = (cpu_seconds() - start) / gigabytes;
    state.counters["bytes_per_call"] =
        static_cast<double>(handler.received) / static_cast<double>(handler.calls);
}

BENCHMARK(loopback_round)
    ->ArgNames({"engine", "offloads", "datagrams"})
    ->ArgsProduct({{static_cast<int>(EngineKind::kUring), static_cast<int>(EngineKind::kEpoll)},
                   {1, 0},
                   {1, 45, 450}});

}  // namespace
}  // namespace sluice::io
