// What the specifications' examples do not show: wrong input is refused everywhere, in place works,
// batches equal single calls, and BLAKE2s equals the library's for all lengths.
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/test_backend.h"
#include "dataplane/crypto/x25519.h"

namespace sluice::crypto {

TEST_CASE("AEAD: every flipped bit, every cut and every wrong counter is refused") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(1);
    AeadKey key(random_key(random));
    for (const size_t size : {0, 1, 16, 63, 64, 65, 333}) {
        const auto plain = random_bytes(random, size);
        const auto additional = random_bytes(random, 13);
        std::vector<uint8_t> sealed(size + kTagSize);
        key.seal(7, additional, plain, sealed);
        std::vector<uint8_t> opened(size);
        REQUIRE(key.open(7, additional, sealed, opened));
        REQUIRE(opened == plain);
        for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
            sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
            REQUIRE_FALSE(key.open(7, additional, sealed, opened));
            sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        }
        for (size_t cut = kTagSize; cut < sealed.size(); ++cut) {
            REQUIRE_FALSE(key.open(7, additional, Bytes(sealed).first(cut),
                                   MutableBytes(opened).first(cut - kTagSize)));
        }
        CHECK_FALSE(key.open(7, additional, Bytes(sealed).first(kTagSize - 1), {}));
        CHECK_FALSE(key.open(8, additional, sealed, opened));
        CHECK_FALSE(key.open(7, Bytes(additional).first(12), sealed, opened));
        CHECK_FALSE(key.open(7, {}, sealed, opened));
        // And the key is as good as before.
        CHECK(key.open(7, additional, sealed, opened));
    }
    // TLS on the same thread takes errors that are left in the queue for its own.
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("AEAD: in place gives the same as out of place") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(2);
    AeadKey key(random_key(random));
    for (size_t size = 0; size < 200; ++size) {
        const auto plain = random_bytes(random, size);
        std::vector<uint8_t> apart(size + kTagSize);
        key.seal(size, {}, plain, apart);
        std::vector<uint8_t> place(plain);
        place.resize(size + kTagSize);
        key.seal(size, {}, Bytes(place).first(size), place);
        REQUIRE(place == apart);
        REQUIRE(key.open(size, {}, place, MutableBytes(place).first(size)));
        place.resize(size);
        REQUIRE(place == plain);
    }
}

TEST_CASE("AEAD: a batch is its packets one by one, and a bad one does not spoil the others") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(3);
    AeadKey key(random_key(random));
    std::vector<std::vector<uint8_t>> plain;
    std::vector<std::vector<uint8_t>> sealed;
    std::vector<AeadPacket> packets;
    plain.reserve(40);
    packets.reserve(40);
    for (size_t i = 0; i < 40; ++i) {
        plain.push_back(random_bytes(random, i * 37));
        sealed.emplace_back(plain[i].size() + kTagSize);
    }
    for (size_t i = 0; i < 40; ++i)
        packets.push_back({.counter = 100 + i, .in = plain[i], .out = sealed[i]});
    key.seal_batch(packets);
    for (size_t i = 0; i < 40; ++i) {
        std::vector<uint8_t> single(sealed[i].size());
        key.seal(100 + i, {}, plain[i], single);
        REQUIRE(single == sealed[i]);
    }
    sealed[11][0] ^= 1;
    packets.clear();
    std::vector<std::vector<uint8_t>> opened(40);
    for (size_t i = 0; i < 40; ++i) {
        opened[i].resize(plain[i].size());
        packets.push_back({.counter = 100 + i, .in = sealed[i], .out = opened[i]});
    }
    CHECK(key.open_batch(packets) == 39);
    for (size_t i = 0; i < 40; ++i) {
        REQUIRE(packets[i].opened == (i != 11));
        if (i != 11) REQUIRE(opened[i] == plain[i]);
    }
}

TEST_CASE("AEAD: a key object can be set anew, moved and cleared") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(4);
    const Secret<32> first = random_key(random);
    const Secret<32> second = random_key(random);
    const auto plain = random_bytes(random, 50);
    std::vector<uint8_t> with_first(66);
    std::vector<uint8_t> with_second(66);
    AeadKey key(first);
    key.seal(1, {}, plain, with_first);
    key.set(second);
    key.seal(1, {}, plain, with_second);
    CHECK(with_first != with_second);
    AeadKey moved(std::move(key));
    CHECK_FALSE(key.is_set());  // NOLINT(bugprone-use-after-move): that is what is tested
    std::vector<uint8_t> opened(50);
    CHECK_FALSE(moved.open(1, {}, with_first, opened));
    CHECK(moved.open(1, {}, with_second, opened));
    moved.clear();
    CHECK_FALSE(moved.is_set());
}

