#include "dataplane/io/host_addresses.h"

#include <catch2/catch.hpp>

namespace sluice::io {

TEST_CASE("the machine's own addresses are told from others") {
    auto host = HostAddresses::open();
    REQUIRE(host);
    const auto own = [&host](std::string_view text) {
        return host->is_own(IpAddress::parse(text).value());
    };
    CHECK(own("127.0.0.1"));
    CHECK(own("127.9.8.7"));  // all of 127/8 is
    CHECK(own("::1"));
    CHECK_FALSE(own("192.0.2.77"));
    CHECK_FALSE(own("2001:db8::77"));
    // However often it is asked.
    for (int i = 0; i < 1000; ++i)
        REQUIRE(own("127.0.0.1") != own("198.51.100.9"));
}

}  // namespace sluice::io
