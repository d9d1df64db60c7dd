// Both libraries against a model that was written from RFC 8439 with big numbers: every length, the
// sums that Poly1305 implementations get wrong, batches, no byte outside the buffers; and that a
// library which is wrong is found out by the self-test.
#include <openssl/bn.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/aead_functions.h"
#include "dataplane/crypto/test_backend.h"

namespace sluice::crypto {

namespace {

// 10,000 peers have up to 60,000 keys.
static_assert(sizeof(AeadKey) <= 40);

// RFC 8439, section 2.3.
std::array<uint8_t, 64> chacha20_block(const Secret<32>& key, uint32_t block, uint64_t counter) {
    std::array<uint32_t, 16> state = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (size_t i = 0; i < 8; ++i)
        state[4 + i] = load_le32(key.data() + 4 * i);
    state[12] = block;
    state[14] = static_cast<uint32_t>(counter);
    state[15] = static_cast<uint32_t>(counter >> 32);
    std::array<uint32_t, 16> x = state;
    const auto quarter = [&x](size_t a, size_t b, size_t c, size_t d) {
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 16);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 12);
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 8);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 7);
    };
    for (int i = 0; i < 10; ++i) {
        quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15);
        quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14);
    }
    std::array<uint8_t, 64> out;
    for (size_t i = 0; i < 16; ++i)
        store_le32(out.data() + 4 * i, x[i] + state[i]);
    return out;
}

std::vector<uint8_t> chacha20(const Secret<32>& key, uint64_t counter, Bytes in) {
    std::vector<uint8_t> out(in.begin(), in.end());
    for (size_t at = 0; at < out.size(); at += 64) {
        const auto stream = chacha20_block(key, static_cast<uint32_t>(1 + at / 64), counter);
        for (size_t i = at; i < std::min(at + 64, out.size()); ++i)
            out[i] ^= stream[i - at];
    }
    return out;
}

// Numbers modulo 2^130 - 5, as the specification has them: without limbs.
class Number {
  public:
    Number() : value_(BN_new(), BN_free) {}
    explicit Number(uint64_t value) : Number() { BN_set_word(get(), value); }
    static Number of(Bytes little_endian) {
        Number number;
        BN_lebin2bn(little_endian.data(), static_cast<int>(little_endian.size()), number.get());
        return number;
    }
    static Number power_of_two(int exponent) {
        Number number;
        BN_set_bit(number.get(), exponent);
        return number;
    }
    static const Number& prime() {
        static const Number kPrime = [] {
            Number number = power_of_two(130);
            BN_sub_word(number.get(), 5);
            return number;
        }();
        return kPrime;
    }
    friend Number operator+(const Number& a, const Number& b) {
        Number sum;
        BN_mod_add(sum.get(), a.get(), b.get(), prime().get(), context());
        return sum;
    }
    friend Number operator-(const Number& a, const Number& b) {
        Number difference;
        BN_mod_sub(difference.get(), a.get(), b.get(), prime().get(), context());
        return difference;
    }
    friend Number operator*(const Number& a, const Number& b) {
        Number product;
        BN_mod_mul(product.get(), a.get(), b.get(), prime().get(), context());
        return product;
    }
    Number inverse() const {
        Number inverse;
        BN_mod_inverse(inverse.get(), get(), prime().get(), context());
        return inverse;
    }
    int bits() const { return BN_num_bits(get()); }
    std::array<uint8_t, 24> bytes() const {
        std::array<uint8_t, 24> out{};
        BN_bn2lebinpad(get(), out.data(), static_cast<int>(out.size()));
        return out;
    }

  private:
    static BN_CTX* context() {
        static const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> kContext(BN_CTX_new(),
                                                                              BN_CTX_free);
        return kContext.get();
    }
    BIGNUM* get() const { return value_.get(); }

    std::shared_ptr<BIGNUM> value_;
};

// The one-time key of section 2.6.
struct PolyKey {
    Number r;
    Number s;

