#include "dataplane/http/authority.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::http {
namespace {

TEST_CASE("hosts get one spelling") {
    struct Case {
        const char* raw;
        const char* host;
        uint16_t port;
        const char* text;
    };
    const std::vector<Case> cases = {
        {"example.org", "example.org", 0, "example.org"},
        {"EXAMPLE.Org", "example.org", 0, "example.org"},
        {"example.org.", "example.org", 0, "example.org"},
        {"Example.Org.:8443", "example.org", 8443, "example.org:8443"},
        {"example.org:", "example.org", 0, "example.org"},
        {"example.org:00080", "example.org", 80, "example.org:80"},
        {"localhost", "localhost", 0, "localhost"},
        {"my_service.a-b.c", "my_service.a-b.c", 0, "my_service.a-b.c"},
        {"192.0.2.1:1", "192.0.2.1", 1, "192.0.2.1:1"},
        {"[2001:DB8::0:1]", "[2001:db8::1]", 0, "[2001:db8::1]"},
        {"[::1]:65535", "[::1]", 65535, "[::1]:65535"},
    };
    for (const Case& tried : cases) {
        INFO(tried.raw);
        AuthorityStorage storage;
        const auto authority = parse_authority(tried.raw, storage);
        REQUIRE(authority);
        CHECK(authority->host == tried.host);
        CHECK(authority->port == tried.port);
        CHECK(authority->text == tried.text);
    }
}

TEST_CASE("what is no host is refused") {
    const std::string long_host(254, 'a');
    for (const std::string& raw : std::vector<std::string>{"",
                                                           ".",
                                                           "..",
                                                           ".a",
                                                           "a..b",
                                                           "a...",
                                                           "a.b..",
                                                           "a b",
                                                           "a/b",
                                                           "a\\b",
                                                           "a@b",
                                                           "user:pw@a",
                                                           "a?b",
                                                           "a#b",
                                                           "a,b",
                                                           "a%41",
                                                           "a*",
                                                           "*.a",
                                                           "a:b",
                                                           "a:-1",
                                                           "a:+1",
                                                           "a:65536",
                                                           "a:000080",
                                                           "a:0",
                                                           "a: 80",
                                                           "a:80:80",
                                                           ":80",
                                                           "::1",
                                                           "[::1",
                                                           "::1]",
                                                           "[]",
                                                           "[a]",
                                                           "[192.0.2.1]",
                                                           "[::1]a",
                                                           "[::1]:",
                                                           "[fe80::1%eth0]",
                                                           "\xc3\xb6.org",
                                                           "a\tb",
                                                           long_host}) {
        INFO(raw);
        AuthorityStorage storage;
        const auto authority = parse_authority(raw, storage);
        if (raw == "[::1]:") {
            CHECK(authority);  // an empty port is no port (RFC 3986 section 3.2.3)
        } else {
            CHECK_FALSE(authority);
        }
    }
    AuthorityStorage storage;
    CHECK(parse_authority(std::string(253, 'a') + ".:65535", storage));
}

}  // namespace
}  // namespace sluice::http
