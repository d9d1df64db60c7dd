// The engine over epoll, edge-triggered.
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "dataplane/io/datagram_socket_port.h"
#include "dataplane/io/engine_core.h"
#include "dataplane/io/listener.h"

namespace sluice::io {

namespace {

// epoll's bits and poll's are the same by definition; watchers speak of poll's.
static_assert(EPOLLIN == 0x001 && EPOLLOUT == 0x004 && EPOLLERR == 0x008 && EPOLLHUP == 0x010 &&
              EPOLLRDHUP == 0x2000);

// Events taken in one turn. What is left stays ready in the kernel and comes first in the next
// turn, so this only bounds how long one turn's dispatch can hold up timers.
constexpr int kEventsPerTurn = 256;

class EpollEngine final : public EngineCore {
  public:
    static Result<std::unique_ptr<Engine>> create(Clock& clock, DropCounters& drops,
                                                  std::string why_not_uring) {
        std::unique_ptr<EpollEngine> engine(
            new EpollEngine(clock, drops, std::move(why_not_uring)));
        engine->epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
        if (!engine->epoll_.is_open()) return fail("cannot use epoll: " + error_text(errno));
        if (auto opened = engine->open_waker(); !opened) return std::unexpected(opened.error());
        return engine;
    }

    EngineReport report() const override { return {EngineKind::kEpoll, why_not_uring_}; }

  private:
    EpollEngine(Clock& clock, DropCounters& drops, std::string why_not_uring)
        : EngineCore(clock, drops), why_not_uring_(std::move(why_not_uring)) {}

    int arm(int fd, uint32_t events, SlotId id) override {
        epoll_event event{};
        event.events = events | EPOLLET;
        event.data.u64 = id;
        return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
    }

    void disarm(int fd, SlotId) override { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

    void collect(std::optional<Duration> timeout) override {
        count_ = 0;
        const int got = wait(timeout);
        // EINTR: a signal; the caller comes back with the same deadline.
        if (got > 0) count_ = got;
    }

    int wait(std::optional<Duration> timeout) {
        if (!timeout) return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, -1);
        if (*timeout == Duration::zero()) {
            return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, 0);
        }
        // In nanoseconds (Linux 5.11): a millisecond is an age between two packets.
        if (has_pwait2_) {
            const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
            const timespec ts{seconds.count(), (*timeout - seconds).count()};
            const long got = syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(), kEventsPerTurn,
                                     &ts, nullptr, size_t{0});
            if (got >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(got);
            has_pwait2_ = false;  // an old kernel, or an old sandbox that does not know the call
        }
        // Rounded up, so that the deadline is over when the wait is; capped at a day.
        const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(
            std::min<Duration>(*timeout, std::chrono::hours(24)));
        return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn,
                          static_cast<int>(milliseconds.count()));
    }

    void dispatch() override {
        for (int i = 0; i < count_; ++i)
            call(events_[i].data.u64, events_[i].events);
    }

    std::unique_ptr<Acceptor> make_acceptor(Descriptor socket, AcceptHandler& handler,
                                            int& error) override {
        return ReadinessListener::start(*this, std::move(socket), handler, error);
    }

    Result<std::unique_ptr<DatagramPort>> make_datagram_port(DatagramSocket socket,
                                                             const DatagramPortOptions& options,
                                                             DatagramHandler& handler) override {
        return open_readiness_datagram_port(*this, std::move(socket), options, handler);
    }

    Descriptor epoll_;
    std::string why_not_uring_;
    bool has_pwait2_ = true;
    int count_ = 0;
    std::array<epoll_event, kEventsPerTurn> events_;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_epoll_engine(Clock& clock, DropCounters& drops,
                                                  std::string why_not_uring) {
    return EpollEngine::create(clock, drops, std::move(why_not_uring));
}

}  // namespace sluice::io
