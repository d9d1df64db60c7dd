#include "dataplane/wireguard/allowed_ips.h"

#include <catch2/catch.hpp>
#include <map>

#include "dataplane/base/random.h"

namespace sluice::wireguard {

namespace {

IpPrefix prefix(std::string_view text) {
    return IpPrefix::parse(text).value();
}
PeerId find(const AllowedIps& ips, std::string_view address) {
    return ips.find(IpAddress::parse(address).value().view());
}
AllowedIps table(const std::vector<std::pair<IpPrefix, PeerId>>& prefixes) {
    AllowedIps ips;
    for (const auto& [what, peer] : prefixes)
        ips.insert(what, peer);
    ips.finish();
    return ips;
}

// All prefixes, looked through one by one.
class LinearScan {
  public:
    void insert(const IpPrefix& what, PeerId peer) { prefixes_[what.masked()] = peer; }
    PeerId find(const IpAddress& address) const {
        PeerId best = kNoPeer;
        int length = -1;
        for (const auto& [candidate, peer] : prefixes_) {
            if (candidate.contains(address) && candidate.length > length) {
                best = peer;
                length = candidate.length;
            }
        }
        return best;
    }

  private:
    std::map<IpPrefix, PeerId> prefixes_;
};

}  // namespace

TEST_CASE("the longest prefix wins, whatever the order of insertion") {
    const std::vector<std::pair<IpPrefix, PeerId>> routes = {
        {prefix("0.0.0.0/0"), 1},       {prefix("10.0.0.0/8"), 2},    {prefix("10.1.0.0/16"), 3},
        {prefix("10.1.2.0/24"), 4},     {prefix("10.1.2.3/32"), 5},   {prefix("10.1.2.128/25"), 6},
        {prefix("192.168.0.0/16"), 7},  {prefix("2001:db8::/32"), 8}, {prefix("::/0"), 9},
        {prefix("2001:db8::1/128"), 10}};
    for (uint64_t seed = 0; seed < 50; ++seed) {
        SeededRandom random(seed);
        auto shuffled = routes;
        for (size_t i = shuffled.size(); i > 1; --i)
            std::swap(shuffled[i - 1], shuffled[random.below(i)]);
        const AllowedIps ips = table(shuffled);
        CHECK(find(ips, "8.8.8.8") == 1);
        CHECK(find(ips, "10.200.0.1") == 2);
        CHECK(find(ips, "10.1.200.1") == 3);
        CHECK(find(ips, "10.1.2.1") == 4);
        CHECK(find(ips, "10.1.2.3") == 5);
        CHECK(find(ips, "10.1.2.200") == 6);
        CHECK(find(ips, "192.168.1.1") == 7);
        CHECK(find(ips, "2001:db8::2") == 8);
        CHECK(find(ips, "2001:db9::2") == 9);
        CHECK(find(ips, "2001:db8::1") == 10);
    }
}

TEST_CASE("nothing is allowed by default, and families do not mix") {
    CHECK(find(AllowedIps(), "10.0.0.1") == kNoPeer);
    const AllowedIps none = table({});
    CHECK(find(none, "10.0.0.1") == kNoPeer);
    CHECK(find(none, "::1") == kNoPeer);
    const AllowedIps ips = table({{prefix("0.0.0.0/0"), 1}});
    CHECK(find(ips, "10.0.0.1") == 1);
    CHECK(find(ips, "0.0.0.0") == 1);
    CHECK(find(ips, "255.255.255.255") == 1);
    CHECK(find(ips, "::1") == kNoPeer);
    CHECK(find(ips, "::ffff:10.0.0.1") == kNoPeer);
    CHECK(ips.find({}) == kNoPeer);
}

TEST_CASE("a neighbour of a prefix is not in it") {
    const AllowedIps ips = table({{prefix("10.98.0.2/32"), 1}, {prefix("10.98.0.4/31"), 2}});
    CHECK(find(ips, "10.98.0.2") == 1);
    CHECK(find(ips, "10.98.0.3") == kNoPeer);
    CHECK(find(ips, "10.98.0.0") == kNoPeer);
    CHECK(find(ips, "10.98.0.4") == 2);
    CHECK(find(ips, "10.98.0.5") == 2);
    CHECK(find(ips, "10.98.0.6") == kNoPeer);
}

TEST_CASE("a prefix given again moves, and host bits do not matter") {
    CHECK(find(table({{prefix("10.0.0.77/24"), 1}, {prefix("10.0.0.0/24"), 2}}), "10.0.0.77") == 2);
    CHECK(find(table({{prefix("10.0.0.0/24"), 2}, {prefix("10.0.0.77/24"), 1}}), "10.0.0.77") == 1);
}

TEST_CASE("the first and the last addresses of all") {
    const AllowedIps ips = table({{prefix("255.255.255.255/32"), 1},
                                  {prefix("255.255.255.0/24"), 2},
                                  {prefix("0.0.0.0/32"), 3},
                                  {prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"), 4},
                                  {prefix("ffff::/16"), 5},
                                  {prefix("::/128"), 6}});
    CHECK(find(ips, "255.255.255.255") == 1);
    CHECK(find(ips, "255.255.255.254") == 2);
    CHECK(find(ips, "255.255.254.255") == kNoPeer);
    CHECK(find(ips, "0.0.0.0") == 3);
    CHECK(find(ips, "0.0.0.1") == kNoPeer);
    CHECK(find(ips, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == 4);
    CHECK(find(ips, "ffff::") == 5);
    CHECK(find(ips, "::") == 6);
    CHECK(find(ips, "::1") == kNoPeer);
}

TEST_CASE("every level of prefixes inside each other ends where it should") {
    // 0/0, 128/1, 192/2 … 255.255.255.255/32, and the same to the left.
    for (const bool ones : {true, false}) {
        AllowedIps ips;
        for (uint8_t length = 0; length <= 32; ++length) {
            std::array<uint8_t, 4> bytes;
            store_be32(bytes.data(), ones ? 0xffffffff : 0);
            ips.insert({IpAddress::v4(bytes.data()), length}, length);
        }
        ips.finish();
        for (unsigned bit = 0; bit < 32; ++bit) {
            std::array<uint8_t, 4> bytes;
            store_be32(bytes.data(), (ones ? 0xffffffff : 0) ^ 1u << (31 - bit));
            CHECK(ips.find(bytes) == bit);
        }
    }
}

TEST_CASE("random prefixes: the same as a linear scan") {
    for (uint64_t seed = 1; seed <= 400; ++seed) {
        SeededRandom random(seed);
        AllowedIps ips;
        LinearScan scan;
        std::vector<IpAddress> seen;
        // Few different bits make deep nests of prefixes; many make them lie side by side.
        const uint8_t mask = seed % 3 == 0 ? 0xff : seed % 3 == 1 ? 0x81 : 0x03;
        const auto random_address = [&] {
            std::array<uint8_t, 16> bytes;
            random.fill(bytes);
            for (uint8_t& byte : bytes)
                byte &= mask;
            return random.below(2) == 0 ? IpAddress::v4(bytes.data()) : IpAddress::v6(bytes.data());
        };
        for (uint64_t i = random.below(300); i > 0; --i) {
            const IpAddress address = random_address();
            const IpPrefix what{address, static_cast<uint8_t>(random.below(address.bits() + 1))};
            const auto peer = static_cast<PeerId>(random.below(20));
            ips.insert(what, peer);
            scan.insert(what, peer);
            seen.push_back(address);
        }
        ips.finish();
        for (int i = 0; i < 200; ++i) {
            IpAddress asked = random.below(2) == 0 || seen.empty()
                                  ? random_address()
                                  : seen[random.below(seen.size())];
            if (random.below(3) == 0) {
                asked.bytes[random.below(asked.bits() / 8)] ^=
                    static_cast<uint8_t>(1u << random.below(8));
            }
            REQUIRE(ips.find(asked.view()) == scan.find(asked));
        }
    }
}

TEST_CASE("a million prefixes: each is found, and so is what lies between them") {
    SeededRandom random(1);
    AllowedIps ips;
    std::map<uint32_t, PeerId> v4;
    std::map<uint64_t, PeerId> v6;
    for (PeerId peer = 0; peer < 500'000; ++peer) {
        std::array<uint8_t, 16> bytes{};
        const uint32_t host = 0x0a000000 | (random.u32() & 0xffffff);
        store_be32(bytes.data(), host);
        ips.insert({IpAddress::v4(bytes.data()), 32}, peer);
        v4[host] = peer;
        const uint64_t network = 0xfd98'0000'0000'0000 | (random.u64() & 0xffff'ffff);
        store_be64(bytes.data(), network);
        ips.insert({IpAddress::v6(bytes.data()), 64}, peer);
        v6[network] = peer;
    }
    ips.finish();
    for (int i = 0; i < 200'000; ++i) {
        std::array<uint8_t, 16> bytes;
        random.fill(bytes);
        const uint32_t host = 0x0a000000 | (random.u32() & 0xffffff);
        store_be32(bytes.data(), host);
        const auto found4 = v4.find(host);
        REQUIRE(ips.find(Bytes(bytes).first(4)) == (found4 == v4.end() ? kNoPeer : found4->second));
        uint64_t network = 0xfd98'0000'0000'0000 | (random.u64() & 0xffff'ffff);
        const auto next = v6.lower_bound(network);
        if (next != v6.end() && random.below(2) == 0) network = next->first;
        store_be64(bytes.data(), network);
        const auto found6 = v6.find(network);
        REQUIRE(ips.find(bytes) == (found6 == v6.end() ? kNoPeer : found6->second));
    }
}

}  // namespace sluice::wireguard
