// The four WireGuard messages as bytes: which one a datagram is, reading and writing their fields.
// No meaning, no cryptography. Every field is copied out; a datagram may be overwritten afterwards.
//
// Thread: any.
// Failure: classify() names the reason; after it has named the type, reading cannot fail.
// Source: the WireGuard paper, section 5.4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/drop_reason.h"

namespace sluice::wire {

enum class WireguardType : uint32_t { kInitiation = 1, kResponse = 2, kCookieReply = 3, kData = 4 };

using WireguardMac = std::array<uint8_t, 16>;

// Type 1: the initiator's first message.
struct HandshakeInitiation {
    static constexpr size_t kSize = 148;
    static constexpr size_t kMac1Offset = 116;
    static constexpr size_t kMac2Offset = 132;

    uint32_t sender = 0;
    std::array<uint8_t, 32> ephemeral{};
    std::array<uint8_t, 48> sealed_static{};
    std::array<uint8_t, 28> sealed_timestamp{};
    WireguardMac mac1{};
    WireguardMac mac2{};

    friend bool operator==(const HandshakeInitiation&, const HandshakeInitiation&) = default;
};

// Type 2: the responder's answer.
struct HandshakeResponse {
    static constexpr size_t kSize = 92;
    static constexpr size_t kMac1Offset = 60;
    static constexpr size_t kMac2Offset = 76;

    uint32_t sender = 0;
    uint32_t receiver = 0;
    std::array<uint8_t, 32> ephemeral{};
    std::array<uint8_t, 16> sealed_nothing{};
    WireguardMac mac1{};
    WireguardMac mac2{};

    friend bool operator==(const HandshakeResponse&, const HandshakeResponse&) = default;
};

// Type 3: sent under load instead of an answer.
struct CookieReply {
    static constexpr size_t kSize = 64;

    uint32_t receiver = 0;
    std::array<uint8_t, 24> nonce{};
    std::array<uint8_t, 32> sealed_cookie{};

    friend bool operator==(const CookieReply&, const CookieReply&) = default;
};

// Type 4: what stands before the sealed inner packet.
struct DataHeader {
    static constexpr size_t kSize = 16;
    static constexpr size_t kMessageSizeMin = kSize + 16;  // nothing but a tag: a keepalive

    uint32_t receiver = 0;
    uint64_t counter = 0;

    friend bool operator==(const DataHeader&, const DataHeader&) = default;
};

// The type and three zero bytes are read as one number, so that what is reserved must be zero.
// Errors: kDatagramTooShort, kDatagramBadType, kDatagramBadLength.
std::expected<WireguardType, DropReason> classify(Bytes datagram);

// Precondition for these: classify() gave this type. An initiation has no receiver.
inline uint32_t receiver_of(WireguardType type, Bytes datagram) {
    return load_le32(datagram.data() + (type == WireguardType::kResponse ? 8 : 4));
}
HandshakeInitiation read_initiation(Bytes datagram);
HandshakeResponse read_response(Bytes datagram);
CookieReply read_cookie_reply(Bytes datagram);
inline DataHeader read_data_header(Bytes datagram) {
    return {.receiver = load_le32(datagram.data() + 4), .counter = load_le64(datagram.data() + 8)};
}

void write(const HandshakeInitiation& message, std::span<uint8_t, HandshakeInitiation::kSize> out);
void write(const HandshakeResponse& message, std::span<uint8_t, HandshakeResponse::kSize> out);
void write(const CookieReply& message, std::span<uint8_t, CookieReply::kSize> out);
inline void write(const DataHeader& header, std::span<uint8_t, DataHeader::kSize> out) {
    store_le32(out.data(), static_cast<uint32_t>(WireguardType::kData));
    store_le32(out.data() + 4, header.receiver);
    store_le64(out.data() + 8, header.counter);
}

}  // namespace sluice::wire
