// The event loop of one worker, in two makes behind one interface: io_uring and epoll.
// Everything that the kernel can wait for is opened through it and belongs to it until destroyed.
//
// Not its job: protocols, buffering, policy.
// Thread: all of it on the worker's thread, but for wake(), which any thread may call.
// Memory: ports allocate their buffers when opened and nothing afterwards; sockets are allocated
// when accepted or connected.
// Failure: opening returns an Error that names the cause and, where there is one, the remedy.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/ip.h"
#include "dataplane/base/result.h"
#include "dataplane/io/datagram_port.h"
#include "dataplane/io/tun.h"

namespace sluice::io {

enum class EngineKind : uint8_t { kUring, kEpoll };
std::string_view name_of(EngineKind kind);

// A new TCP connection. The addresses are unmapped (::ffff:a.b.c.d is a.b.c.d).
struct Accepted {
    std::unique_ptr<ByteStream> stream;
    Endpoint remote;
    Endpoint local;
};

class AcceptHandler {
  public:
    virtual void on_accept(Accepted accepted) = 0;

  protected:
    ~AcceptHandler() = default;
};

// Listens until destroyed.
class Acceptor {
  public:
    virtual ~Acceptor() = default;
    virtual Endpoint local() const = 0;  // with the port that the kernel chose if 0 was asked for
};

struct ListenOptions {
    Endpoint address;  // an IPv6 wildcard takes IPv6 only
    // Set: only connections whose packets arrived on this interface (SO_BINDTODEVICE). The kernel
    // prefers such a socket to an unbound one of the same port, and connections inherit the
    // binding, so "which socket accepted it" proves the interface for the connection's whole life.
    // One exception: what a process of this machine sends to the interface's own address counts as
    // arrived on it (the kernel goes by the route, not by the loopback device it uses). Its source
    // is one of our own addresses then, so who trusts a peer must look the source up as well.
    std::string interface;
    int backlog = 4096;  // the kernel caps it at net.core.somaxconn, 4096 by default
};

// Called when wake() was called since the last turn; several calls may be one.
class WakeHandler {
  public:
    virtual void on_wake() = 0;

  protected:
    ~WakeHandler() = default;
};

// Called once a turn, after the wait and before any other handler of that turn: the moment to hand
// the turn's time to code that is called back without it.
class TurnHandler {
  public:
    virtual void on_turn(Now now) = 0;

  protected:
    ~TurnHandler() = default;
};

struct EngineReport {
    EngineKind kind = EngineKind::kEpoll;
    std::string why_not_uring;  // when epoll was taken instead
};

class Engine {
  public:
    // `preferred` unset: io_uring where the kernel and the sandbox allow it, else epoll.
    // `clock` and `drops` outlive the engine.
    static Result<std::unique_ptr<Engine>> create(std::optional<EngineKind> preferred, Clock& clock,
                                                  DropCounters& drops);
    virtual ~Engine() = default;

    virtual EngineReport report() const = 0;

    // SO_REUSEPORT: each worker listens on the same address with a socket of its own.
    virtual Result<std::unique_ptr<Acceptor>> listen(const ListenOptions& options,
                                                     AcceptHandler& handler) = 0;

    // Starts to connect. The stream is usable at once: it moves nothing until connected, and
    // reports kError if that fails, whatever the network's reason. The Error is for what is wrong
    // on this machine, such as no descriptor being left.
    virtual Result<std::unique_ptr<ByteStream>> connect(const Endpoint& to) = 0;
    // The same for a Unix socket.
    virtual Result<std::unique_ptr<ByteStream>> connect_unix(const std::string& path) = 0;

    virtual Result<std::unique_ptr<DatagramPort>> open_datagram_port(
        const DatagramPortOptions& options, DatagramHandler& handler) = 0;

    // Takes over one of open_datagram_sockets(). `options`: those it was opened with.
    virtual Result<std::unique_ptr<DatagramPort>> attach(OpenedDatagramSocket socket,
                                                         const DatagramPortOptions& options,
                                                         DatagramHandler& handler) = 0;

    // Takes over an opened TUN queue.
    virtual Result<std::unique_ptr<TunPort>> attach(TunQueue queue, TunHandler& handler) = 0;

    virtual void set_turn_handler(TurnHandler* handler) = 0;
    virtual void set_wake_handler(WakeHandler* handler) = 0;
    virtual void wake() = 0;

    // One turn: sends what was committed, waits until something happened or `deadline` came
    // (kNever: for ever; in the past: does not wait), and calls the handlers of all that is ready.
    // The time is read once per turn, after the wait; now() is that reading.
    virtual void turn(Instant deadline) = 0;
    virtual Now now() const = 0;
};

}  // namespace sluice::io
