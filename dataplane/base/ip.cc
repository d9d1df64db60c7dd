#include "dataplane/base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace sluice {

namespace {

template <typename Int>
std::optional<Int> parse_decimal(std::string_view text, Int most) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > most) return {};
    return static_cast<Int>(value);
}

}  // namespace

IpAddress IpAddress::v4(const uint8_t* four_bytes) {
    IpAddress address;
    std::memcpy(address.bytes.data(), four_bytes, 4);
    address.family = Family::kV4;
    return address;
}

IpAddress IpAddress::v6(const uint8_t* sixteen_bytes) {
    IpAddress address;
    std::memcpy(address.bytes.data(), sixteen_bytes, 16);
    address.family = Family::kV6;
    return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN + 1> zero_terminated{};
    if (text.empty() || text.size() >= zero_terminated.size()) return {};
    // inet_pton would stop at a zero byte and take what stands before it for the whole.
    if (text.find('\0') != std::string_view::npos) return {};
    std::copy(text.begin(), text.end(), zero_terminated.begin());
    std::array<uint8_t, 16> bytes;
    if (inet_pton(AF_INET, zero_terminated.data(), bytes.data()) == 1) return v4(bytes.data());
    if (inet_pton(AF_INET6, zero_terminated.data(), bytes.data()) == 1) return v6(bytes.data());
    return {};
}

IpAddress IpAddress::unmapped() const {
    static constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!is_v6() || !std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) return *this;
    return v4(bytes.data() + 12);
}

std::string IpAddress::text() const {
    if (!is_set()) return "none";
    std::array<char, INET6_ADDRSTRLEN> out{};
    inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), out.data(), out.size());
    return out.data();
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
    const size_t slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) return {};
    const auto whole = static_cast<uint8_t>(address->bits());
    if (slash == std::string_view::npos) return IpPrefix{*address, whole};
    const auto length = parse_decimal<uint8_t>(text.substr(slash + 1), whole);
    if (!length) return {};
    return IpPrefix{*address, *length};
}

bool IpPrefix::contains(const IpAddress& other) const {
    if (other.family != address.family) return false;
    const unsigned whole = length / 8;
    if (std::memcmp(other.bytes.data(), address.bytes.data(), whole) != 0) return false;
    if (length % 8 == 0) return true;
    const auto mask = static_cast<uint8_t>(0xff << (8 - length % 8));
    return ((other.bytes[whole] ^ address.bytes[whole]) & mask) == 0;
}

IpPrefix IpPrefix::masked() const {
    IpPrefix result = *this;
    for (unsigned bit = length; bit < address.bits(); ++bit) {
        result.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
    }
    return result;
}

std::string IpPrefix::text() const {
    return address.text() + "/" + std::to_string(length);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return {};
    const auto port = parse_decimal<uint16_t>(text.substr(colon + 1), 65535);
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = IpAddress::parse(host);
    if (!port || !address || address->is_v6() != bracketed) return {};
    return Endpoint{*address, *port};
}

std::string Endpoint::text() const {
    const std::string host = address.is_v6() ? "[" + address.text() + "]" : address.text();
    return host + ":" + std::to_string(port);
}

}  // namespace sluice
