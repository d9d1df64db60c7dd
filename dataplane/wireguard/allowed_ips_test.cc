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
        AllowedIps ips;
        for (const auto& [what, peer] : shuffled)
            ips.insert(what, peer);
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
    AllowedIps ips;
    CHECK(find(ips, "10.0.0.1") == kNoPeer);
    CHECK(find(ips, "::1") == kNoPeer);
    ips.insert(prefix("0.0.0.0/0"), 1);
    CHECK(find(ips, "10.0.0.1") == 1);
    CHECK(find(ips, "::1") == kNoPeer);
    CHECK(find(ips, "::ffff:10.0.0.1") == kNoPeer);
    CHECK(ips.find({}) == kNoPeer);
}

TEST_CASE("a neighbour of a prefix is not in it") {
    AllowedIps ips;
    ips.insert(prefix("10.98.0.2/32"), 1);
    ips.insert(prefix("10.98.0.4/31"), 2);
    CHECK(find(ips, "10.98.0.2") == 1);
    CHECK(find(ips, "10.98.0.3") == kNoPeer);
    CHECK(find(ips, "10.98.0.0") == kNoPeer);
    CHECK(find(ips, "10.98.0.4") == 2);
    CHECK(find(ips, "10.98.0.5") == 2);
    CHECK(find(ips, "10.98.0.6") == kNoPeer);
}

TEST_CASE("a prefix given again moves, and host bits do not matter") {
    AllowedIps ips;
    ips.insert(prefix("10.0.0.77/24"), 1);
    ips.insert(prefix("10.0.0.0/24"), 2);
    CHECK(find(ips, "10.0.0.77") == 2);
}

TEST_CASE("random prefixes: the same as a linear scan") {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        SeededRandom random(seed);
        AllowedIps ips;
        LinearScan scan;
        std::vector<IpAddress> seen;
        // Few different bits make deep, crowded tries; many make wide ones.
        const uint8_t mask = seed % 3 == 0 ? 0xff : seed % 3 == 1 ? 0x81 : 0x03;
        const auto random_address = [&] {
            std::array<uint8_t, 16> bytes;
            random.fill(bytes);
            for (uint8_t& byte : bytes)
                byte &= mask;
            return random.below(2) == 0 ? IpAddress::v4(bytes.data()) : IpAddress::v6(bytes.data());
        };
        for (int i = 0; i < 200; ++i) {
            const IpAddress address = random_address();
            const IpPrefix what{address, static_cast<uint8_t>(random.below(address.bits() + 1))};
            const auto peer = static_cast<PeerId>(random.below(20));
            ips.insert(what, peer);
            scan.insert(what, peer);
            seen.push_back(address);
            for (int j = 0; j < 10; ++j) {
                IpAddress asked =
                    random.below(2) == 0 ? random_address() : seen[random.below(seen.size())];
                if (random.below(3) == 0) {
                    asked.bytes[random.below(asked.bits() / 8)] ^=
                        static_cast<uint8_t>(1u << random.below(8));
                }
                REQUIRE(ips.find(asked.view()) == scan.find(asked));
            }
        }
    }
}

}  // namespace sluice::wireguard
