// Handshakes per second: both sides' work, and each side's. One iteration is one handshake.
#include <benchmark/benchmark.h>

#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {
namespace {

// The whole of it through two devices: initiation, response, confirmation.
void handshake_both_ends(benchmark::State& state) {
    TwoDevices net;
    const auto packet = net.packet_from(net.a);
    for (auto _ : state) {
        net.advance_to(net.now.mono + std::chrono::seconds(200));
        net.send(net.a, packet);
        net.settle();
        net.b.out.received.clear();
    }
    if (net.a.device.handshakes_completed() < static_cast<uint64_t>(state.iterations())) {
        state.SkipWithError("a handshake failed");
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

// What one initiation costs the node that answers it.
void respond(benchmark::State& state) {
    TwoDevices net;
    const auto packet = net.packet_from(net.a);
    uint64_t accepted = 0;
    for (auto _ : state) {
        state.PauseTiming();
        net.advance_to(net.now.mono + std::chrono::seconds(200));
        net.send(net.a, packet);
        SentDatagram initiation = net.take(net.a);
        net.a.out.sent.clear();
        state.ResumeTiming();
        accepted += net.give(net.b, std::move(initiation)) == DropReason::kNone ? 1 : 0;
        net.b.out.sent.clear();
    }
    if (accepted != static_cast<uint64_t>(state.iterations())) state.SkipWithError("refused");
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

// What a datagram costs that only looks like a handshake: the first MAC is wrong.
void refuse_forged(benchmark::State& state) {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    SentDatagram initiation = net.take(net.a);
    initiation.bytes[120] ^= 1;
    const Path path{net.a.endpoint, {}, 0};
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            net.b.device.receive(initiation.bytes, path, 0, net.now, net.b.out));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

BENCHMARK(handshake_both_ends);
BENCHMARK(respond);
BENCHMARK(refuse_forged);

}  // namespace
}  // namespace sluice::wireguard
