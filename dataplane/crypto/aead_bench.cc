// What one packet costs, by size and library: the larger part of all that a tunnel does. The first
// argument is the size, the second whether libipsec-mb does it, where it can.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/aead_backend.h"

namespace sluice::crypto {
namespace {

Secret<32> any_key() {
    SeededRandom random(1);
    Secret<32> key;
    random.fill(key.span());
    return key;
}

void choose(benchmark::State& state) {
    const auto choice = state.range(1) != 0 ? AeadChoice::kIpsecMb : AeadChoice::kOpenssl;
    state.SetLabel(std::string(name_of(choose_aead(choice).backend)));
}

void count_bytes(benchmark::State& state, int64_t packets) {
    state.SetBytesProcessed(state.iterations() * state.range(0) * packets);
}

void seal(benchmark::State& state) {
    choose(state);
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> plain(size, 0x5a);
    std::vector<uint8_t> sealed(size + kTagSize);
    uint64_t counter = 0;
    for (auto _ : state) {
        key.seal(counter++, {}, plain, sealed);
        benchmark::DoNotOptimize(sealed.data());
    }
    count_bytes(state, 1);
}

void seal_in_place(benchmark::State& state) {
    choose(state);
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> bytes(size + kTagSize, 0x5a);
    uint64_t counter = 0;
    for (auto _ : state) {
        key.seal(counter++, {}, Bytes(bytes).first(size), bytes);
        benchmark::DoNotOptimize(bytes.data());
    }
    count_bytes(state, 1);
}

void open(benchmark::State& state) {
    choose(state);
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> plain(size, 0x5a);
    std::vector<uint8_t> sealed(size + kTagSize);
    key.seal(9, {}, plain, sealed);
    for (auto _ : state) {
        if (!key.open(9, {}, sealed, plain)) state.SkipWithError("not authentic");
        benchmark::DoNotOptimize(plain.data());
    }
    count_bytes(state, 1);
}

// The time is that of the whole batch.
void open_batch_of_32(benchmark::State& state) {
    constexpr size_t kPackets = 32;
    choose(state);
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> plain(kPackets * size, 0x5a);
    std::vector<uint8_t> sealed(kPackets * (size + kTagSize));
    std::array<AeadPacket, kPackets> packets;
    for (size_t i = 0; i < kPackets; ++i) {
        packets[i] = {.counter = i,
                      .in = Bytes(plain).subspan(i * size, size),
                      .out = MutableBytes(sealed).subspan(i * (size + kTagSize), size + kTagSize)};
    }
    key.seal_batch(packets);
    for (size_t i = 0; i < kPackets; ++i) {
        packets[i].in = packets[i].out;
        packets[i].out = MutableBytes(plain).subspan(i * size, size);
    }
    for (auto _ : state) {
        if (key.open_batch(packets) != kPackets) state.SkipWithError("not authentic");
        benchmark::DoNotOptimize(plain.data());
    }
    count_bytes(state, kPackets);
}

// What a peer costs that sends one packet after another peer's: with OpenSSL the context takes the
// other key each time.
void open_alternating_keys(benchmark::State& state) {
    choose(state);
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey first(any_key());
    AeadKey second(Secret<32>{});
    std::vector<uint8_t> plain(size, 0x5a);
    std::array<std::vector<uint8_t>, 2> sealed;
    for (auto& bytes : sealed)
        bytes.resize(size + kTagSize);
    first.seal(9, {}, plain, sealed[0]);
    second.seal(9, {}, plain, sealed[1]);
    size_t turn = 0;
    for (auto _ : state) {
        AeadKey& key = turn == 0 ? first : second;
        if (!key.open(9, {}, sealed[turn], plain)) state.SkipWithError("not authentic");
        benchmark::DoNotOptimize(plain.data());
        turn ^= 1;
    }
    count_bytes(state, 1);
}

void sizes(benchmark::internal::Benchmark* each) {
    std::vector<int64_t> libraries = {0};
    if (choose_aead(AeadChoice::kIpsecMb).backend == AeadBackend::kIpsecMb) libraries.push_back(1);
    each->ArgNames({"bytes", "ipsec_mb"})->ArgsProduct({{64, 512, 1420, 16384}, libraries});
}

BENCHMARK(seal)->Apply(sizes);
BENCHMARK(seal_in_place)->Apply(sizes);
BENCHMARK(open)->Apply(sizes);
BENCHMARK(open_batch_of_32)->Apply(sizes);
BENCHMARK(open_alternating_keys)->Apply(sizes);

}  // namespace
}  // namespace sluice::crypto
