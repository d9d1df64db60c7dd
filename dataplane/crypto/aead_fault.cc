// The self-test of a ChaCha20-Poly1305 backend, made in the process that is going to rely on it:
// a library that is wrong on this processor must not get a packet.
#include <algorithm>
#include <string_view>
#include <vector>

#include "dataplane/crypto/aead_functions.h"

namespace sluice::crypto {

namespace {

// RFC 8439, appendix A.5. The nonce is 00000000 0102030405060708.
constexpr uint64_t kKnownCounter = 0x0807060504030201;
constexpr auto kKnownKey =
    std::to_array<uint8_t>({0x1c, 0x92, 0x40, 0xa5, 0xeb, 0x55, 0xd3, 0x8a, 0xf3, 0x33, 0x88,
                            0x86, 0x04, 0xf6, 0xb5, 0xf0, 0x47, 0x39, 0x17, 0xc1, 0x40, 0x2b,
                            0x80, 0x09, 0x9d, 0xca, 0x5c, 0xbc, 0x20, 0x70, 0x75, 0xc0});
constexpr auto kKnownAdditional =
    std::to_array<uint8_t>({0xf3, 0x33, 0x88, 0x86, 0, 0, 0, 0, 0, 0, 0x4e, 0x91});
constexpr std::string_view kKnownPlain =
    "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, "
    "replaced, or obsoleted by other documents at any time. It is inappropriate to use "
    "Internet-Drafts as reference material or to cite them other than as "
    "/\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
constexpr auto kKnownTag = std::to_array<uint8_t>({0xee, 0xad, 0x9d, 0x67, 0x89, 0x0c, 0xbb, 0x22,
                                                   0x39, 0x23, 0x36, 0xfe, 0xa1, 0x85, 0x1f, 0x38});

// Every length up to the widest step of a kernel (16 blocks of 64 bytes) plus one would be best and
// take milliseconds; these are all lengths around its 16- and 64-byte blocks, and packets.
std::vector<size_t> lengths() {
    std::vector<size_t> all;
    for (size_t size = 0; size <= 66; ++size)
        all.push_back(size);
    for (size_t size = 128; size <= 2048; size += 128)
        all.insert(all.end(), {size - 17, size - 16, size - 1, size, size + 1, size + 15});
    all.insert(all.end(), {1420, 1440, 1452, 8984, 16384});
    return all;
}

std::vector<uint8_t> pattern(size_t size) {
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<uint8_t>(i * 131 + size);
    return bytes;
}

bool is_known_answer(const AeadFunctions& functions) {
    const Secret<32> key(kKnownKey);
    const Bytes plain = as_bytes(kKnownPlain);
    std::vector<uint8_t> sealed(plain.size() + kTagSize);
    functions.seal(key, kKnownCounter, kKnownAdditional, plain, sealed);
    // The tag covers every byte of the ciphertext.
    if (!std::equal(kKnownTag.begin(), kKnownTag.end(), sealed.end() - kTagSize)) return false;
    std::vector<uint8_t> opened(plain.size());
    return functions.unseal(key, kKnownCounter, kKnownAdditional, sealed, opened) &&
           std::equal(opened.begin(), opened.end(), plain.begin(), plain.end());
}

std::string fault_at(const AeadFunctions& functions, const AeadFunctions& reference, size_t size) {
    const Secret<32> key(kKnownKey);
    const std::string at = " at " + std::to_string(size) + " bytes";
    const std::vector<uint8_t> plain = pattern(size);
    std::vector<uint8_t> expected(size + kTagSize);
    reference.seal(key, size, {}, plain, expected);

    std::vector<uint8_t> sealed(plain);
    sealed.resize(size + kTagSize);
    functions.seal(key, size, {}, Bytes(sealed).first(size), sealed);
    if (sealed != expected) return "a wrong ciphertext" + at;

    // The second packet of the batch is forged.
    std::vector<uint8_t> forged = expected;
    forged[size + size % kTagSize] ^= static_cast<uint8_t>(1 << size % 8);
    std::vector<uint8_t> opened(size);
    std::vector<uint8_t> ignored(size);
    std::array packets = {AeadPacket{.counter = size, .in = expected, .out = opened},
                          AeadPacket{.counter = size, .in = forged, .out = ignored}};
    const size_t authentic = functions.unseal_batch(key, packets);
    if (packets[1].opened) return "a forged tag accepted" + at;
    if (!packets[0].opened || authentic != 1) return "a right tag refused" + at;
    if (opened != plain) return "a wrong plaintext" + at;
    if (functions.unseal(key, size, {}, forged, ignored)) return "a forged tag accepted" + at;

    std::array packet = {AeadPacket{.counter = size, .in = plain, .out = sealed}};
    functions.seal_batch(key, packet);
    return sealed == expected ? "" : "a wrong ciphertext in a batch" + at;
}

}  // namespace

std::string aead_fault(const AeadFunctions& functions, const AeadFunctions& reference) {
    functions.prepare_thread();
    reference.prepare_thread();
    if (!is_known_answer(functions)) return "a wrong answer to RFC 8439's example";
    for (const size_t size : lengths()) {
        if (std::string fault = fault_at(functions, reference, size); !fault.empty()) return fault;
    }
    forget_keys_in_openssl();
    return {};
}

}  // namespace sluice::crypto
