#include "dataplane/tls/hello_gate.h"

#include <catch2/catch.hpp>
#include <vector>

namespace sluice::tls {
namespace {

using Octets = std::vector<uint8_t>;

Octets record(uint8_t type, const Octets& payload) {
    Octets bytes{type, 3, 1, 0, 0};
    store_be16(bytes.data() + 3, static_cast<uint16_t>(payload.size()));
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
}

// The start of a ClientHello of that length, spread over records of `portion` bytes each.
Octets hello(uint32_t length, size_t portion) {
    Octets message{1,
                   static_cast<uint8_t>(length >> 16),
                   static_cast<uint8_t>(length >> 8),
                   static_cast<uint8_t>(length),
                   3,
                   3,
                   0,
                   0};
    Octets bytes;
    for (size_t at = 0; at < message.size(); at += portion) {
        const size_t end = std::min(at + portion, message.size());
        const Octets part = record(22, Octets(message.begin() + static_cast<ptrdiff_t>(at),
                                              message.begin() + static_cast<ptrdiff_t>(end)));
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
}

bool admitted(const Octets& bytes, size_t step) {
    HelloGate gate;
    for (size_t at = 0; at < bytes.size(); at += step) {
        if (!gate.admit(Bytes(bytes).subspan(at, std::min(step, bytes.size() - at)))) return false;
    }
    return true;
}

TEST_CASE("A ClientHello is judged by its length, however it is cut into records and reads") {
    for (size_t portion = 1; portion <= 8; ++portion) {
        for (size_t step = 1; step <= 16; ++step) {
            CAPTURE(portion, step);
            CHECK(admitted(hello(512, portion), step));
            CHECK(admitted(hello(HelloGate::kHelloMax, portion), step));
            CHECK_FALSE(admitted(hello(HelloGate::kHelloMax + 1, portion), step));
            CHECK_FALSE(admitted(hello(0xffffff, portion), step));
        }
    }
}

TEST_CASE("Empty records do not hide the length") {
    Octets bytes = record(22, {});
    const Octets rest = hello(0x20000, 1);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    CHECK_FALSE(admitted(bytes, 1));
}

TEST_CASE("What is not a ClientHello is left to OpenSSL") {
    const std::string_view http = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(admitted(Octets(http.begin(), http.end()), 3));
    CHECK(admitted(record(21, {2, 40}), 1));
    CHECK(admitted(record(22, {2, 0xff, 0xff, 0xff}), 1));
}

}  // namespace
}  // namespace sluice::tls
