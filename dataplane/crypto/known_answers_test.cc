// Every primitive against the answers printed in its specification.
#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/test_backend.h"
#include "dataplane/crypto/x25519.h"

namespace sluice::crypto {

namespace {

std::vector<uint8_t> unhex(std::string_view text) {
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(
            static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
}

template <size_t kSize>
std::array<uint8_t, kSize> unhex_array(std::string_view text) {
    const std::vector<uint8_t> bytes = unhex(text);
    REQUIRE(bytes.size() == kSize);
    std::array<uint8_t, kSize> array;
    std::copy(bytes.begin(), bytes.end(), array.begin());
    return array;
}

std::vector<uint8_t> vector_of(Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("ChaCha20-Poly1305: RFC 8439, appendix A.5") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    const Secret<32> key(
        unhex_array<32>("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"));
    // The nonce 00000000 0102030405060708.
    const uint64_t counter = 0x0807060504030201;
    const auto additional = unhex("f33388860000000000004e91");
    const auto sealed = unhex(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
        "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
        "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
        "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
        "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
        "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
        "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
        "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
        "a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38");
    const std::string_view text =
        "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, "
        "replaced, or obsoleted by other documents at any time. It is inappropriate to use "
        "Internet-Drafts as reference material or to cite them other than as "
        "/\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
    AeadKey aead(key);
    std::vector<uint8_t> opened(sealed.size() - kTagSize);
    REQUIRE(aead.open(counter, additional, sealed, opened));
    CHECK(as_text(opened) == text);
    std::vector<uint8_t> again(sealed.size());
    aead.seal(counter, additional, as_bytes(text), again);
    CHECK(again == sealed);
}

TEST_CASE("XChaCha20-Poly1305: draft-irtf-cfrg-xchacha-03, sections 2.2.1 and A.3.1") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    std::array<uint8_t, 32> counting;
    std::iota(counting.begin(), counting.end(), uint8_t{0});
    const auto derivation_nonce = unhex_array<16>("000000090000004a0000000031415927");
    CHECK(hchacha20(Secret<32>(counting), derivation_nonce) ==
          Secret<32>(
              unhex_array<32>("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")));

    std::iota(counting.begin(), counting.end(), uint8_t{0x80});
    const Secret<32> key(counting);
    std::array<uint8_t, kXNonceSize> nonce;
    std::iota(nonce.begin(), nonce.end(), uint8_t{0x40});
    const auto additional = unhex("50515253c0c1c2c3c4c5c6c7");
    const std::string_view text =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        "future, sunscreen would be it.";
    const auto sealed = unhex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49");
    std::vector<uint8_t> out(text.size() + kTagSize);
    xseal(key, nonce, additional, as_bytes(text), out);
    CHECK(out == sealed);
    std::vector<uint8_t> opened(text.size());
    REQUIRE(xopen(key, nonce, additional, sealed, opened));
    CHECK(as_text(opened) == text);
    nonce[23] ^= 1;
    CHECK_FALSE(xopen(key, nonce, additional, sealed, opened));
    nonce[23] ^= 1;
    nonce[0] ^= 1;
    CHECK_FALSE(xopen(key, nonce, additional, sealed, opened));
}

TEST_CASE("BLAKE2s: RFC 7693, appendices B and E") {
    CHECK(vector_of(blake2s({as_bytes("abc")})) ==
          unhex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"));

    // The self-test of appendix E: all digest sizes and lengths around the block size, with and
    // without a key, hashed together.
    const auto sequence = [](size_t size, uint32_t seed) {
        std::vector<uint8_t> out(size);
        uint32_t a = 0xdead4bad * seed;
        uint32_t b = 1;
        for (uint8_t& byte : out) {
            const uint32_t t = a + b;
            a = b;
            b = t;
            byte = static_cast<uint8_t>(t >> 24);
        }
        return out;
    };
    Blake2s all;
    for (const size_t digest_size : {16, 20, 28, 32}) {
        for (const size_t size : {0, 3, 64, 65, 255, 1024}) {
            const auto in = sequence(size, static_cast<uint32_t>(size));
            std::vector<uint8_t> digest(digest_size);
            Blake2s unkeyed(digest_size);
            unkeyed.update(in);
            unkeyed.finish(digest);
            all.update(digest);
            Blake2s keyed(digest_size, sequence(digest_size, static_cast<uint32_t>(digest_size)));
            keyed.update(in);
            keyed.finish(digest);
            all.update(digest);
        }
    }
    Hash result;
    all.finish(result);
    CHECK(vector_of(result) ==
          unhex("6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe"));
}

TEST_CASE("key derivation: the vectors of wireguard-go, kdf_test.go") {
    // HMAC fills a short key up with zeros, so the vector's key of 8 bytes is one of 32.
    std::array<uint8_t, 32> bytes{};
    const std::string_view short_key = "test-key";
    std::copy(short_key.begin(), short_key.end(), bytes.begin());
    const auto keys = kdf<3>(Secret<32>(bytes), as_bytes("test-input"));
    const std::string_view expected[] = {
        "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
        "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
        "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24"};
    for (size_t i = 0; i < 3; ++i)
        CHECK(vector_of(keys[i].span()) == unhex(expected[i]));
}

TEST_CASE("X25519: RFC 7748, sections 5.2 and 6.1") {
    const X25519Key one(Secret<32>(
        unhex_array<32>("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")));
    CHECK(one.agree(unhex_array<32>(
              "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")) ==
          Secret<32>(
              unhex_array<32>("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")));

    const X25519Key alice(Secret<32>(
        unhex_array<32>("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")));
    const X25519Key bob(Secret<32>(
        unhex_array<32>("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")));
    CHECK(vector_of(alice.public_key()) ==
          unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    CHECK(vector_of(bob.public_key()) ==
          unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    const Secret<32> shared(
        unhex_array<32>("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
    CHECK(alice.agree(bob.public_key()) == shared);
    CHECK(bob.agree(alice.public_key()) == shared);

    // The iteration of section 5.2: each result is the next scalar, each scalar the next point.
    std::array<uint8_t, 32> scalar{9};
    std::array<uint8_t, 32> point{9};
    for (int i = 1; i <= 1000; ++i) {
        const auto result = X25519Key(Secret<32>(scalar)).agree(point);
        REQUIRE(result);
        point = scalar;
        std::copy_n(result->data(), 32, scalar.begin());
        if (i == 1) {
            CHECK(vector_of(scalar) ==
                  unhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
        }
    }
    CHECK(vector_of(scalar) ==
          unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

}  // namespace sluice::crypto