    PolyKey(const Secret<32>& key, uint64_t counter) {
        std::array<uint8_t, 64> block = chacha20_block(key, 0, counter);
        for (const size_t i : {3, 7, 11, 15})
            block[i] &= 15;
        for (const size_t i : {4, 8, 12})
            block[i] &= 252;
        r = Number::of(Bytes(block).first(16));
        s = Number::of(Bytes(block).subspan(16, 16));
    }
};

Number number_of_block(Bytes block) {
    return Number::of(block) + Number::power_of_two(static_cast<int>(8 * block.size()));
}

// What section 2.8 authenticates: text and additional data padded to 16 bytes, and their lengths.
void add_padded(std::vector<uint8_t>& to, Bytes bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
    to.resize((to.size() + 15) / 16 * 16);
}

std::array<uint8_t, 16> lengths_block(size_t additional, size_t text) {
    std::array<uint8_t, 16> block;
    store_le64(block.data(), additional);
    store_le64(block.data() + 8, text);
    return block;
}

std::vector<uint8_t> model_seal(const Secret<32>& key, uint64_t counter, Bytes additional,
                                Bytes plain) {
    std::vector<uint8_t> out = chacha20(key, counter, plain);
    std::vector<uint8_t> covered;
    add_padded(covered, additional);
    add_padded(covered, out);
    add_padded(covered, lengths_block(additional.size(), plain.size()));
    const PolyKey poly(key, counter);
    Number sum;
    for (size_t at = 0; at < covered.size(); at += 16)
        sum = (sum + number_of_block(Bytes(covered).subspan(at, 16))) * poly.r;
    // The last addition is modulo 2^128.
    const auto sum_bytes = sum.bytes();
    const auto s_bytes = poly.s.bytes();
    unsigned carry = 0;
    for (size_t i = 0; i < kTagSize; ++i) {
        carry += sum_bytes[i] + s_bytes[i];
        out.push_back(static_cast<uint8_t>(carry));
        carry >>= 8;
    }
    return out;
}

// Seals and opens, in place and not, and expects what the model says.
void check_against_model(const Secret<32>& key, uint64_t counter, Bytes additional, Bytes plain) {
    const std::vector<uint8_t> expected = model_seal(key, counter, additional, plain);
    AeadKey aead(key);
    std::vector<uint8_t> apart(expected.size());
    aead.seal(counter, additional, plain, apart);
    REQUIRE(apart == expected);
    std::vector<uint8_t> place(plain.begin(), plain.end());
    place.resize(expected.size());
    aead.seal(counter, additional, Bytes(place).first(plain.size()), place);
    REQUIRE(place == expected);

    std::vector<uint8_t> opened(plain.size());
    REQUIRE(aead.open(counter, additional, expected, opened));
    REQUIRE(std::equal(opened.begin(), opened.end(), plain.begin(), plain.end()));
    REQUIRE(aead.open(counter, additional, place, MutableBytes(place).first(plain.size())));
    REQUIRE(std::equal(plain.begin(), plain.end(), place.begin()));

    std::vector<uint8_t> forged = expected;
    const size_t bit = plain.size() % 128;
    forged[plain.size() + bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    REQUIRE_FALSE(aead.open(counter, additional, forged, opened));
}

// A text whose running sum, after block `position` of `blocks`, is `target`: the block there is
// solved for. Nothing if no block of 16 bytes gives that sum under this key.
std::vector<uint8_t> plain_with_sum(const Secret<32>& key, uint64_t counter, Random& random,
                                    size_t blocks, size_t position, const Number& target) {
    std::vector<uint8_t> sealed = random_bytes(random, blocks * 16);
    const PolyKey poly(key, counter);
    Number before;
    for (size_t i = 0; i < position; ++i)
        before = (before + number_of_block(Bytes(sealed).subspan(i * 16, 16))) * poly.r;
    const Number block = target * poly.r.inverse() - before;
    if (block.bits() != 129) return {};  // the marker bit and 16 bytes under it
    const auto bytes = block.bytes();
    std::copy_n(bytes.begin(), 16, sealed.begin() + static_cast<ptrdiff_t>(position * 16));
    return chacha20(key, counter, sealed);
}

// Bytes at the very end or the very beginning of what may be touched at all.
class GuardedRoom {
  public:
    GuardedRoom() {
        void* const got = mmap(nullptr, 3 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(got != MAP_FAILED);
        start_ = static_cast<uint8_t*>(got);
        REQUIRE(mprotect(start_ + kPage, kPage, PROT_READ | PROT_WRITE) == 0);
    }
    ~GuardedRoom() { munmap(start_, 3 * kPage); }
    GuardedRoom(const GuardedRoom&) = delete;
    GuardedRoom& operator=(const GuardedRoom&) = delete;

    MutableBytes at_end(size_t size) { return {start_ + 2 * kPage - size, size}; }
    MutableBytes at_start(size_t size) { return {start_ + kPage, size}; }

  private:
    static constexpr size_t kPage = 4096;
    uint8_t* start_;
};

}  // namespace

TEST_CASE("AEAD: every length equals the model") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(10);
    for (size_t size = 0; size <= 2000; ++size) {
        INFO(size);
        const auto plain = random_bytes(random, size);
        check_against_model(random_key(random), random.below(UINT64_MAX), {}, plain);
    }
    for (size_t additional = 0; additional < 150; ++additional) {
        INFO(additional);
        const auto plain = random_bytes(random, additional * 7 % 200);
        check_against_model(random_key(random), random.below(UINT64_MAX),
                            random_bytes(random, additional), plain);
    }
    check_against_model(random_key(random), UINT64_MAX, {}, random_bytes(random, 65535));
}

