// Objects of one type out of slabs that are never given back, so that a busy worker stops asking
// the allocator once it has seen its busiest moment. Memory: slabs of kSlab objects, made when they
// are first needed; as many as were ever in use at one time. Thread: one.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "dataplane/base/check.h"

namespace sluice::http {

template <typename T>
class ObjectPool {
  public:
    ObjectPool() = default;
    ObjectPool(const ObjectPool&) = delete;
    ObjectPool& operator=(const ObjectPool&) = delete;
    ~ObjectPool() { SLUICE_CHECK(in_use_ == 0); }

    template <typename... Arguments>
    T* make(Arguments&&... arguments) {
        if (free_ == nullptr) grow();
        Place* const place = free_;
        free_ = place->next;
        ++in_use_;
        return new (place->bytes) T(std::forward<Arguments>(arguments)...);
    }
    void destroy(T* object) {
        object->~T();
        auto* const place = reinterpret_cast<Place*>(object);
        place->next = free_;
        free_ = place;
        --in_use_;
    }
    size_t in_use() const { return in_use_; }

  private:
    // 64: enough that the allocator is asked seldom, and little next to what one connection's TLS
    // state takes.
    static constexpr size_t kSlab = 64;
    union Place {
        Place* next;
        alignas(T) unsigned char bytes[sizeof(T)];
    };

    void grow() {
        slabs_.push_back(std::make_unique<Place[]>(kSlab));
        for (size_t i = kSlab; i-- > 0;) {
            slabs_.back()[i].next = free_;
            free_ = &slabs_.back()[i];
        }
    }

    std::vector<std::unique_ptr<Place[]>> slabs_;
    Place* free_ = nullptr;
    size_t in_use_ = 0;
};

}  // namespace sluice::http
