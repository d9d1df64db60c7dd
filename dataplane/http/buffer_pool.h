// The memory that bytes pass through. A connection leases a buffer while bytes move and gives it
// back when they do not, so ten thousand idle connections hold none.
//
// Two sizes. Small, 16 KiB: the largest TLS record, so that one read fills one record. Large: the
// longest head that is allowed and what we add to it, at least 64 KiB; taken for heads that need
// it, and for bodies that keep filling small ones, where it saves three reads in four.
//
// Memory: as many buffers as were ever leased at one time, less what is beyond the reserve: that
// goes back to the allocator when it is returned. At most three buffers a connection are out at
// once. Thread: one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"

namespace sluice::http {

class BufferPool;

// A buffer on loan; goes back by itself.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : pool_(other.pool_), bytes_(std::move(other.bytes_)), size_(other.size_) {
        other.size_ = 0;
    }
    Buffer& operator=(Buffer&& other) noexcept {
        release();
        pool_ = other.pool_;
        bytes_ = std::move(other.bytes_);
        size_ = std::exchange(other.size_, 0);
        return *this;
    }
    ~Buffer() { release(); }

    explicit operator bool() const { return bytes_ != nullptr; }
    uint8_t* data() const { return bytes_.get(); }
    size_t size() const { return size_; }
    MutableBytes span() const { return {bytes_.get(), size_}; }
    void release();

  private:
    friend class BufferPool;
    BufferPool* pool_ = nullptr;
    std::unique_ptr<uint8_t[]> bytes_;
    size_t size_ = 0;
};

class BufferPool {
  public:
    static constexpr size_t kSmall = 16 * 1024;
    static constexpr size_t kLargeMin = 64 * 1024;
    // What a head may grow by when it is passed on: our own headers, a peer's name and a host in
    // them.
    static constexpr size_t kHeadGrowth = 4 * 1024;
    // Kept for the next lease although nobody holds them: 4 MiB of each size and worker at most.
    static constexpr size_t kSmallReserve = 256;
    static constexpr size_t kLargeReserve = 60;

    // From now on large buffers hold heads of this size.
    void set_head_bytes_max(size_t bytes) {
        large_ = std::max(kLargeMin, bytes) + kHeadGrowth;
        free_large_.clear();
    }

    size_t large() const { return large_; }
    Buffer lease_small() { return lease(free_small_, kSmall); }
    Buffer lease_large() { return lease(free_large_, large_); }
    // The smaller size that holds `bytes`; none if there is none.
    Buffer lease_for(size_t bytes) {
        if (bytes <= kSmall) return lease_small();
        return bytes <= large_ ? lease_large() : Buffer();
    }
    // For what is made of several things at once and seldom: of any size, and not kept.
    Buffer lease_any(size_t bytes) {
        if (bytes <= large_) return lease_for(bytes);
        std::vector<Storage> none;
        return lease(none, bytes);
    }
    size_t leased() const { return leased_; }

    ~BufferPool() { SLUICE_CHECK(leased_ == 0); }

  private:
    friend class Buffer;
    using Storage = std::unique_ptr<uint8_t[]>;

    Buffer lease(std::vector<Storage>& free, size_t size) {
        Buffer buffer;
        buffer.pool_ = this;
        buffer.size_ = size;
        if (free.empty()) {
            buffer.bytes_ = std::make_unique_for_overwrite<uint8_t[]>(size);
        } else {
            buffer.bytes_ = std::move(free.back());
            free.pop_back();
        }
        ++leased_;
        return buffer;
    }
    void take_back(Storage bytes, size_t size) {
        --leased_;
        if (size == kSmall && free_small_.size() < kSmallReserve) {
            free_small_.push_back(std::move(bytes));
        } else if (size == large_ && free_large_.size() < kLargeReserve) {
            free_large_.push_back(std::move(bytes));
        }
    }

    size_t large_ = kLargeMin + kHeadGrowth;
    size_t leased_ = 0;
    std::vector<Storage> free_small_;
    std::vector<Storage> free_large_;
};

inline void Buffer::release() {
    if (bytes_) pool_->take_back(std::move(bytes_), std::exchange(size_, 0));
}

}  // namespace sluice::http