// With AVX-512, libipsec-mb 1.3 loses a carry when the sum, at the end of its 16-block kernel, has
// less than a few dozen in its lowest limb of 44 bits (README.md). Nothing else may be wrong.
bool may_be_wrong(size_t blocks, const Number& target) {
    if (aead_status().backend != AeadBackend::kIpsecMb || blocks < 16) return false;
    const auto bytes = target.bytes();
    return (load_le64(bytes.data()) & ((uint64_t{1} << 44) - 1)) < 256;
}

TEST_CASE("AEAD: Poly1305 sums beside the prime and with full limbs equal the model") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(11);
    std::vector<Number> targets;
    for (uint64_t small = 0; small < 6; ++small) {
        targets.emplace_back(small);
        targets.push_back(Number(0) - Number(small));
    }
    // Where limbs of 26, 32, 44, 64 and 128 bits are full or have just overflowed.
    for (const int exponent : {26, 32, 44, 52, 64, 78, 88, 104, 128, 129}) {
        targets.push_back(Number::power_of_two(exponent));
        targets.push_back(Number::power_of_two(exponent) - Number(1));
    }
    size_t made = 0;
    for (const size_t blocks : {1, 2, 4, 7, 8, 9, 15, 16, 17, 33, 64, 90}) {
        for (const Number& target : targets) {
            for (const size_t position : {size_t{0}, blocks / 2, blocks - 1}) {
                // One key in four has a solution.
                for (int attempt = 0; attempt < 60; ++attempt) {
                    const Secret<32> key = random_key(random);
                    const uint64_t counter = random.below(UINT64_MAX);
                    const auto plain =
                        plain_with_sum(key, counter, random, blocks, position, target);
                    if (plain.empty()) continue;
                    ++made;
                    if (may_be_wrong(blocks, target)) break;
                    check_against_model(key, counter, {}, plain);
                    break;
                }
            }
        }
    }
    CHECK(made > 1100);  // of 1,152; by chance hardly one is missing

    // And ciphertexts that are all ones or all zeros.
    for (const uint8_t byte : {0x00, 0xff}) {
        for (size_t size = 0; size < 600; size += 7) {
            const Secret<32> key = random_key(random);
            const auto plain = chacha20(key, size, std::vector<uint8_t>(size, byte));
            check_against_model(key, size, {}, plain);
        }
    }
}

