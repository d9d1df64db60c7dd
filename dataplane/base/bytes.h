// Byte spans, and integers in wire order. Unaligned access is allowed everywhere.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace sluice {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename Int>
Int load_native(const uint8_t* from) {
    Int value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
template <typename Int>
void store_native(uint8_t* to, Int value) {
    std::memcpy(to, &value, sizeof value);
}

static_assert(std::endian::native == std::endian::little, "big-endian machines are not supported");

// Little-endian: WireGuard.
inline uint32_t load_le32(const uint8_t* from) {
    return load_native<uint32_t>(from);
}
inline uint64_t load_le64(const uint8_t* from) {
    return load_native<uint64_t>(from);
}
inline void store_le32(uint8_t* to, uint32_t value) {
    store_native(to, value);
}
inline void store_le64(uint8_t* to, uint64_t value) {
    store_native(to, value);
}

// Big-endian: IP, TCP, UDP, TLS.
inline uint16_t load_be16(const uint8_t* from) {
    return __builtin_bswap16(load_native<uint16_t>(from));
}
inline uint32_t load_be32(const uint8_t* from) {
    return __builtin_bswap32(load_native<uint32_t>(from));
}
inline uint64_t load_be64(const uint8_t* from) {
    return __builtin_bswap64(load_native<uint64_t>(from));
}
inline void store_be16(uint8_t* to, uint16_t value) {
    store_native(to, __builtin_bswap16(value));
}
inline void store_be32(uint8_t* to, uint32_t value) {
    store_native(to, __builtin_bswap32(value));
}
inline void store_be64(uint8_t* to, uint64_t value) {
    store_native(to, __builtin_bswap64(value));
}

}  // namespace sluice
