#include "dataplane/io/uring_listener.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "dataplane/io/socket_address.h"

namespace sluice::io {

// Outlives its listener until the kernel has told the last of it: a connection that was accepted
// in the meantime is a descriptor that nobody else would close.
class UringListener::Request final : public Completion {
  public:
    Request(UringEngine& engine, UringListener& owner)
        : engine_(engine), owner_(&owner), id_(engine.expect(*this)) {}
    ~Request() override { engine_.forget(id_); }

    void start(int fd) {
        io_uring_sqe* entry = engine_.submission();
        // No address: with multishot there is one place for all of them, and it could be
        // overwritten before it is read.
        io_uring_prep_multishot_accept(entry, fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        entry->user_data = UringEngine::mark(id_);
        is_active_ = true;
    }

    // The listener is going. True: this must be kept until the last completion.
    bool detach() {
        owner_ = nullptr;
        if (is_active_) {
            engine_.cancel(UringEngine::mark(id_));
            return true;
        }
        // In the middle of on_completion() of the last one, which still needs this.
        return is_in_call_;
    }

    void on_completion(int result, uint32_t flags) override {
        if ((flags & IORING_CQE_F_MORE) == 0) is_active_ = false;
        is_in_call_ = true;
        Descriptor socket(result);
        if (socket.is_open() && owner_ != nullptr) owner_->accepted(std::move(socket));
        is_in_call_ = false;
        if (is_active_) return;
        if (owner_ == nullptr) {
            engine_.release(*this);  // deletes this
        } else {
            owner_->ended(result);
        }
    }

  private:
    UringEngine& engine_;
    UringListener* owner_;
    const SlotId id_;
    bool is_active_ = false;
    bool is_in_call_ = false;
};

UringListener::UringListener(UringEngine& engine, Descriptor socket, AcceptHandler& handler)
    : Listener(engine, std::move(socket), handler),
      uring_(engine),
      request_(std::make_unique<Request>(engine, *this)) {
    id_ = engine.enroll(*this);
    // io_uring waits only on a socket that may block; it reports EAGAIN at once otherwise.
    fcntl(socket_.get(), F_SETFL, fcntl(socket_.get(), F_GETFL) & ~O_NONBLOCK);
}

std::unique_ptr<Acceptor> UringListener::start(UringEngine& engine, Descriptor socket,
                                               AcceptHandler& handler) {
    std::unique_ptr<UringListener> listener(new UringListener(engine, std::move(socket), handler));
    listener->request_->start(listener->socket_.get());
    return listener;
}

UringListener::~UringListener() {
    if (request_->detach()) uring_.keep(std::move(request_));
    uring_.settle();
}

void UringListener::on_ready(uint32_t) {
    request_->start(socket_.get());
}

void UringListener::accepted(Descriptor socket) {
    const Endpoint remote = remote_endpoint(socket.get());
    // Gone again before we looked: nobody to talk to.
    if (!remote.is_set()) return;
    hand_over(std::move(socket), remote);
}

void UringListener::ended(int result) {
    if (result == -ECANCELED) return;
    if (result >= 0 || is_about_one_connection(-result)) {
        request_->start(socket_.get());
    } else {
        pause();
    }
}

}  // namespace sluice::io
