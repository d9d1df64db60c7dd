// The first MAC of a handshake message, ours and the library's: what a forged datagram costs.
#include <benchmark/benchmark.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "dataplane/crypto/blake2s.h"

namespace sluice::crypto {
namespace {

void first_mac(benchmark::State& state) {
    const Hash key{};
    const std::array<uint8_t, 116> message{};
    for (auto _ : state)
        benchmark::DoNotOptimize(blake2s_mac(key, {message}));
}

void first_mac_by_library(benchmark::State& state) {
    const Hash key{};
    const std::array<uint8_t, 116> message{};
    EVP_MAC* mac = EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr);
    EVP_MAC_CTX* context = EVP_MAC_CTX_new(mac);
    size_t size = 16;
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                     OSSL_PARAM_construct_end()};
    for (auto _ : state) {
        Mac out;
        EVP_MAC_init(context, key.data(), key.size(), parameters);
        EVP_MAC_update(context, message.data(), message.size());
        EVP_MAC_final(context, out.data(), &size, out.size());
        benchmark::DoNotOptimize(out);
    }
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

BENCHMARK(first_mac);
BENCHMARK(first_mac_by_library);

}  // namespace
}  // namespace sluice::crypto
