#include "dataplane/http/balancer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

std::string picks(Balancer& balancer, int count, const std::string& without = "") {
    std::string text;
    for (int i = 0; i < count; ++i) {
        const auto index = balancer.pick([&](uint32_t candidate) {
            return without.find(static_cast<char>('a' + candidate)) == std::string::npos;
        });
        text += index ? static_cast<char>('a' + *index) : '-';
    }
    return text;
}

TEST_CASE("weights give exact shares, spread evenly") {
    Balancer balancer({5, 1, 1});
    CHECK(picks(balancer, 14) == "aabacaaaabacaa");
    Balancer even({1, 1, 1});
    CHECK(picks(even, 6) == "abcabc");
}

TEST_CASE("servers of weight 0 and unusable ones get nothing") {
    Balancer balancer({1, 0, 1});
    CHECK(picks(balancer, 4) == "acac");
    CHECK(picks(balancer, 3, "a") == "ccc");
    CHECK(picks(balancer, 2, "ac") == "--");
    CHECK(picks(balancer, 4).find('a') != std::string::npos);  // and it comes back
    Balancer none({});
    CHECK(picks(none, 1) == "-");
}

}  // namespace
}  // namespace sluice::http