TEST_CASE("AEAD: no byte outside the buffers is read or written") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(12);
    AeadKey key(random_key(random));
    GuardedRoom plain_room;
    GuardedRoom sealed_room;
    GuardedRoom additional_room;
    const auto additional_source = random_bytes(random, 40);
    for (const bool at_end : {true, false}) {
        const auto place = [at_end](GuardedRoom& room, size_t size) {
            return at_end ? room.at_end(size) : room.at_start(size);
        };
        for (size_t size = 0; size <= 1500; size += size < 300 ? 1 : 13) {
            const MutableBytes plain = place(plain_room, size);
            const MutableBytes sealed = place(sealed_room, size + kTagSize);
            const MutableBytes additional = place(additional_room, size % 40);
            std::copy_n(additional_source.begin(), additional.size(), additional.begin());
            const auto source = random_bytes(random, size);
            std::copy(source.begin(), source.end(), plain.begin());
            key.seal(size, additional, plain, sealed);
            std::fill(plain.begin(), plain.end(), uint8_t{0});
            REQUIRE(key.open(size, additional, sealed, plain));
            REQUIRE(std::equal(source.begin(), source.end(), plain.begin()));
            REQUIRE(key.open(size, additional, sealed, sealed.first(size)));
            key.seal(size, additional, sealed.first(size), sealed);
            std::array batch = {AeadPacket{.counter = size, .in = plain, .out = sealed}};
            key.seal_batch(batch);
            batch[0] = {.counter = size, .in = sealed, .out = plain};
            REQUIRE(key.open_batch(batch) == 1);
        }
    }
}

TEST_CASE("AEAD: batches of any size, with packets too short for a tag among them") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    SeededRandom random(13);
    AeadKey key(random_key(random));
    for (const size_t count : {0, 1, 2, 31, 32, 33, 64, 100, 300}) {
        std::vector<std::vector<uint8_t>> plain(count);
        std::vector<std::vector<uint8_t>> sealed(count);
        std::vector<AeadPacket> packets(count);
        for (size_t i = 0; i < count; ++i) {
            plain[i] = random_bytes(random, static_cast<size_t>(random.below(1500)));
            sealed[i].resize(plain[i].size() + kTagSize);
            packets[i] = {.counter = i, .in = plain[i], .out = sealed[i]};
        }
        key.seal_batch(packets);
        size_t good = 0;
        std::vector<bool> expected(count);
        std::vector<std::vector<uint8_t>> opened(count);
        for (size_t i = 0; i < count; ++i) {
            const uint64_t fate = random.below(5);
            opened[i].resize(plain[i].size());
            packets[i] = {.counter = i, .in = sealed[i], .out = opened[i], .opened = true};
            if (fate == 0) {
                packets[i].in = Bytes(sealed[i]).first(static_cast<size_t>(random.below(kTagSize)));
                packets[i].out = {};
            } else if (fate == 1) {
                sealed[i][static_cast<size_t>(random.below(sealed[i].size()))] ^= 0x10;
            } else {
                expected[i] = true;
                ++good;
            }
        }
        REQUIRE(key.open_batch(packets) == good);
        for (size_t i = 0; i < count; ++i) {
            REQUIRE(packets[i].opened == expected[i]);
            if (expected[i]) REQUIRE(opened[i] == plain[i]);
        }
    }
}

