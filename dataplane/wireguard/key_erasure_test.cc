// That keys are gone from memory when they should be: all writable memory of the process is
// searched for them. What is searched for is kept inverted, so that it is not found in the test
// itself.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/test_backend.h"
#include "dataplane/wireguard/session.h"
#include "dataplane/wireguard/two_devices.h"

// Sanitizers keep terabytes of shadows, and copies of what the program had on its stack.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace sluice::wireguard {

namespace {

using Inverted = std::array<uint8_t, 32>;

Inverted inverted(const Secret<32>& secret) {
    Inverted out;
    for (size_t i = 0; i < 32; ++i)
        out[i] = static_cast<uint8_t>(~secret.data()[i]);
    return out;
}

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Never holds the key itself, not even for the time of a comparison.
size_t count_in(Bytes memory, const Inverted& key) {
    if (memory.size() < key.size()) return 0;
    size_t found = 0;
    const uint8_t* at = memory.data();
    const uint8_t* const last = memory.data() + memory.size() - key.size();
    const auto first_byte = static_cast<uint8_t>(~key[0]);
    while (at <= last) {
        at = static_cast<const uint8_t*>(
            std::memchr(at, first_byte, static_cast<size_t>(last - at) + 1));
        if (at == nullptr) break;
        size_t same = 1;
        while (same < key.size() && at[same] == static_cast<uint8_t>(~key[same]))
            ++same;
        found += same == key.size() ? 1 : 0;
        ++at;
    }
    return found;
}

// How often the key stands in what the process may write to.
size_t copies_of(const Inverted& key) {
    const File maps(std::fopen("/proc/self/maps", "r"));
    const File memory(std::fopen("/proc/self/mem", "r"));
    REQUIRE(maps != nullptr);
    REQUIRE(memory != nullptr);
    std::setvbuf(memory.get(), nullptr, _IONBF, 0);
    size_t found = 0;
    // What is searched is copied here, so this is not searched.
    static std::array<uint8_t, 1 << 20> window;
    const auto own_begin = reinterpret_cast<uint64_t>(window.data());
    const uint64_t own_end = own_begin + window.size();
    const auto search = [&](uint64_t begin, uint64_t end) {
        constexpr uint64_t kOverlap = 31;
        for (uint64_t at = begin; at < end; at += window.size() - kOverlap) {
            const size_t size = std::min<uint64_t>(window.size(), end - at);
            if (std::fseek(memory.get(), static_cast<long>(at), SEEK_SET) != 0) break;
            const size_t got = std::fread(window.data(), 1, size, memory.get());
            found += count_in(Bytes(window).first(got), key);
        }
    };
    char line[512];
    while (std::fgets(line, sizeof line, maps.get()) != nullptr) {
        uint64_t begin = 0;
        uint64_t end = 0;
        char rights[5];
        if (std::sscanf(line, "%lx-%lx %4s", &begin, &end, rights) != 3) continue;
        if (rights[0] != 'r' || rights[1] != 'w') continue;
        search(begin, std::clamp(own_begin, begin, end));
        search(std::clamp(own_end, begin, end), end);
    }
    wipe(window.data(), window.size());
    return found;
}

// On a stack of its own, so to speak: what the call left there is overwritten.
[[gnu::noinline]] void overwrite_stack() {
    std::array<uint8_t, 1 << 16> room;
    wipe(room.data(), room.size());
}

Secret<32> random_key(uint64_t seed) {
    SeededRandom random(seed);
    Secret<32> key;
    random.fill(key.span());
    return key;
}

}  // namespace

TEST_CASE("the search finds a key that is there, and none that is not") {
    const auto held = std::make_unique<Secret<32>>(random_key(901));
    const Inverted key = inverted(*held);
    overwrite_stack();
    CHECK(copies_of(key) >= 1);
    held->clear();
    overwrite_stack();
    CHECK(copies_of(key) == 0);
}

TEST_CASE("a session that ended leaves no key in memory, though it was used") {
    if (!crypto::use_backend(
            GENERATE(crypto::AeadChoice::kOpenssl, crypto::AeadChoice::kIpsecMb))) {
        return;
    }
    SessionPool pool;
    pool.reserve(2);
    Inverted send_key;
    Inverted receive_key;
    {
        SessionOwner session = pool.take();
        session->send_key.set(random_key(911));
        session->receive_key.set(random_key(912));
        send_key = inverted(random_key(911));
        receive_key = inverted(random_key(912));
        std::array<uint8_t, 116> sealed;
        session->send_key.seal(0, {}, Bytes(sealed).first(100), sealed);
        CHECK_FALSE(session->receive_key.open(0, {}, sealed, MutableBytes(sealed).first(100)));
        overwrite_stack();
        CHECK(copies_of(send_key) >= 1);
        CHECK(copies_of(receive_key) >= 1);
    }
    overwrite_stack();
    CHECK(copies_of(send_key) == 0);
    CHECK(copies_of(receive_key) == 0);
}

TEST_CASE("a removed peer leaves no preshared key and no agreed key in memory") {
    TwoDevices net;
    for (End* end : {&net.a, &net.b})
        end->peers[0].preshared_key = random_key(921);
    net.a.configure(net.now);
    net.b.configure(net.now);
    net.connect();
    const Inverted preshared = inverted(random_key(921));
    const Inverted agreed = inverted(
        crypto::X25519Key(net.a.private_key).agree(net.b.public_key).value_or(Secret<32>()));
    overwrite_stack();
    CHECK(copies_of(preshared) >= 1);
    CHECK(copies_of(agreed) >= 1);
    for (End* end : {&net.a, &net.b}) {
        end->peers.clear();
        end->configure(net.now);
    }
    overwrite_stack();
    CHECK(copies_of(preshared) == 0);
    CHECK(copies_of(agreed) == 0);
}

TEST_CASE("a private key that was replaced is gone from memory") {
    TwoDevices net;
    net.connect();
    const Inverted old = inverted(net.a.private_key);
    overwrite_stack();
    CHECK(copies_of(old) >= 1);
    net.a.private_key = random_key(931);
    net.a.configure(net.now);
    overwrite_stack();
    CHECK(copies_of(old) == 0);
}

}  // namespace sluice::wireguard

#endif
