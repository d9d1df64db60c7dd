// What joining costs beyond decryption: nanoseconds per packet, headers written by the benchmark as
// decryption would, payload left alone.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "dataplane/tunnel/coalescer.h"
#include "dataplane/tunnel/naive_packets.h"

namespace {

using namespace sluice;
using namespace sluice::tunnel;

constexpr size_t kBatch = 44;  // what one UDP GRO receive of full-size packets brings

class Discard final : public CoalescerOutput {
  public:
    void on_packet(const Offload&, uint16_t, Bytes packet) override { bytes += packet.size(); }
    size_t bytes = 0;
};

// `flows` downloads that take turns packet by packet; 1420-byte packets, 12 bytes of timestamps.
std::vector<naive::Packet> batch_of(bool tcp, size_t flows, size_t payload) {
    std::vector<naive::Packet> packets;
    for (size_t i = 0; i < kBatch; ++i) {
        naive::Spec spec;
        spec.tcp = tcp;
        spec.source_port = static_cast<uint16_t>(1000 + i % flows);
        spec.sequence = static_cast<uint32_t>(i / flows * payload);
        if (tcp) spec.tcp_options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1};
        spec.payload.resize(payload);
        packets.push_back(naive::build(spec));
    }
    return packets;
}

void coalesce(benchmark::State& state, bool tcp, size_t flows, size_t payload) {
    const auto packets = batch_of(tcp, flows, payload);
    Coalescer coalescer({});
    Discard out;
    for (auto _ : state) {
        for (const naive::Packet& packet : packets) {
            const MutableBytes room = coalescer.buffer(packet.size(), out);
            std::memcpy(room.data(), packet.data(), tcp ? 52 : 28);
            coalescer.commit(packet.size(), out);
        }
        coalescer.flush(out);
    }
    benchmark::DoNotOptimize(out.bytes);
    state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBatch * payload));
    state.counters["ns_per_packet"] = benchmark::Counter(
        static_cast<double>(kBatch) * 1e-9,
        benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK_CAPTURE(coalesce, tcp_one_flow, true, 1, 1368);
BENCHMARK_CAPTURE(coalesce, tcp_two_flows_in_turn, true, 2, 1368);
BENCHMARK_CAPTURE(coalesce, tcp_eight_flows_in_turn, true, 8, 1368);
BENCHMARK_CAPTURE(coalesce, tcp_acknowledgments, true, 1, 0);
BENCHMARK_CAPTURE(coalesce, udp_one_flow, false, 1, 1392);

}  // namespace
