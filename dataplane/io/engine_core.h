// What both engines have in common: who is to be called for which event, the order of a turn, and
// everything that is not the waiting itself.
//
// Readiness is edge-triggered in both: registered once, reported when it comes, read and written
// until the kernel says EAGAIN. So a connection costs the engine nothing between its events.
// Thread: the worker's, but for wake().
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/io/conduit.h"
#include "dataplane/io/descriptor.h"
#include "dataplane/io/engine.h"

namespace sluice::io {

// Called for readiness of a descriptor (`events` as of poll(2)), or with 0 when it asked to be
// called again. It may destroy itself and any other watcher from inside the call.
class Watcher {
  public:
    virtual void on_ready(uint32_t events) = 0;

  protected:
    ~Watcher() = default;
};

// Ports that collect during a turn.
class TurnParticipant {
  public:
    virtual void before_wait() = 0;     // hand to the kernel what waits for it
    virtual void after_dispatch() = 0;  // the last event of this turn was given out

  protected:
    ~TurnParticipant() = default;
};

// A place in a slot table: index in the low 31 bits, generation in the high 32. An event carries it
// through the kernel and back, so that one which arrives after its receiver is gone, even after the
// place was given to somebody else, is recognised and ignored. Bit 31 is free for the engine.
using SlotId = uint64_t;
inline constexpr SlotId kNoSlot = 0;

template <typename T>
class SlotTable {
  public:
    SlotId insert(T& object) {
        uint32_t index;
        if (free_.empty()) {
            index = static_cast<uint32_t>(slots_.size());
            slots_.push_back({});
            // Room for giving every place back, so that erase() never allocates.
            free_.reserve(slots_.capacity());
        } else {
            index = free_.back();
            free_.pop_back();
        }
        slots_[index].object = &object;
        return uint64_t{slots_[index].generation} << 32 | index;
    }
    T* find(SlotId id) const {
        const uint32_t index = id & 0x7fffffff;
        if (index >= slots_.size() || slots_[index].generation != id >> 32) return nullptr;
        return slots_[index].object;
    }
    void erase(SlotId id) {
        if (find(id) == nullptr) return;
        const uint32_t index = id & 0x7fffffff;
        slots_[index].object = nullptr;
        // Generation 0 is left out, so that no id is ever kNoSlot. It takes 4 billion connections
        // in one place, all while one event is under way, to confuse two.
        if (++slots_[index].generation == 0) slots_[index].generation = 1;
        free_.push_back(index);
    }

  private:
    struct Slot {
        T* object = nullptr;
        uint32_t generation = 1;
    };
    std::vector<Slot> slots_;
    std::vector<uint32_t> free_;
};

class EngineCore : public Engine, private Watcher {
  public:
    Result<std::unique_ptr<Acceptor>> listen(const ListenOptions& options,
                                             AcceptHandler& handler) override;
    Result<std::unique_ptr<ByteStream>> connect(const Endpoint& to) override;
    Result<std::unique_ptr<ByteStream>> connect_unix(const std::string& path) override;
    Result<std::unique_ptr<DatagramPort>> open_datagram_port(const DatagramPortOptions& options,
                                                             DatagramHandler& handler) override;
    Result<std::unique_ptr<DatagramPort>> attach(OpenedDatagramSocket socket,
                                                 const DatagramPortOptions& options,
                                                 DatagramHandler& handler) override;
    Result<std::unique_ptr<TunPort>> attach(TunQueue queue, TunHandler& handler) override;
    void set_turn_handler(TurnHandler* handler) override { turn_handler_ = handler; }
    void set_wake_handler(WakeHandler* handler) override { wake_handler_ = handler; }
    void wake() override;
    void turn(Instant deadline) override;
    Now now() const override { return now_; }

    // For what the engine opens.

    // A place without a descriptor, for run_again() and run_at().
    SlotId enroll(Watcher& watcher) { return watchers_.insert(watcher); }
    // Reports the `events` of `fd` from now on, each edge once. `fd` stays the caller's and open
    // until unwatch(). The error is an errno: kernel memory, or the limit of watches of this user.
    std::expected<SlotId, int> watch(int fd, uint32_t events, Watcher& watcher);
    // `fd` may be -1 if it was only enrolled. Nothing is called for this id any more.
    void unwatch(SlotId id, int fd);
    // Calls on_ready(0) once in the next turn, which does not wait then.
    void run_again(SlotId id) { again_.push_back(id); }
    // Calls on_ready(0) once in the first turn at or after this time.
    void run_at(Instant when, SlotId id) { alarms_.push_back({when, id}); }

    void join(TurnParticipant& participant) { participants_.push_back(&participant); }
    void leave(TurnParticipant& participant);

    DropCounters& drops() { return drops_; }
    PipePool& pipes() { return pipes_; }

  protected:
    EngineCore(Clock& clock, DropCounters& drops)
        : clock_(clock), drops_(drops), now_(clock.now()) {}
    ~EngineCore();
    // Part of creation: the eventfd behind wake().
    Result<void> open_waker();

    // Starts to report the edges of `fd` under `id`; 0 or an errno.
    virtual int arm(int fd, uint32_t events, SlotId id) = 0;
    virtual void disarm(int fd, SlotId id) = 0;
    // Waits until there is an event or the time is over (nothing: for ever) and takes what is
    // there.
    virtual void collect(std::optional<Duration> timeout) = 0;
    // Gives out what collect() took.
    virtual void dispatch() = 0;
    virtual std::unique_ptr<Acceptor> make_acceptor(Descriptor socket, AcceptHandler& handler,
                                                    int& error) = 0;
    virtual Result<std::unique_ptr<DatagramPort>> make_datagram_port(
        DatagramSocket socket, const DatagramPortOptions& options, DatagramHandler& handler) = 0;

    void call(SlotId id, uint32_t events) {
        if (Watcher* watcher = watchers_.find(id)) watcher->on_ready(events);
    }
    bool is_watched(SlotId id) const { return watchers_.find(id) != nullptr; }

  private:
    struct Alarm {
        Instant when;
        SlotId id;
    };

    void on_ready(uint32_t events) override;  // the eventfd
    std::optional<Duration> time_to_wait(Instant deadline);
    void take_due();

    Clock& clock_;
    DropCounters& drops_;
    Now now_;
    PipePool pipes_;
    SlotTable<Watcher> watchers_;
    std::vector<SlotId> again_;
    std::vector<SlotId> due_;  // this turn's share of again_ and alarms_
    std::vector<Alarm> alarms_;
    std::vector<TurnParticipant*> participants_;  // null: left during a turn
    TurnHandler* turn_handler_ = nullptr;
    WakeHandler* wake_handler_ = nullptr;
    Descriptor waker_;
    SlotId waker_id_ = kNoSlot;
    // So that a second wake() before the first was seen costs no system call.
    std::atomic<bool> wake_is_under_way_{false};
};

// The error says what stands in the way and how to remove it.
Result<std::unique_ptr<Engine>> make_epoll_engine(Clock& clock, DropCounters& drops,
                                                  std::string why_not_uring);
Result<std::unique_ptr<Engine>> make_uring_engine(Clock& clock, DropCounters& drops);

}  // namespace sluice::io
