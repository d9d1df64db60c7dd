// Internet addresses, prefixes and endpoints as values. No name resolution.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/bytes.h"

namespace sluice {

// An IPv4 or IPv6 address, or none (the default). Network byte order; an IPv4 address fills the
// first four bytes and the rest is zero, so that comparison and hashing see the same bytes.
// An IPv4-mapped IPv6 address is a different value; who reads one off a socket unmaps it.
struct IpAddress {
    enum class Family : uint8_t { kNone = 0, kV4 = 4, kV6 = 6 };

    std::array<uint8_t, 16> bytes{};
    Family family = Family::kNone;

    static IpAddress v4(const uint8_t* four_bytes);
    static IpAddress v6(const uint8_t* sixteen_bytes);
    // "192.0.2.1", "2001:db8::1". No brackets, no zone, no port.
    static std::optional<IpAddress> parse(std::string_view text);

    bool is_v4() const { return family == Family::kV4; }
    bool is_v6() const { return family == Family::kV6; }
    bool is_set() const { return family != Family::kNone; }
    unsigned bits() const { return is_v4() ? 32 : is_v6() ? 128 : 0; }
    Bytes view() const { return {bytes.data(), bits() / 8}; }
    // ::ffff:a.b.c.d becomes a.b.c.d; anything else stays.
    IpAddress unmapped() const;
    std::string text() const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct IpPrefix {
    IpAddress address;   // host bits are kept as written; masked() clears them
    uint8_t length = 0;  // [0, address.bits()]

    // "10.98.0.0/24", or an address alone, which means its whole length.
    static std::optional<IpPrefix> parse(std::string_view text);
    bool contains(const IpAddress& address) const;
    IpPrefix masked() const;
    std::string text() const;

    friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

struct Endpoint {
    IpAddress address;
    uint16_t port = 0;  // host byte order

    // "192.0.2.1:51820", "[2001:db8::1]:51820".
    static std::optional<Endpoint> parse(std::string_view text);
    bool is_set() const { return address.is_set(); }
    std::string text() const;

    friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// The way of a datagram: the far end, and which of our addresses and interfaces it used, so that an
// answer leaves from the address that was asked (sticky source). `local` unset: the kernel chooses.
struct Path {
    Endpoint remote;
    IpAddress local;
    uint32_t interface_index = 0;  // 0: any

    friend auto operator<=>(const Path&, const Path&) = default;
};

}  // namespace sluice
