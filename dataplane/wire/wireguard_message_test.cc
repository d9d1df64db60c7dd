#include "dataplane/wire/wireguard_message.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

namespace sluice::wire {

namespace {

std::vector<uint8_t> message_of(uint8_t type, size_t size) {
    std::vector<uint8_t> bytes(size);
    std::iota(bytes.begin(), bytes.end(), uint8_t{0});
    bytes[0] = type;
    bytes[1] = bytes[2] = bytes[3] = 0;
    return bytes;
}

}  // namespace

TEST_CASE("a datagram is a message only by exact type and length") {
    const auto length_of = [](uint8_t type) -> size_t {
        return type == 1 ? 148 : type == 2 ? 92 : type == 3 ? 64 : 0;
    };
    for (size_t size = 0; size < 200; ++size) {
        for (unsigned type = 0; type < 256; ++type) {
            const auto bytes = message_of(static_cast<uint8_t>(type), std::max<size_t>(size, 4));
            const auto got = classify(Bytes(bytes).first(size));
            const size_t exact = length_of(static_cast<uint8_t>(type));
            if (size < 32) {
                REQUIRE(got.error() == DropReason::kDatagramTooShort);
            } else if (type < 1 || type > 4) {
                REQUIRE(got.error() == DropReason::kDatagramBadType);
            } else if (type != 4 && size != exact) {
                REQUIRE(got.error() == DropReason::kDatagramBadLength);
            } else {
                REQUIRE(got.value() == static_cast<WireguardType>(type));
            }
        }
    }
}

TEST_CASE("reserved bytes must be zero") {
    for (uint8_t type = 1; type <= 4; ++type) {
        for (size_t i = 1; i < 4; ++i) {
            auto bytes = message_of(type, 148);
            bytes[i] = 1;
            CHECK(classify(bytes).error() == DropReason::kDatagramBadType);
        }
    }
}

TEST_CASE("fields stand where the paper puts them") {
    const auto at = [](const auto& field) { return static_cast<size_t>(field[0]); };
    const auto one = message_of(1, 148);
    const HandshakeInitiation initiation = read_initiation(one);
    CHECK(initiation.sender == 0x07060504);
    CHECK(at(initiation.ephemeral) == 8);
    CHECK(at(initiation.sealed_static) == 40);
    CHECK(at(initiation.sealed_timestamp) == 88);
    CHECK(at(initiation.mac1) == HandshakeInitiation::kMac1Offset);
    CHECK(at(initiation.mac2) == HandshakeInitiation::kMac2Offset);
    const auto two = message_of(2, 92);
    const HandshakeResponse response = read_response(two);
    CHECK(response.sender == 0x07060504);
    CHECK(response.receiver == 0x0b0a0908);
    CHECK(at(response.ephemeral) == 12);
    CHECK(at(response.sealed_nothing) == 44);
    CHECK(at(response.mac1) == HandshakeResponse::kMac1Offset);
    CHECK(at(response.mac2) == HandshakeResponse::kMac2Offset);
    const auto three = message_of(3, 64);
    const CookieReply reply = read_cookie_reply(three);
    CHECK(reply.receiver == 0x07060504);
    CHECK(at(reply.nonce) == 8);
    CHECK(at(reply.sealed_cookie) == 32);
    const auto four = message_of(4, 32);
    const DataHeader header = read_data_header(four);
    CHECK(header.receiver == 0x07060504);
    CHECK(header.counter == 0x0f0e0d0c0b0a0908);
}

TEST_CASE("what was read is written byte for byte") {
    const auto one = message_of(1, 148);
    std::vector<uint8_t> out(148);
    write(read_initiation(one), std::span<uint8_t, 148>(out));
    CHECK(out == one);
    const auto two = message_of(2, 92);
    out.assign(92, 0xff);
    write(read_response(two), std::span<uint8_t, 92>(out));
    CHECK(out == two);
    const auto three = message_of(3, 64);
    out.assign(64, 0xff);
    write(read_cookie_reply(three), std::span<uint8_t, 64>(out));
    CHECK(out == three);
    const auto four = message_of(4, 16);
    out.assign(16, 0xff);
    write(read_data_header(four), std::span<uint8_t, 16>(out));
    CHECK(out == four);
}

}  // namespace sluice::wire
