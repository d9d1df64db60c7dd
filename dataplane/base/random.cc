#include "dataplane/base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "dataplane/base/check.h"

namespace sluice {

uint32_t Random::u32() {
    std::array<uint8_t, 4> bytes;
    fill(bytes);
    return load_native<uint32_t>(bytes.data());
}

uint64_t Random::u64() {
    std::array<uint8_t, 8> bytes;
    fill(bytes);
    return load_native<uint64_t>(bytes.data());
}

uint64_t Random::below(uint64_t bound) {
    SLUICE_CHECK(bound > 0);
    // Values under the remainder of 2^64 / bound would favour small results; they are drawn again.
    const uint64_t reject_below = (0 - bound) % bound;
    for (;;) {
        const uint64_t value = u64();
        if (value >= reject_below) return value % bound;
    }
}

void SystemRandom::fill(MutableBytes out) {
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        SLUICE_CHECK(got > 0);
        out = out.subspan(static_cast<size_t>(got));
    }
}

SeededRandom::SeededRandom(uint64_t seed) {
    for (uint64_t& word : state_) {  // splitmix64, as the authors of xoshiro advise for seeding
        seed += 0x9e3779b97f4a7c15u;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        word = mixed ^ (mixed >> 31);
    }
}

uint64_t SeededRandom::next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

void SeededRandom::fill(MutableBytes out) {
    while (!out.empty()) {
        const uint64_t word = next();
        const size_t take = std::min(out.size(), sizeof word);
        std::memcpy(out.data(), &word, take);
        out = out.subspan(take);
    }
}

}  // namespace sluice