TEST_CASE("AEAD: what one library seals, the other opens, and keys may change between packets") {
    if (!use_backend(AeadChoice::kIpsecMb)) return;
    SeededRandom random(14);
    std::vector<AeadKey> keys;
    for (int i = 0; i < 5; ++i)
        keys.emplace_back(random_key(random));
    for (int round = 0; round < 3000; ++round) {
        AeadKey& key = keys[static_cast<size_t>(random.below(keys.size()))];
        const uint64_t counter = random.below(UINT64_MAX);
        const auto plain = random_bytes(random, static_cast<size_t>(random.below(1600)));
        const auto additional = random_bytes(random, static_cast<size_t>(random.below(40)));
        std::vector<uint8_t> sealed(plain.size() + kTagSize);
        std::vector<uint8_t> opened(plain.size());
        const bool way = random.below(2) == 0;
        // Only the functions themselves: choosing includes the self-test.
        Secret<32> bytes = random_key(random);
        const AeadFunctions& first = way ? openssl_aead() : *ipsec_mb_aead().functions;
        first.seal(bytes, counter, additional, plain, sealed);
        const AeadFunctions& second = way ? *ipsec_mb_aead().functions : openssl_aead();
        REQUIRE(second.unseal(bytes, counter, additional, sealed, opened));
        REQUIRE(opened == plain);
        key.seal(counter, additional, plain, sealed);
        REQUIRE(key.open(counter, additional, sealed, opened));
        REQUIRE(opened == plain);
    }
}

TEST_CASE("AEAD: keys go on when the library changes, and can be used on another thread") {
    SeededRandom random(15);
    choose_aead(AeadChoice::kAuto);
    AeadKey key(random_key(random));
    const auto plain = random_bytes(random, 100);
    std::vector<uint8_t> first(116);
    std::vector<uint8_t> second(116);
    std::vector<uint8_t> third(116);
    key.seal(1, {}, plain, first);
    choose_aead(AeadChoice::kOpenssl);
    key.seal(1, {}, plain, second);
    choose_aead(AeadChoice::kAuto);
    uint64_t counted = 0;
    std::thread([&] {
        key.seal(1, {}, plain, third);
        counted = ipsec_mb_packets();
    }).join();
    CHECK(first == second);
    CHECK(first == third);
    // Counted by thread: this one's own packets are not among them.
    CHECK(counted == (aead_status().backend == AeadBackend::kIpsecMb ? 1 : 0));
}

