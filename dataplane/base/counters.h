// A number that one thread raises and any thread reads.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice {

// Single writer: raising it is a plain load, add and store, no locked instruction on the path.
class Counter {
  public:
    Counter() = default;
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    void add(uint64_t amount = 1) {
        value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    void sub(uint64_t amount = 1) { add(0 - amount); }  // for levels, such as open connections
    uint64_t value() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<uint64_t> value_{0};
};

}  // namespace sluice
