#include "dataplane/wireguard/session.h"

#include <algorithm>
#include <new>

#include "dataplane/base/check.h"

namespace sluice::wireguard {

void SessionPool::reserve(size_t sessions) {
    if (sessions <= capacity_) return;
    // An eighth more at least, so that peers added one by one do not make a chunk each. Rooms that
    // were never used stay untouched, whatever chunk they are in: writing to them would make memory
    // of what is address space only.
    const size_t more = std::max(sessions - capacity_, capacity_ / 8);
    chunks_.push_back({.rooms = std::make_unique_for_overwrite<Room[]>(more), .size = more});
    capacity_ += more;
}

SessionOwner SessionPool::take() {
    Room* room = free_;
    if (room != nullptr) {
        free_ = room->next_free;
    } else {
        while (filling_ < chunks_.size() && chunks_[filling_].used == chunks_[filling_].size)
            ++filling_;
        SLUICE_CHECK(filling_ < chunks_.size());
        Chunk& chunk = chunks_[filling_];
        room = &chunk.rooms[chunk.used++];
    }
    ++in_use_;
    return SessionOwner(new (&room->session) Session, ReturnToPool{this});
}

void ReturnToPool::operator()(Session* session) const {
    session->~Session();  // wipes the keys
    auto* room = reinterpret_cast<SessionPool::Room*>(session);
    room->next_free = pool->free_;
    pool->free_ = room;
    --pool->in_use_;
}

}  // namespace sluice::wireguard
