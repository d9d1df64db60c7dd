// What one packet costs, by size: the larger part of all that a tunnel does.
#include <benchmark/benchmark.h>

#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/aead.h"

namespace sluice::crypto {
namespace {

Secret<32> any_key() {
    SeededRandom random(1);
    Secret<32> key;
    random.fill(key.span());
    return key;
}

void seal(benchmark::State& state) {
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> plain(size, 0x5a);
    std::vector<uint8_t> sealed(size + kTagSize);
    uint64_t counter = 0;
    for (auto _ : state) {
        key.seal(counter++, {}, plain, sealed);
        benchmark::DoNotOptimize(sealed.data());
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

void seal_in_place(benchmark::State& state) {
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> bytes(size + kTagSize, 0x5a);
    uint64_t counter = 0;
    for (auto _ : state) {
        key.seal(counter++, {}, Bytes(bytes).first(size), bytes);
        benchmark::DoNotOptimize(bytes.data());
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

void open(benchmark::State& state) {
    const auto size = static_cast<size_t>(state.range(0));
    AeadKey key(any_key());
    std::vector<uint8_t> plain(size, 0x5a);
    std::vector<uint8_t> sealed(size + kTagSize);
    key.seal(9, {}, plain, sealed);
    for (auto _ : state) {
        if (!key.open(9, {}, sealed, plain)) state.SkipWithError("not authentic");
        benchmark::DoNotOptimize(plain.data());
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

BENCHMARK(seal)->Arg(64)->Arg(512)->Arg(1420)->Arg(16384);
BENCHMARK(seal_in_place)->Arg(64)->Arg(512)->Arg(1420)->Arg(16384);
BENCHMARK(open)->Arg(64)->Arg(512)->Arg(1420)->Arg(16384);

}  // namespace
}  // namespace sluice::crypto
