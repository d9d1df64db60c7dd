// What a lookup costs as prefixes grow in number, hosts and networks of both families; and what it
// costs to make the table, which every change of the settings does.
#include <benchmark/benchmark.h>

#include "dataplane/base/random.h"
#include "dataplane/wireguard/allowed_ips.h"

namespace sluice::wireguard {
namespace {

enum Kind { kV4Hosts, kV4Networks, kV6Hosts, kV6Networks };

std::vector<IpPrefix> make_prefixes(Kind kind, size_t count) {
    SeededRandom random(count);
    std::vector<IpPrefix> prefixes;
    for (size_t i = 0; i < count; ++i) {
        std::array<uint8_t, 16> bytes;
        random.fill(bytes);
        if (kind == kV4Hosts || kind == kV4Networks) {
            bytes[0] = 10;
            const uint64_t length = kind == kV4Hosts ? 32 : 16 + random.below(16);
            prefixes.push_back({IpAddress::v4(bytes.data()), static_cast<uint8_t>(length)});
        } else {
            bytes[0] = 0xfd;
            const uint64_t length = kind == kV6Hosts ? 128 : 48 + random.below(17);
            prefixes.push_back({IpAddress::v6(bytes.data()), static_cast<uint8_t>(length)});
        }
    }
    return prefixes;
}

AllowedIps make_table(const std::vector<IpPrefix>& prefixes) {
    AllowedIps ips;
    ips.reserve(prefixes.size(), prefixes.size());
    for (size_t i = 0; i < prefixes.size(); ++i)
        ips.insert(prefixes[i], static_cast<PeerId>(i));
    ips.finish();
    return ips;
}

void lookup(benchmark::State& state) {
    const auto prefixes =
        make_prefixes(static_cast<Kind>(state.range(0)), static_cast<size_t>(state.range(1)));
    const AllowedIps ips = make_table(prefixes);
    SeededRandom random(1);
    std::vector<IpAddress> asked;
    for (int i = 0; i < 1 << 16; ++i)
        asked.push_back(prefixes[random.below(prefixes.size())].address);
    size_t next = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(ips.find(asked[next].view()));
        next = (next + 1) % asked.size();
    }
}

void build(benchmark::State& state) {
    const auto prefixes =
        make_prefixes(static_cast<Kind>(state.range(0)), static_cast<size_t>(state.range(1)));
    for (auto _ : state)
        benchmark::DoNotOptimize(make_table(prefixes));
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(1));
}

BENCHMARK(lookup)
    ->ArgNames({"kind", "prefixes"})
    ->ArgsProduct({{kV4Hosts, kV4Networks, kV6Hosts, kV6Networks}, {10, 1000, 100'000, 1'000'000}});
BENCHMARK(build)
    ->ArgNames({"kind", "prefixes"})
    ->ArgsProduct({{kV4Hosts, kV6Hosts}, {1000, 1'000'000}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice::wireguard
