#include "dataplane/http/balancer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

std::string picks(Balancer& balancer, const std::vector<uint64_t>& weights, int count,
                  const std::string& without = "") {
    std::string text;
    for (int i = 0; i < count; ++i) {
        const auto index = balancer.pick([&](uint32_t candidate) -> uint64_t {
            const bool usable =
                without.find(static_cast<char>('a' + candidate)) == std::string::npos;
            return usable ? weights[candidate] : 0;
        });
        text += index ? static_cast<char>('a' + *index) : '-';
    }
    return text;
}

TEST_CASE("weights give exact shares, spread evenly") {
    Balancer balancer(3);
    CHECK(picks(balancer, {5, 1, 1}, 14) == "aabacaaaabacaa");
    Balancer even(3);
    CHECK(picks(even, {1, 1, 1}, 6) == "abcabc");
    CHECK(picks(even, {100, 100, 100}, 6) == "abcabc");
}

TEST_CASE("servers of weight 0 and unusable ones get nothing") {
    Balancer balancer(3);
    CHECK(picks(balancer, {1, 0, 1}, 4) == "acac");
    CHECK(picks(balancer, {1, 0, 1}, 3, "a") == "ccc");
    CHECK(picks(balancer, {1, 0, 1}, 2, "ac") == "--");
    CHECK(picks(balancer, {1, 0, 1}, 4).find('a') != std::string::npos);  // and it comes back
    Balancer none(0);
    CHECK(picks(none, {}, 1) == "-");
}

TEST_CASE("the least loaded server for its weight has the turn") {
    const std::vector<uint64_t> weights = {1, 2, 1};
    std::vector<uint32_t> active = {0, 0, 0};
    Balancer balancer(3);
    const auto next = [&] {
        const auto index = balancer.pick_least([&](uint32_t i) { return weights[i]; },
                                               [&](uint32_t i) { return active[i]; });
        REQUIRE(index);
        ++active[*index];
        return *index;
    };
    CHECK(next() == 1);  // 1/2 against 1/1
    for (int i = 0; i < 7; ++i)
        next();
    CHECK(active == std::vector<uint32_t>{2, 4, 2});
    active = {5, 9, 0};
    CHECK(next() == 2);
    active = {0, 0, 0};
    std::vector<uint32_t> counts(3);
    for (int i = 0; i < 8; ++i) {  // nobody is busy: the heavier one always
        ++counts[next()];
        active = {0, 0, 0};
    }
    CHECK(counts == std::vector<uint32_t>{0, 8, 0});
    Balancer even(2);
    std::string turns;
    for (int i = 0; i < 4; ++i)
        turns += static_cast<char>(
            'a' + *even.pick_least([](uint32_t) { return 3U; }, [](uint32_t) { return 7U; }));
    CHECK(turns == "abab");
    CHECK_FALSE(even.pick_least([](uint32_t) { return 0U; }, [](uint32_t) { return 0U; }));
}

}  // namespace
}  // namespace sluice::http
