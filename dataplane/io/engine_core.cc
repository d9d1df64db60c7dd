#include "dataplane/io/engine_core.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "dataplane/io/datagram_socket.h"
#include "dataplane/io/listener.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/socket_address.h"
#include "dataplane/io/tun_port.h"

namespace sluice::io {

std::string_view name_of(EngineKind kind) {
    return kind == EngineKind::kUring ? "io_uring" : "epoll";
}

Result<std::unique_ptr<Engine>> Engine::create(std::optional<EngineKind> preferred, Clock& clock,
                                               DropCounters& drops) {
    std::string why_not_uring;
    if (preferred != EngineKind::kEpoll) {
        auto engine = make_uring_engine(clock, drops);
        if (engine || preferred == EngineKind::kUring) return engine;
        why_not_uring = engine.error().message;
    }
    return make_epoll_engine(clock, drops, std::move(why_not_uring));
}

EngineCore::~EngineCore() = default;

Result<void> EngineCore::open_waker() {
    waker_ = Descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!waker_.is_open()) return fail("cannot make an eventfd: " + error_text(errno));
    const auto id = watch(waker_.get(), POLLIN, *this);
    if (!id) return fail("cannot watch an eventfd: " + error_text(id.error()));
    waker_id_ = *id;
    return {};
}

void EngineCore::wake() {
    if (wake_is_under_way_.exchange(true)) return;
    const uint64_t one = 1;
    // Cannot fail: the counter is read long before 2^64 - 1.
    [[maybe_unused]] const ssize_t written = ::write(waker_.get(), &one, sizeof one);
}

void EngineCore::on_ready(uint32_t) {
    uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(waker_.get(), &count, sizeof count);
    // Before the handler: a wake() from now on is one for the next turn, a wake() until now is
    // answered by this call.
    wake_is_under_way_.exchange(false);
    if (wake_handler_ != nullptr) wake_handler_->on_wake();
}

std::expected<SlotId, int> EngineCore::watch(int fd, uint32_t events, Watcher& watcher) {
    const SlotId id = watchers_.insert(watcher);
    if (const int error = arm(fd, events, id); error != 0) {
        watchers_.erase(id);
        return std::unexpected(error);
    }
    return id;
}

void EngineCore::unwatch(SlotId id, int fd) {
    if (watchers_.find(id) == nullptr) return;
    watchers_.erase(id);
    if (fd >= 0) disarm(fd, id);
}

void EngineCore::leave(TurnParticipant& participant) {
    // The list may be being walked; the place is given up at the next turn.
    std::replace(participants_.begin(), participants_.end(), &participant,
                 static_cast<TurnParticipant*>(nullptr));
}

std::optional<Duration> EngineCore::time_to_wait(Instant deadline) {
    if (!again_.empty()) return Duration::zero();
    for (const Alarm& alarm : alarms_)
        deadline = std::min(deadline, alarm.when);
    if (deadline == kNever) return std::nullopt;
    // The last reading is good enough to see that a deadline is over, not to tell how long to wait:
    // the handlers have run since.
    if (deadline <= now_.mono) return Duration::zero();
    const Instant current = clock_.now().mono;
    return deadline <= current ? Duration::zero() : deadline - current;
}

void EngineCore::take_due() {
    due_.clear();
    due_.swap(again_);
    std::erase_if(alarms_, [this](const Alarm& alarm) {
        if (alarm.when > now_.mono) return false;
        due_.push_back(alarm.id);
        return true;
    });
}

void EngineCore::turn(Instant deadline) {
    std::erase(participants_, nullptr);
    for (TurnParticipant* participant : participants_)
        participant->before_wait();
    collect(time_to_wait(deadline));
    now_ = clock_.now();
    if (turn_handler_ != nullptr) turn_handler_->on_turn(now_);
    // Before anybody is called: what is asked for from now on is for the next turn.
    take_due();
    dispatch();
    for (const SlotId id : due_)
        call(id, 0);
    // By index: a handler may open a port meanwhile.
    for (size_t i = 0; i < participants_.size(); ++i) {
        if (participants_[i] != nullptr) participants_[i]->after_dispatch();
    }
}

Result<std::unique_ptr<Acceptor>> EngineCore::listen(const ListenOptions& options,
                                                     AcceptHandler& handler) {
    auto socket = open_listener(options);
    if (!socket) return std::unexpected(socket.error());
    int error = 0;
    auto acceptor = make_acceptor(std::move(*socket), handler, error);
    if (!acceptor) {
        return fail("cannot accept connections on " + options.address.text() + ": " +
                    error_text(error));
    }
    return acceptor;
}

Result<std::unique_ptr<ByteStream>> EngineCore::connect(const Endpoint& to) {
    return Socket::connect(*this, to);
}

Result<std::unique_ptr<ByteStream>> EngineCore::connect_unix(const std::string& path) {
    return Socket::connect_unix(*this, path);
}

Result<std::unique_ptr<DatagramPort>> EngineCore::open_datagram_port(
    const DatagramPortOptions& options, DatagramHandler& handler) {
    auto socket = open_datagram_socket(options);
    if (!socket) return std::unexpected(socket.error());
    return make_datagram_port(std::move(*socket), options, handler);
}

Result<std::unique_ptr<DatagramPort>> EngineCore::attach(OpenedDatagramSocket socket,
                                                         const DatagramPortOptions& options,
                                                         DatagramHandler& handler) {
    return make_datagram_port(std::move(*socket), options, handler);
}

Result<std::unique_ptr<TunPort>> EngineCore::attach(TunQueue queue, TunHandler& handler) {
    return open_tun_port(*this, std::move(queue), handler);
}

}  // namespace sluice::io
