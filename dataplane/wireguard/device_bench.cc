// What one packet costs in each direction, cipher included; compare with bench_aead to see the
// rest.
#include <benchmark/benchmark.h>

#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {
namespace {

// Buffers as the worker has them: there already, and reused.
class ReusingOutput final : public DeviceOutput {
  public:
    MutableBytes datagram_buffer(size_t, const Path&, uint8_t) override { return datagram_; }
    void datagram_ready(size_t size) override { datagram_size = size; }
    MutableBytes inner_buffer(size_t, PeerId) override { return inner_; }
    void inner_ready(size_t, bool) override { ++received; }
    void inner_abandoned() override {}
    void belongs_to(uint32_t) override {}

    Bytes datagram() const { return {datagram_.data(), datagram_size}; }
    size_t datagram_size = 0;
    uint64_t received = 0;

  private:
    std::array<uint8_t, 2048> datagram_;
    std::array<uint8_t, 2048> inner_;
};

void send(benchmark::State& state) {
    TwoDevices net;
    net.connect();
    ReusingOutput out;
    const auto packet = net.packet_from(net.a, static_cast<size_t>(state.range(0)));
    const PeerId peer = net.peer_id(net.a);
    for (auto _ : state) {
        net.a.device.send(peer, packet, net.now, out);
        benchmark::DoNotOptimize(out.datagram_size);
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

// Batches are made outside the measured time, because a datagram is accepted only once.
void receive(benchmark::State& state) {
    constexpr size_t kBatch = 256;
    TwoDevices net;
    net.connect();
    ReusingOutput out;
    const auto packet = net.packet_from(net.a, static_cast<size_t>(state.range(0)));
    const PeerId peer = net.peer_id(net.a);
    const Path path{net.a.endpoint, net.b.endpoint.address, 1};
    std::vector<std::vector<uint8_t>> datagrams(kBatch);
    size_t next = kBatch;
    for (auto _ : state) {
        if (next == kBatch) {
            state.PauseTiming();
            for (auto& datagram : datagrams) {
                net.a.device.send(peer, packet, net.now, out);
                datagram.assign(out.datagram().begin(), out.datagram().end());
            }
            next = 0;
            state.ResumeTiming();
        }
        net.b.device.receive(datagrams[next++], path, 0, net.now, out);
    }
    if (out.received != static_cast<uint64_t>(state.iterations())) state.SkipWithError("refused");
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

void route(benchmark::State& state) {
    Now now{Instant(std::chrono::seconds(10)), WallTime(std::chrono::seconds(1'800'000'000))};
    End end(7, "192.0.2.1:1", now);
    SeededRandom random(5);
    for (uint32_t i = 0; i < static_cast<uint32_t>(state.range(0)); ++i) {
        PeerSettings peer;
        random.fill(peer.public_key);
        IpAddress address = IpAddress::parse("10.0.0.0").value();
        store_be32(address.bytes.data(), 0x0a000000 + i);
        peer.allowed_ips = {IpPrefix{address, 32}};
        end.peers.push_back(peer);
    }
    end.configure(now);
    auto packet = ip_packet("10.0.0.1", "10.0.0.2", 100);
    uint32_t host = 0;
    for (auto _ : state) {
        host = (host * 1664525 + 1013904223);
        store_be32(packet.data() + 16, 0x0a000000 + host % static_cast<uint32_t>(state.range(0)));
        benchmark::DoNotOptimize(end.device.route(packet));
    }
}

BENCHMARK(send)->Arg(64)->Arg(512)->Arg(1420);
BENCHMARK(receive)->Arg(64)->Arg(512)->Arg(1420);
BENCHMARK(route)->Arg(1)->Arg(1000)->Arg(100000);

}  // namespace
}  // namespace sluice::wireguard
