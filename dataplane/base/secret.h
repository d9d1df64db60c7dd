// Bytes that must not outlive their use: keys. Wiped when destroyed or overwritten.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/base/bytes.h"

namespace sluice {

// explicit_bzero: the compiler may not leave it out, as it may a memset before the end of life.
inline void wipe(void* bytes, size_t size) {
    explicit_bzero(bytes, size);
}

// A copy is as secret as its original and wipes itself too. Comparison takes the same time whatever
// the bytes are.
template <size_t kSize>
class Secret {
  public:
    Secret() = default;
    explicit Secret(const std::array<uint8_t, kSize>& bytes) : bytes_(bytes) {}
    Secret(const Secret&) = default;
    Secret& operator=(const Secret&) = default;
    ~Secret() { clear(); }

    void clear() { wipe(bytes_.data(), kSize); }
    bool is_zero() const {
        uint8_t any = 0;
        for (const uint8_t byte : bytes_)
            any |= byte;
        return any == 0;
    }
    uint8_t* data() { return bytes_.data(); }
    const uint8_t* data() const { return bytes_.data(); }
    static constexpr size_t size() { return kSize; }
    MutableBytes span() { return bytes_; }
    Bytes span() const { return bytes_; }

    friend bool operator==(const Secret& a, const Secret& b) {
        uint8_t difference = 0;
        for (size_t i = 0; i < kSize; ++i)
            difference |= a.bytes_[i] ^ b.bytes_[i];
        return difference == 0;
    }

  private:
    std::array<uint8_t, kSize> bytes_{};
};

}  // namespace sluice
