// Which handshake or session a receiver index means: open addressing with linear probing. The
// indices are random already, so they are their own hash, and who sends datagrams cannot choose
// them. Half empty at least, so a lookup looks at 1.5 places.
//
// Thread: one. Memory: only reserve() allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::wireguard {

struct Peer;
struct Session;

class IndexTable {
  public:
    struct Entry {
        uint32_t index = 0;
        Peer* peer = nullptr;        // null: the place is free
        Session* session = nullptr;  // null: an initiation that waits for its answer
    };

    // Room for so many entries at once.
    void reserve(size_t entries);
    // The entry of this index, or null.
    const Entry* find(uint32_t index) const;
    // Adds, or replaces what the index meant.
    void set(uint32_t index, Peer* peer, Session* session);
    void remove(uint32_t index);
    size_t size() const { return size_; }

  private:
    size_t place_of(uint32_t index) const;
    size_t mask() const { return places_.size() - 1; }

    std::vector<Entry> places_ = std::vector<Entry>(16);
    size_t size_ = 0;
};

}  // namespace sluice::wireguard
