#include "dataplane/wireguard/session.h"

#include <new>

#include "dataplane/base/check.h"

namespace sluice::wireguard {

void SessionPool::reserve(size_t sessions) {
    if (sessions <= capacity_) return;
    // What is left of the chunk before joins the free ones.
    for (; untouched_count_ > 0; --untouched_count_) {
        untouched_->next_free = free_;
        free_ = untouched_++;
    }
    const size_t more = sessions - capacity_;
    chunks_.push_back(std::make_unique_for_overwrite<Room[]>(more));
    untouched_ = chunks_.back().get();
    untouched_count_ = more;
    capacity_ = sessions;
}

SessionOwner SessionPool::take() {
    Room* room = free_;
    if (room != nullptr) {
        free_ = room->next_free;
    } else {
        SLUICE_CHECK(untouched_count_ > 0);
        room = untouched_++;
        --untouched_count_;
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
