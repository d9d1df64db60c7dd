#include "dataplane/wireguard/index_table.h"

#include <bit>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::wireguard {

void IndexTable::reserve(size_t entries) {
    const size_t wanted = std::bit_ceil(2 * entries + 1);
    if (wanted <= places_.size()) return;
    const std::vector<Entry> old = std::exchange(places_, std::vector<Entry>(wanted));
    for (const Entry& entry : old) {
        if (entry.peer != nullptr) places_[place_of(entry.index)] = entry;
    }
}

// Where the index is, or the free place where it would go.
size_t IndexTable::place_of(uint32_t index) const {
    size_t place = index & mask();
    while (places_[place].peer != nullptr && places_[place].index != index)
        place = (place + 1) & mask();
    return place;
}

const IndexTable::Entry* IndexTable::find(uint32_t index) const {
    const Entry& entry = places_[place_of(index)];
    return entry.peer != nullptr ? &entry : nullptr;
}

void IndexTable::set(uint32_t index, Peer* peer, Session* session) {
    Entry& entry = places_[place_of(index)];
    if (entry.peer == nullptr) {
        ++size_;
        SLUICE_CHECK(2 * size_ <= places_.size());
    }
    entry = {.index = index, .peer = peer, .session = session};
}

void IndexTable::remove(uint32_t index) {
    size_t hole = place_of(index);
    if (places_[hole].peer == nullptr) return;
    --size_;
    // Entries behind the hole that were pushed past it move up, so that no search ends too early.
    for (size_t at = (hole + 1) & mask(); places_[at].peer != nullptr; at = (at + 1) & mask()) {
        const size_t home = places_[at].index & mask();
        if (((at - home) & mask()) < ((at - hole) & mask())) continue;
        places_[hole] = places_[at];
        hole = at;
    }
    places_[hole] = {};
}

}  // namespace sluice::wireguard
