// For tests of this room: how much memory the process really has, as distinct from address space.
#pragma once

#include <cstddef>
#include <fstream>

namespace sluice::wireguard {

// A sanitizer's allocator touches what it gives out, and keeps what it gets back.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kResidentMemoryMeansSomething = false;
#else
inline constexpr bool kResidentMemoryMeansSomething = true;
#endif

inline size_t resident_memory() {
    constexpr size_t kPage = 4096;
    std::ifstream file("/proc/self/statm");
    size_t total = 0;
    size_t resident = 0;
    file >> total >> resident;
    return resident * kPage;
}

}  // namespace sluice::wireguard