TEST_CASE("BLAKE2s equals the library's for every length, keyed and not, in any pieces") {
    SeededRandom random(5);
    const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(
        EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr), EVP_MAC_free);
    REQUIRE(mac != nullptr);
    for (size_t size = 0; size < 300; ++size) {
        const auto in = random_bytes(random, size);
        const size_t cut = static_cast<size_t>(random.below(size + 1));
        const Bytes head = Bytes(in).first(cut);
        const Bytes tail = Bytes(in).subspan(cut);

        Hash expected;
        unsigned length = 0;
        REQUIRE(EVP_Digest(in.data(), in.size(), expected.data(), &length, EVP_blake2s256(),
                           nullptr) == 1);
        REQUIRE(blake2s({head, tail}) == expected);

        const auto key = random_bytes(random, 1 + static_cast<size_t>(random.below(32)));
        size_t mac_size = 16;
        const OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &mac_size),
            OSSL_PARAM_construct_end()};
        const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(
            EVP_MAC_CTX_new(mac.get()), EVP_MAC_CTX_free);
        Mac expected_mac;
        REQUIRE(EVP_MAC_init(context.get(), key.data(), key.size(), parameters) == 1);
        REQUIRE(EVP_MAC_update(context.get(), in.data(), in.size()) == 1);
        REQUIRE(EVP_MAC_final(context.get(), expected_mac.data(), &mac_size, 16) == 1);
        REQUIRE(blake2s_mac(key, {head, tail}) == expected_mac);

        Secret<32> expected_hmac;
        REQUIRE(HMAC(EVP_blake2s256(), key.data(), static_cast<int>(key.size()), in.data(),
                     in.size(), expected_hmac.data(), &length) != nullptr);
        REQUIRE(hmac_blake2s(key, {head, tail}) == expected_hmac);
    }
}

TEST_CASE("key derivation is HMAC over HMAC, numbered") {
    SeededRandom random(6);
    const Secret<32> chaining = random_key(random);
    const auto input = random_bytes(random, 32);
    const auto three = kdf<3>(chaining, input);
    const Secret<32> extracted = hmac_blake2s(chaining.span(), {input});
    const uint8_t one[] = {1};
    const uint8_t two[] = {2};
    const uint8_t last[] = {3};
    CHECK(three[0] == hmac_blake2s(extracted.span(), {one}));
    CHECK(three[1] == hmac_blake2s(extracted.span(), {three[0].span(), two}));
    CHECK(three[2] == hmac_blake2s(extracted.span(), {three[1].span(), last}));
    CHECK(kdf<1>(chaining, input)[0] == three[0]);
    CHECK(kdf<2>(chaining, input)[1] == three[1]);
}

TEST_CASE("MACs are compared by all their bytes") {
    Mac a{};
    for (size_t i = 0; i < a.size(); ++i) {
        Mac b{};
        CHECK(equal_macs(a, b));
        b[i] = 0x80;
        CHECK_FALSE(equal_macs(a, b));
    }
    CHECK_FALSE(equal_macs(a, Bytes(a).first(15)));
}

TEST_CASE("X25519 refuses every point of low order and leaves no error behind") {
    SeededRandom random(7);
    const X25519Key key = X25519Key::generate(random);
    // All encodings of the points whose order divides eight (RFC 7748 section 7; with and without
    // the field's modulus added).
    const std::array<std::array<uint8_t, 32>, 7> low_order = [] {
        std::array<std::array<uint8_t, 32>, 7> points{};
        points[1][0] = 1;
        points[2] = {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
                     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
                     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
        points[3] = {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
                     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
                     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57};
        for (size_t i = 4; i < 7; ++i) {
            points[i].fill(0xff);
            points[i][0] = static_cast<uint8_t>(0xec + (i - 4));
            points[i][31] = 0x7f;
        }
        return points;
    }();
    for (auto point : low_order) {
        CHECK_FALSE(key.agree(point));
        point[31] |= 0x80;  // a bit that X25519 ignores
        CHECK_FALSE(key.agree(point));
    }
    CHECK(ERR_peek_error() == 0);
    CHECK(key.agree(X25519Key::generate(random).public_key()));
}

TEST_CASE("X25519 keys move and clear") {
    SeededRandom random(8);
    X25519Key key = X25519Key::generate(random);
    const X25519Key other = X25519Key::generate(random);
    const auto shared = other.agree(key.public_key());
    X25519Key moved(std::move(key));
    CHECK_FALSE(key.is_set());  // NOLINT(bugprone-use-after-move): that is what is tested
    CHECK(moved.agree(other.public_key()) == shared);
    moved.clear();
    CHECK_FALSE(moved.is_set());
}

}  // namespace sluice::crypto
