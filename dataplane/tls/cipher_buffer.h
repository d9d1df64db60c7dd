// Bytes of ciphertext on their way out. A vector that does not set new bytes to zero: each of them
// is written by the encryption a moment later, and zeroes for a full record take a quarter of its
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace sluice::tls {

template <typename T>
struct UninitialisedAllocator : std::allocator<T> {
    template <typename U>
    struct rebind {
        using other = UninitialisedAllocator<U>;
    };
    template <typename U>
    void construct(U* place) noexcept {
        ::new (static_cast<void*>(place)) U;
    }
    template <typename U, typename... Arguments>
    void construct(U* place, Arguments&&... arguments) {
        ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
    }
};

using CipherBuffer = std::vector<uint8_t, UninitialisedAllocator<uint8_t>>;

}  // namespace sluice::tls
