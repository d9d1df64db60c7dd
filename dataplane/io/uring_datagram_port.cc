#include "dataplane/io/uring_datagram_port.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

namespace sluice::io {

namespace {

// Receive buffers, a power of two. They are also the bound of one turn: the kernel fills what it
// has and stops with ENOBUFS until the turn has given them back, so 32 merged batches of 64 KiB (2
// MB, some 2 ms of decryption) are the longest that other events wait. Fewer: more re-arming for
// small datagrams; more: longer turns, and more memory walked through, as the kernel takes them in
// turn.
constexpr unsigned kBuffers = 32;

// After an error that is not a lack of buffers (in practice kernel memory), instead of spinning.
constexpr Duration kErrorPause = std::chrono::milliseconds(10);

// In front of each payload: what recvmsg returned, the sender, the control messages. Rounded up so
// that the payload starts on a cache line.
constexpr size_t kNameBytes = 32;
constexpr size_t kHeadBytes =
    (sizeof(io_uring_recvmsg_out) + kNameBytes + kReceiveControlBytes + 63) / 64 * 64;
constexpr size_t kControlBytes = kHeadBytes - sizeof(io_uring_recvmsg_out) - kNameBytes;
static_assert(kNameBytes >= sizeof(SocketAddress));

constexpr size_t kPage = 4096;

struct FreeAligned {
    void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Aligned = std::unique_ptr<T, FreeAligned>;

}  // namespace

// Owns what the kernel writes to, and so outlives its port until the kernel has told the last of
// it.
class UringDatagramPort::Request final : public Completion {
  public:
    Request(UringEngine& engine, UringDatagramPort& owner, size_t payload_bytes)
        : engine_(engine),
          owner_(&owner),
          usable_bytes_(kHeadBytes + payload_bytes),
          buffer_bytes_((usable_bytes_ + 63) / 64 * 64),
          group_(engine.new_buffer_group()),
          id_(engine.expect(*this)) {
        message_.msg_namelen = kNameBytes;
        message_.msg_controllen = kControlBytes;
    }
    ~Request() override { engine_.forget(id_); }

    // 0 or an errno.
    int prepare() {
        // The kernel wants the ring on a page of its own.
        static_assert(kBuffers * sizeof(io_uring_buf) <= kPage);
        ring_.reset(static_cast<io_uring_buf_ring*>(std::aligned_alloc(kPage, kPage)));
        const size_t bytes = (kBuffers * buffer_bytes_ + kPage - 1) / kPage * kPage;
        memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kPage, bytes)));
        if (!ring_ || !memory_) return ENOMEM;
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<uint64_t>(ring_.get());
        registration.ring_entries = kBuffers;
        registration.bgid = group_;
        const int result = io_uring_register_buf_ring(engine_.ring(), &registration, 0);
        if (result < 0) return -result;
        io_uring_buf_ring_init(ring_.get());
        for (unsigned i = 0; i < kBuffers; ++i)
            give_back(static_cast<uint16_t>(i));
        return 0;
    }

    bool is_active() const { return is_active_; }

    void start(int fd) {
        io_uring_sqe* entry = engine_.submission();
        io_uring_prep_recvmsg_multishot(entry, fd, &message_, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = group_;
        entry->user_data = UringEngine::mark(id_);
        is_active_ = true;
    }

    // The port is going. True: this must be kept until the last completion.
    bool detach() {
        owner_ = nullptr;
        if (is_active_) {
            engine_.cancel(UringEngine::mark(id_));
            return true;
        }
        // In the middle of on_completion() of the last one, which still needs this.
        if (is_in_call_) return true;
        io_uring_unregister_buf_ring(engine_.ring(), group_);
        return false;
    }

    void on_completion(int result, uint32_t flags) override {
        if ((flags & IORING_CQE_F_MORE) == 0) is_active_ = false;
        is_in_call_ = true;
        if ((flags & IORING_CQE_F_BUFFER) != 0) {
            const auto buffer = static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
            if (result >= 0 && owner_ != nullptr) hand_up(buffer, result);
            give_back(buffer);
        }
        is_in_call_ = false;
        if (is_active_) return;
        if (owner_ == nullptr) {
            io_uring_unregister_buf_ring(engine_.ring(), group_);
            engine_.release(*this);  // deletes this
        } else if (result < 0 && result != -ENOBUFS && result != -ECANCELED) {
            owner_->uring_.run_at(owner_->uring_.now().mono + kErrorPause, owner_->id_);
            has_failed_ = true;
        }
    }

    bool may_start() const { return !is_active_ && !has_failed_; }
    void forgive() { has_failed_ = false; }

  private:
    void give_back(uint16_t buffer) {
        io_uring_buf_ring_add(ring_.get(), memory_.get() + buffer * buffer_bytes_,
                              static_cast<unsigned>(usable_bytes_), buffer,
                              io_uring_buf_ring_mask(kBuffers), 0);
        io_uring_buf_ring_advance(ring_.get(), 1);
    }

    void hand_up(uint16_t buffer, int result) {
        uint8_t* start = memory_.get() + buffer * buffer_bytes_;
        io_uring_recvmsg_out* out = io_uring_recvmsg_validate(start, result, &message_);
        if (out == nullptr) return;
        SocketAddress from;
        std::memcpy(&from, io_uring_recvmsg_name(out), sizeof from);
        msghdr message{};
        message.msg_flags = static_cast<int>(out->flags);
        message.msg_control = start + sizeof *out + kNameBytes;
        message.msg_controllen = out->controllen;
        auto* payload = static_cast<uint8_t*>(io_uring_recvmsg_payload(out, &message_));
        const size_t size = io_uring_recvmsg_payload_length(out, result, &message_);
        owner_->received(message, from, {payload, size});
    }

    UringEngine& engine_;
    UringDatagramPort* owner_;
    const size_t usable_bytes_;  // of each buffer, by the kernel
    const size_t buffer_bytes_;  // from one buffer to the next
    const uint16_t group_;
    const SlotId id_;
    msghdr message_{};  // a form that tells the sizes of name and control
    Aligned<io_uring_buf_ring> ring_;
    Aligned<uint8_t> memory_;
    bool is_active_ = false;
    bool is_in_call_ = false;
    bool has_failed_ = false;
};

UringDatagramPort::UringDatagramPort(UringEngine& engine, DatagramSocket socket,
                                     DatagramHandler& handler)
    : DatagramSocketPort(engine, std::move(socket), handler),
      uring_(engine),
      id_(engine.enroll(*this)) {}

Result<std::unique_ptr<DatagramPort>> UringDatagramPort::open(UringEngine& engine,
                                                              DatagramSocket socket,
                                                              const DatagramPortOptions& options,
                                                              DatagramHandler& handler) {
    std::unique_ptr<UringDatagramPort> port(
        new UringDatagramPort(engine, std::move(socket), handler));
    port->request_ = std::make_unique<Request>(engine, *port, options.receive_buffer_bytes);
    if (const int error = port->request_->prepare(); error != 0) {
        port->request_.reset();
        return fail("cannot register receive buffers with io_uring: " + error_text(error));
    }
    port->request_->start(port->socket_.descriptor.get());
    return port;
}

UringDatagramPort::~UringDatagramPort() {
    uring_.unwatch(id_, -1);
    if (request_ && request_->detach()) uring_.keep(std::move(request_));
    uring_.settle();
}

void UringDatagramPort::before_wait() {
    DatagramSocketPort::before_wait();
    if (request_->may_start()) request_->start(socket_.descriptor.get());
}

void UringDatagramPort::on_ready(uint32_t) {
    request_->forgive();
}

}  // namespace sluice::io
