// libipsec-mb's AES-GCM against published answers and against OpenSSL (the self-test), and its
// borders: pieces of any size, in place, forgeries, nothing outside of the buffers.
#include "dataplane/crypto/aes_gcm.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string_view>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/test_backend.h"

namespace sluice::crypto {

namespace {

std::vector<uint8_t> from_hex(std::string_view hex) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(digit(hex[i]) * 16 + digit(hex[i + 1])));
    return bytes;
}

bool is_there() {
    const std::string& why_not = AesGcmKey::why_not();
    if (why_not.find("self-test") != std::string::npos) FAIL(why_not);
    if (!why_not.empty()) WARN("AES-GCM of libipsec-mb is not tested: " << why_not);
    return why_not.empty();
}

AesGcmKey::Nonce nonce_in(const std::vector<uint8_t>& bytes) {
    return AesGcmKey::Nonce(bytes.data(), AesGcmKey::kNonceSize);
}

std::vector<uint8_t> seal(AesGcmKey& key, const std::vector<uint8_t>& nonce, Bytes additional,
                          std::span<const Bytes> pieces) {
    size_t size = 0;
    for (const Bytes piece : pieces)
        size += piece.size();
    std::vector<uint8_t> sealed(size + AesGcmKey::kTagSize);
    uint8_t* to = sealed.data();
    key.begin_seal(nonce_in(nonce), additional);
    for (const Bytes piece : pieces) {
        key.seal_piece(piece, to);
        to += piece.size();
    }
    key.end_seal(to);
    return sealed;
}

}  // namespace

TEST_CASE("test cases 4 and 16 of the GCM specification") {
    if (!is_there()) return;
    const auto nonce = from_hex("cafebabefacedbaddecaf888");
    const auto additional = from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const auto plain = from_hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    const std::string key = "feffe9928665731c6d6a8f9467308308";
    struct Answer {
        std::string key;
        std::string sealed;
    };
    const Answer answers[] = {{key,
                               "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                               "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
                               "5bc94fbc3221a5db94fae95ae7121a47"},
                              {key + key,
                               "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                               "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                               "76fc6ece0f4e1768cddf8853bb2d551b"}};
    for (const Answer& answer : answers) {
        AesGcmKey sealer(from_hex(answer.key));
        const Bytes whole[] = {plain};
        const auto sealed = seal(sealer, nonce, additional, whole);
        CHECK(sealed == from_hex(answer.sealed));
        std::vector<uint8_t> opened(plain.size());
        CHECK(sealer.open(nonce_in(nonce), additional, sealed, opened.data()));
        CHECK(opened == plain);
    }
}

TEST_CASE("a message is the same in whatever pieces it is sealed") {
    if (!is_there()) return;
    SeededRandom random(7);
    AesGcmKey key(random_bytes(random, GENERATE(16, 32)));
    for (int round = 0; round < 300; ++round) {
        const auto nonce = random_bytes(random, AesGcmKey::kNonceSize);
        const auto additional = random_bytes(random, random.below(30));
        const auto plain = random_bytes(random, random.below(20000));
        const Bytes whole[] = {plain};
        const auto expected = seal(key, nonce, additional, whole);
        std::vector<Bytes> pieces;
        for (Bytes rest(plain); !rest.empty();) {
            const size_t size = std::min<size_t>(rest.size(), random.below(700));
            pieces.push_back(rest.first(size));
            rest = rest.subspan(size);
        }
        REQUIRE(seal(key, nonce, additional, pieces) == expected);
    }
}

TEST_CASE("sealed and opened in place, nothing outside is touched") {
    if (!is_there()) return;
    SeededRandom random(8);
    AesGcmKey key(random_bytes(random, 16));
    const auto nonce = random_bytes(random, AesGcmKey::kNonceSize);
    const auto additional = random_bytes(random, 5);
    for (const size_t size : {0, 1, 15, 16, 17, 255, 256, 1000, 16384}) {
        const auto plain = random_bytes(random, size);
        std::vector<uint8_t> buffer(64 + size + AesGcmKey::kTagSize + 64, 0xa5);
        uint8_t* const at = buffer.data() + 64;
        std::copy(plain.begin(), plain.end(), at);
        key.begin_seal(nonce_in(nonce), additional);
        key.seal_piece({at, size}, at);
        key.end_seal(at + size);
        REQUIRE(key.open(nonce_in(nonce), additional, {at, size + AesGcmKey::kTagSize}, at));
        CHECK(std::equal(plain.begin(), plain.end(), at));
        const auto untouched = [](uint8_t byte) { return byte == 0xa5; };
        CHECK(std::all_of(buffer.begin(), buffer.begin() + 64, untouched));
        CHECK(std::all_of(buffer.end() - 64, buffer.end(), untouched));
    }
}

TEST_CASE("whatever is changed is refused") {
    if (!is_there()) return;
    SeededRandom random(9);
    AesGcmKey key(random_bytes(random, 32));
    const auto nonce = random_bytes(random, AesGcmKey::kNonceSize);
    auto additional = random_bytes(random, 5);
    const auto plain = random_bytes(random, 100);
    const Bytes whole[] = {plain};
    auto sealed = seal(key, nonce, additional, whole);
    std::vector<uint8_t> opened(plain.size());
    for (size_t i = 0; i < sealed.size(); ++i) {
        sealed[i] ^= 0x10;
        CHECK_FALSE(key.open(nonce_in(nonce), additional, sealed, opened.data()));
        sealed[i] ^= 0x10;
    }
    additional[4] ^= 1;
    CHECK_FALSE(key.open(nonce_in(nonce), additional, sealed, opened.data()));
    additional[4] ^= 1;
    CHECK(key.open(nonce_in(nonce), additional, sealed, opened.data()));
    CHECK_FALSE(key.open(nonce_in(nonce), additional, Bytes(sealed).first(15), opened.data()));
}

}  // namespace sluice::crypto
