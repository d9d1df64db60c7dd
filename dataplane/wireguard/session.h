// What a finished handshake leaves behind: two keys, two indices, two counters. And the three
// places of a peer's sessions.
//
// Thread: one. Memory: a session is about 1.2 KB, most of it the replay window, out of a pool that
// is made with the settings; wiped when it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/handshake.h"
#include "dataplane/wireguard/replay_window.h"

namespace sluice::wireguard {

struct Peer;

struct Session {
    Peer* peer = nullptr;
    uint32_t local_index = 0;   // what the other end writes on messages to us
    uint32_t remote_index = 0;  // what we write on messages to the other end
    bool initiator = false;     // we began the handshake; then replacing the session is our job
    bool send_allowed = true;   // false: our key changed; what is on its way may still be received
    Instant created{};
    uint64_t send_counter = 0;
    crypto::AeadKey send_key;
    crypto::AeadKey receive_key;
    ReplayWindow window;

    bool can_send(Instant now) const {
        return send_allowed && created + kRejectAfterTime > now &&
               send_counter < kRejectAfterMessages;
    }
    bool can_receive(Instant now, uint64_t counter) const {
        return created + kRejectAfterTime > now && counter < kRejectAfterMessages;
    }
    // Due to be replaced, if we are the one to do it.
    bool is_old_for_sending(Instant now) const {
        return send_counter > kRekeyAfterMessages ||
               (initiator && created + kRekeyAfterTime <= now);
    }
    bool is_old_for_receiving(Instant now) const {
        return initiator && created + kRekeyOnReceiveTime <= now;
    }
};

class SessionPool;
struct ReturnToPool {
    SessionPool* pool = nullptr;
    void operator()(Session* session) const;
};
using SessionOwner = std::unique_ptr<Session, ReturnToPool>;

// Room for sessions. What was never used is address space only: the system gives a page of memory
// when it is first written, so a peer that is silent costs none.
class SessionPool {
  public:
    // Room for so many at once. Allocates; nothing else here does. Never shrinks.
    void reserve(size_t sessions);
    SessionOwner take();
    size_t in_use() const { return in_use_; }

  private:
    friend struct ReturnToPool;
    union Room {
        Room() {}
        ~Room() {}
        Room* next_free;
        Session session;
    };

    struct Chunk {
        std::unique_ptr<Room[]> rooms;
        size_t size = 0;
        size_t used = 0;  // rooms behind these were never touched
    };

    std::vector<Chunk> chunks_;
    size_t filling_ = 0;  // the first chunk that may have untouched rooms
    size_t capacity_ = 0;
    size_t in_use_ = 0;
    Room* free_ = nullptr;  // given back
};

// previous: only receives, what was on its way when the current one took its place.
// current:  sends and receives.
// next:     made by an answer of ours that the initiator has not confirmed yet; only receives.
struct SessionSlots {
    SessionOwner previous;
    SessionOwner current;
    SessionOwner next;

    bool empty() const { return !previous && !current && !next; }
};

}  // namespace sluice::wireguard
