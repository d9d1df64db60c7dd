#include "dataplane/crypto/blake2s.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::crypto {

namespace {

constexpr std::array<uint32_t, 8> kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                              0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

constexpr uint8_t kSigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

using Words = std::array<uint32_t, 16>;

inline void mix(Words& v, size_t a, size_t b, size_t c, size_t d, uint32_t x, uint32_t y) {
    v[a] += v[b] + x;
    v[d] = std::rotr(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = std::rotr(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 7);
}

// One round. Its number is a constant so that the permutation is resolved by the compiler and the
// words stay in registers.
template <size_t kRound>
inline void mix_all(Words& v, const Words& m) {
    constexpr auto& s = kSigma[kRound];
    mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
    mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
    mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
    mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
    mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
    mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
    mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
    mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
}

}  // namespace

Blake2s::Blake2s(size_t digest_size, Bytes key) : state_(kInitial), digest_size_(digest_size) {
    SLUICE_CHECK(digest_size >= 1 && digest_size <= 32 && key.size() <= 32);
    state_[0] ^= 0x01010000u ^ static_cast<uint32_t>(key.size() << 8 | digest_size);
    if (key.empty()) return;
    buffer_.fill(0);
    std::memcpy(buffer_.data(), key.data(), key.size());
    buffered_ = kBlockSize;
}

Blake2s::~Blake2s() {
    wipe(state_.data(), sizeof state_);
    wipe(buffer_.data(), sizeof buffer_);
}

void Blake2s::compress(const uint8_t* block, bool last) {
    Words v;
    Words m;
    std::memcpy(m.data(), block, kBlockSize);  // little-endian already
    std::copy(state_.begin(), state_.end(), v.begin());
    std::copy(kInitial.begin(), kInitial.end(), v.begin() + 8);
    v[12] ^= static_cast<uint32_t>(count_);
    v[13] ^= static_cast<uint32_t>(count_ >> 32);
    if (last) v[14] = ~v[14];
    [&]<size_t... kRounds>(std::index_sequence<kRounds...>) {
        (mix_all<kRounds>(v, m), ...);
    }(std::make_index_sequence<std::size(kSigma)>());
    for (size_t i = 0; i < 8; ++i)
        state_[i] ^= v[i] ^ v[i + 8];
    wipe(m.data(), sizeof m);
}

// The last block is treated differently, so a full buffer is kept until more comes.
void Blake2s::update(Bytes bytes) {
    while (!bytes.empty()) {
        if (buffered_ == kBlockSize) {
            count_ += kBlockSize;
            compress(buffer_.data(), false);
            buffered_ = 0;
        }
        const size_t size = std::min(kBlockSize - buffered_, bytes.size());
        std::memcpy(buffer_.data() + buffered_, bytes.data(), size);
        buffered_ += size;
        bytes = bytes.subspan(size);
    }
}

void Blake2s::finish(MutableBytes out) {
    SLUICE_CHECK(out.size() == digest_size_);
    count_ += buffered_;
    std::fill(buffer_.begin() + static_cast<ptrdiff_t>(buffered_), buffer_.end(), uint8_t{0});
    compress(buffer_.data(), true);
    // Little-endian machines only (base/bytes.h), so the words are the digest's bytes already.
    std::memcpy(out.data(), state_.data(), out.size());
}

Hash blake2s(std::initializer_list<Bytes> pieces) {
    Blake2s state;
    for (const Bytes piece : pieces)
        state.update(piece);
    Hash hash;
    state.finish(hash);
    return hash;
}

Mac blake2s_mac(Bytes key, std::initializer_list<Bytes> pieces) {
    Mac mac;
    Blake2s state(mac.size(), key);
    for (const Bytes piece : pieces)
        state.update(piece);
    state.finish(mac);
    return mac;
}

bool equal_macs(Bytes a, Bytes b) {
    if (a.size() != b.size()) return false;
    uint8_t difference = 0;
    for (size_t i = 0; i < a.size(); ++i)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

Secret<32> hmac_blake2s(Bytes key, std::initializer_list<Bytes> pieces) {
    SLUICE_CHECK(key.size() <= Blake2s::kBlockSize);
    Secret<Blake2s::kBlockSize> inner_key;
    Secret<Blake2s::kBlockSize> outer_key;
    if (!key.empty()) {
        std::memcpy(inner_key.data(), key.data(), key.size());
        std::memcpy(outer_key.data(), key.data(), key.size());
    }
    for (size_t i = 0; i < Blake2s::kBlockSize; ++i) {
        inner_key.data()[i] ^= 0x36;
        outer_key.data()[i] ^= 0x5c;
    }
    Secret<32> digest;
    Blake2s inner;
    inner.update(inner_key.span());
    for (const Bytes piece : pieces)
        inner.update(piece);
    inner.finish(digest.span());
    Blake2s outer;
    outer.update(outer_key.span());
    outer.update(digest.span());
    outer.finish(digest.span());
    return digest;
}

}  // namespace sluice::crypto
