#include "dataplane/tls/server_name.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::tls {
namespace {

std::vector<uint8_t> extension_of(std::string_view name) {
    std::vector<uint8_t> bytes(5);
    store_be16(bytes.data(), static_cast<uint16_t>(name.size() + 3));
    store_be16(bytes.data() + 3, static_cast<uint16_t>(name.size()));
    bytes.insert(bytes.end(), name.begin(), name.end());
    return bytes;
}

TEST_CASE("The host name is found in a well-formed server_name extension") {
    const auto extension = extension_of("Happy.example.org");
    const auto name = host_name_in(extension);
    REQUIRE(name);
    CHECK(as_text(*name) == "Happy.example.org");
}

TEST_CASE("A server_name extension with any length wrong is malformed") {
    const auto good = extension_of("a.example.org");
    for (size_t size = 0; size < good.size(); ++size) {
        CHECK_FALSE(host_name_in(Bytes(good).first(size)));
    }
    for (const size_t field : {size_t{1}, size_t{4}}) {
        for (const int change : {-1, 1}) {
            auto bad = good;
            bad[field] = static_cast<uint8_t>(bad[field] + change);
            CHECK_FALSE(host_name_in(bad));
        }
    }
    auto other_type = good;
    other_type[2] = 1;
    CHECK_FALSE(host_name_in(other_type));
    CHECK_FALSE(host_name_in(extension_of("")));

    auto two_names = good;  // a second entry after the first, with the list's length telling of it
    two_names.insert(two_names.end(), {0, 0, 1, 'b'});
    store_be16(two_names.data(), static_cast<uint16_t>(two_names.size() - 2));
    CHECK_FALSE(host_name_in(two_names));
}

TEST_CASE("Host names are compared in one canonical form") {
    const auto canonical = [](std::string_view name) { return canonical_host(as_bytes(name)); };
    CHECK(canonical("a.example.org") == "a.example.org");
    CHECK(canonical("A.Example.ORG.") == "a.example.org");
    CHECK(canonical("localhost") == "localhost");
    CHECK(canonical("_acme-challenge.x--y.org") == "_acme-challenge.x--y.org");
    CHECK(canonical("192.168.10.21") == "192.168.10.21");
    for (const std::string_view bad : {"", ".", "..", "a..b", ".a", "a.b..", "a b.c", "*.a.org",
                                       "a\n.b", "a/b", "a:443", "b\xc3\xbc.de", "[::1]"}) {
        CAPTURE(bad);
        CHECK_FALSE(canonical(bad));
    }
    CHECK_FALSE(canonical(std::string_view("a\0b.org", 7)));

    const std::string label(63, 'a');
    CHECK(canonical(label + ".org"));
    CHECK_FALSE(canonical(label + "a.org"));
    const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
    CHECK(canonical(longest));
    CHECK(canonical(longest + "."));
    CHECK_FALSE(canonical(longest + "b"));
}

}  // namespace
}  // namespace sluice::tls