TEST_CASE("AEAD: threads do not disturb each other") {
    if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
    std::array<size_t, 4> wrong{};
    std::vector<std::thread> threads;
    for (size_t id = 0; id < wrong.size(); ++id) {
        threads.emplace_back([id, &wrong] {
            SeededRandom random(100 + id);
            AeadKey key(random_key(random));
            for (size_t i = 0; i < 2000; ++i) {
                const auto plain = random_bytes(random, i % 700);
                std::vector<uint8_t> sealed(plain.size() + kTagSize);
                std::vector<uint8_t> opened(plain.size());
                key.seal(i, {}, plain, sealed);
                const bool is_right = key.open(i, {}, sealed, opened) && opened == plain;
                wrong[id] += is_right ? 0 : 1;
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    CHECK(wrong == std::array<size_t, 4>{});
}

TEST_CASE("AEAD: the choice is what was asked for, and says why when it is not") {
    const AeadStatus asked = choose_aead(AeadChoice::kOpenssl);
    CHECK(asked.backend == AeadBackend::kOpenssl);
    CHECK(asked.why_not_ipsec_mb.empty());
    const AeadStatus found = choose_aead(AeadChoice::kAuto);
    CHECK((found.backend == AeadBackend::kIpsecMb) == found.why_not_ipsec_mb.empty());
    CHECK(aead_status().backend == found.backend);
    CHECK(name_of(AeadBackend::kOpenssl) == "OpenSSL");
    CHECK(name_of(AeadBackend::kIpsecMb) == "libipsec-mb");
}

TEST_CASE("AEAD: a library that fails its self-test gets no packet") {
    AeadFunctions broken = openssl_aead();
    broken.seal = [](const Secret<32>&, uint64_t, Bytes, Bytes, MutableBytes out) {
        std::fill(out.begin(), out.end(), uint8_t{0});
    };
    for (const AeadChoice choice : {AeadChoice::kAuto, AeadChoice::kIpsecMb}) {
        const AeadStatus status = choose_aead_from(choice, {.functions = &broken, .why_not = {}});
        CHECK(status.backend == AeadBackend::kOpenssl);
        CHECK(status.why_not_ipsec_mb ==
              "its self-test found a wrong answer to RFC 8439's example");
        CHECK(aead_status().why_not_ipsec_mb == status.why_not_ipsec_mb);
        SeededRandom random(16);
        check_against_model(random_key(random), 1, {}, random_bytes(random, 100));
    }
    const AeadStatus absent =
        choose_aead_from(AeadChoice::kAuto, {.functions = nullptr, .why_not = "it is too old"});
    CHECK(absent.backend == AeadBackend::kOpenssl);
    CHECK(absent.why_not_ipsec_mb == "it is too old");
    choose_aead(AeadChoice::kAuto);
}

TEST_CASE("AEAD: the self-test finds a library that is wrong") {
    CHECK(aead_fault(openssl_aead(), openssl_aead()).empty());
    AeadFunctions broken = openssl_aead();
    SECTION("that accepts every tag") {
        broken.unseal = [](const Secret<32>& key, uint64_t counter, Bytes additional, Bytes sealed,
                           MutableBytes out) {
            (void)openssl_aead().unseal(key, counter, additional, sealed, out);
            return true;
        };
        CHECK(aead_fault(broken, openssl_aead()) == "a forged tag accepted at 0 bytes");
    }
    SECTION("that accepts every tag of a batch") {
        broken.unseal_batch = [](const Secret<32>& key, std::span<AeadPacket> packets) {
            openssl_aead().unseal_batch(key, packets);
            for (AeadPacket& packet : packets)
                packet.opened = true;
            return packets.size();
        };
        CHECK(aead_fault(broken, openssl_aead()) == "a forged tag accepted at 0 bytes");
    }
    SECTION("that refuses what is right") {
        broken.unseal_batch = [](const Secret<32>&, std::span<AeadPacket>) { return size_t{0}; };
        CHECK(aead_fault(broken, openssl_aead()) == "a right tag refused at 0 bytes");
    }
    SECTION("that is wrong at one length") {
        broken.seal = [](const Secret<32>& key, uint64_t counter, Bytes additional, Bytes plain,
                         MutableBytes out) {
            openssl_aead().seal(key, counter, additional, plain, out);
            if (plain.size() == 1025) out[1024] ^= 1;
        };
        CHECK(aead_fault(broken, openssl_aead()) == "a wrong ciphertext at 1025 bytes");
    }
    SECTION("that decrypts wrongly what it has authenticated") {
        broken.unseal_batch = [](const Secret<32>& key, std::span<AeadPacket> packets) {
            const size_t count = openssl_aead().unseal_batch(key, packets);
            if (packets[0].out.size() == 64) packets[0].out[63] ^= 1;
            return count;
        };
        CHECK(aead_fault(broken, openssl_aead()) == "a wrong plaintext at 64 bytes");
    }
    SECTION("that knows no additional data") {
        broken.seal = [](const Secret<32>& key, uint64_t counter, Bytes, Bytes plain,
                         MutableBytes out) { openssl_aead().seal(key, counter, {}, plain, out); };
        CHECK(aead_fault(broken, openssl_aead()) == "a wrong answer to RFC 8439's example");
    }
    SECTION("that seals batches wrongly") {
        broken.seal_batch = [](const Secret<32>& key, std::span<AeadPacket> packets) {
            openssl_aead().seal_batch(key, packets);
            if (packets[0].in.size() == 1420) packets[0].out[1435] ^= 0x80;
        };
        CHECK(aead_fault(broken, openssl_aead()) == "a wrong ciphertext in a batch at 1420 bytes");
    }
}

}  // namespace sluice::crypto
