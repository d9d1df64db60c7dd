#include "dataplane/tunnel/checksum.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice::tunnel {

namespace detail {

ChecksumSum add_words(ChecksumSum sum, Bytes bytes) {
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    // Halves of 32 bits into sums of 64: no carry to look after, and the four words of a round do
    // not wait for each other.
    uint64_t low = 0;
    uint64_t high = 0;
    for (; left >= 32; at += 32, left -= 32) {
        for (size_t i = 0; i < 32; i += 8) {
            const auto word = load_native<uint64_t>(at + i);
            low += word & 0xffffffff;
            high += word >> 32;
        }
    }
    for (; left >= 4; at += 4, left -= 4)
        low += load_native<uint32_t>(at);
    if (left >= 2) {
        low += load_native<uint16_t>(at);
        at += 2;
        left -= 2;
    }
    if (left > 0) low += *at;
    return sum + low + high;
}

#if defined(__x86_64__)

bool has_vectors() {
    static const bool has = __builtin_cpu_supports("avx2");
    return has;
}

__attribute__((target("avx2"))) ChecksumSum add_vectors(ChecksumSum sum, Bytes bytes) {
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    const __m256i low_half = _mm256_set1_epi64x(0xffffffff);
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    for (; left >= 32; at += 32, left -= 32) {
        const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        low = _mm256_add_epi64(low, _mm256_and_si256(words, low_half));
        high = _mm256_add_epi64(high, _mm256_srli_epi64(words, 32));
    }
    alignas(32) uint64_t lanes[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi64(low, high));
    return add_words(sum + lanes[0] + lanes[1] + lanes[2] + lanes[3], {at, left});
}

#else

bool has_vectors() {
    return false;
}
ChecksumSum add_vectors(ChecksumSum sum, Bytes bytes) {
    return add_words(sum, bytes);
}

#endif

}  // namespace detail

ChecksumSum checksum_add(ChecksumSum sum, Bytes bytes) {
    // Below four vectors the set-up costs more than it saves.
    if (bytes.size() >= 128 && detail::has_vectors()) return detail::add_vectors(sum, bytes);
    return detail::add_words(sum, bytes);
}

uint16_t checksum_fold(ChecksumSum sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
}

ChecksumSum pseudo_header_sum(Bytes addresses, uint8_t protocol, size_t length) {
    ChecksumSum sum = checksum_add(0, addresses);
    sum = checksum_add(sum, uint16_t{protocol});
    sum = checksum_add(sum, static_cast<uint16_t>(length >> 16));
    return checksum_add(sum, static_cast<uint16_t>(length));
}

uint16_t ipv4_header_checksum(Bytes header) {
    constexpr size_t kChecksumField = 10;
    const ChecksumSum sum = checksum_add(0, header.first(kChecksumField));
    return static_cast<uint16_t>(
        ~checksum_fold(checksum_add(sum, header.subspan(kChecksumField + 2))));
}

bool ipv4_header_valid(Bytes header) {
    return checksum_fold(checksum_add(0, header)) == 0xffff;
}

void complete_checksum(MutableBytes bytes, size_t field) {
    const auto checksum = static_cast<uint16_t>(~checksum_fold(checksum_add(0, bytes)));
    store_native<uint16_t>(bytes.data() + field, checksum == 0 ? 0xffff : checksum);
}

}  // namespace sluice::tunnel
