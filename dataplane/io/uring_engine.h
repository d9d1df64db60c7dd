// The engine over io_uring. Streams and the TUN device use it as a readiness loop (multishot poll);
// accepting and receiving datagrams are completions (multishot accept, multishot recvmsg).
//
// Everything that is queued reaches the kernel with the one call that also waits.
// Source: io_uring_setup(2), io_uring_enter(2); needs Linux 6.0, better 6.1.
#pragma once

#include <liburing.h>

#include <array>
#include <memory>
#include <vector>

#include "dataplane/io/engine_core.h"

namespace sluice::io {

// Receives the completions of one request.
class Completion {
  public:
    virtual ~Completion() = default;
    // Without IORING_CQE_F_MORE in `flags` it was the request's last one.
    virtual void on_completion(int result, uint32_t flags) = 0;
};

class UringEngine final : public EngineCore {
  public:
    static Result<std::unique_ptr<Engine>> create(Clock& clock, DropCounters& drops);
    ~UringEngine() override;

    EngineReport report() const override { return {EngineKind::kUring, {}}; }

    // For what the engine opens.

    // A queue entry to be filled; it is submitted with the next turn, or settle().
    io_uring_sqe* submission();
    SlotId expect(Completion& target) { return completions_.insert(target); }
    // Completions for this id are not given out any more. An owner of something that the kernel
    // still writes to, or hands over, does this only after the last completion.
    void forget(SlotId id) { completions_.erase(id); }
    static uint64_t mark(SlotId id);  // as user_data
    void cancel(uint64_t user_data);
    // Submits what is queued now and lets the kernel finish what was cancelled, so that a
    // descriptor that was closed is closed indeed and its address free.
    void settle();
    // Keeps a request's owner until its last completion has come; the owner says when by release().
    void keep(std::unique_ptr<Completion> owner) { kept_.push_back(std::move(owner)); }
    void release(Completion& owner) {
        std::erase_if(kept_, [&owner](const auto& kept) { return kept.get() == &owner; });
    }
    io_uring* ring() { return &ring_; }
    uint16_t new_buffer_group() { return buffer_groups_++; }

  private:
    // As for epoll: bounds how long one turn's dispatch can hold up timers. Every event taken is
    // given out before the next wait.
    static constexpr unsigned kEventsPerTurn = 256;

    struct Event {
        uint64_t user_data;
        int result;
        uint32_t flags;
    };
    struct Poll {
        int fd = -1;
        uint32_t events = 0;
    };

    UringEngine(Clock& clock, DropCounters& drops) : EngineCore(clock, drops) {}
    int open_ring();
    int try_nop();
    void arm_poll(int fd, uint32_t events, SlotId id);
    void take_completions();
    void give_readiness(const Event& event);
    void give_completion(const Event& event);

    int arm(int fd, uint32_t events, SlotId id) override;
    void disarm(int fd, SlotId id) override;
    void collect(std::optional<Duration> timeout) override;
    void dispatch() override;
    std::unique_ptr<Acceptor> make_acceptor(Descriptor socket, AcceptHandler& handler,
                                            int& error) override;
    Result<std::unique_ptr<DatagramPort>> make_datagram_port(DatagramSocket socket,
                                                             const DatagramPortOptions& options,
                                                             DatagramHandler& handler) override;

    io_uring ring_{};
    bool is_open_ = false;
    SlotTable<Completion> completions_;
    std::vector<Poll> polls_;  // by watcher's slot
    std::vector<std::unique_ptr<Completion>> kept_;
    uint16_t buffer_groups_ = 0;
    unsigned count_ = 0;
    std::array<Event, kEventsPerTurn> events_;
};

}  // namespace sluice::io
