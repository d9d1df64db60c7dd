// What cutting costs before encryption: nanoseconds per segment, most of it the checksum over bytes
// that the cipher will find in the cache.
#include <benchmark/benchmark.h>

#include "dataplane/tunnel/checksum.h"
#include "dataplane/tunnel/naive_packets.h"
#include "dataplane/tunnel/segmenter.h"

namespace {

using namespace sluice;
using namespace sluice::tunnel;

void segment(benchmark::State& state, bool tcp) {
    naive::Spec spec;
    spec.tcp = tcp;
    spec.payload.resize(64000, 1);
    if (tcp) spec.tcp_options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1};
    const naive::Packet original = naive::build(spec);
    const Offload offload{.flags = Offload::kNeedsChecksum,
                          .gso_type = tcp ? Offload::kGsoTcp4 : Offload::kGsoUdpL4,
                          .gso_size = static_cast<uint16_t>(tcp ? 1368 : 1392),
                          .checksum_start = 20,
                          .checksum_offset = static_cast<uint16_t>(tcp ? 16 : 6)};
    naive::Packet packet = original;
    size_t segments = 0;
    for (auto _ : state) {
        std::copy_n(original.begin(), 52, packet.begin());  // the rest may be overwritten as it is
        Segmenter segmenter(offload, packet);
        while (const auto part = segmenter.next()) {
            benchmark::DoNotOptimize(part->data());
            ++segments;
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(segments));
    state.SetBytesProcessed(state.iterations() * 64000);
    state.counters["ns_per_packet"] =
        benchmark::Counter(static_cast<double>(segments) * 1e-9,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(segment, tcp, true);
BENCHMARK_CAPTURE(segment, udp, false);

void checksum(benchmark::State& state) {
    const naive::Packet bytes(static_cast<size_t>(state.range(0)), 0x5a);
    for (auto _ : state)
        benchmark::DoNotOptimize(checksum_fold(checksum_add(0, bytes)));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->Arg(20)->Arg(64)->Arg(1400)->Arg(8960);

void checksum_without_vectors(benchmark::State& state) {
    const naive::Packet bytes(static_cast<size_t>(state.range(0)), 0x5a);
    for (auto _ : state) {
        benchmark::DoNotOptimize(checksum_fold(detail::add_words(0, bytes)));
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum_without_vectors)->Arg(1400);

}  // namespace
