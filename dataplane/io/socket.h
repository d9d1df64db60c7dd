// A TCP connection over a non-blocking socket, the same for both engines: the engine says when it
// is worth trying, plain recvmsg and sendmsg move the bytes. Reasons: TLS wants the socket itself
// (and later kTLS, which splices into it), OpenSSL's state machine is built on "try again", and one
// code path is tested by both engines. Completion-based receive would own a buffer for each idle
// connection, or need a second copy.
#pragma once

#include <memory>

#include "dataplane/io/engine_core.h"

namespace sluice::io {

class Socket final : public ByteStream, private Watcher {
  public:
    // An accepted, non-blocking socket with TCP_NODELAY set. Null: the engine cannot watch it.
    static std::unique_ptr<Socket> adopt(EngineCore& engine, Descriptor socket);
    static Result<std::unique_ptr<ByteStream>> connect(EngineCore& engine, const Endpoint& to);
    ~Socket() override;

    void set_handler(StreamHandler* handler) override { handler_ = handler; }
    IoResult read(MutableBytes into) override;
    IoResult write(std::span<const Bytes> pieces) override;
    bool flush() override { return true; }
    void shutdown_write() override;

  private:
    enum class State : uint8_t {
        kConnecting,
        kOpen,
        kBroken,  // kept, because the kernel tells an error only once and then looks like an end
    };

    Socket(EngineCore& engine, Descriptor socket, State state)
        : engine_(engine), socket_(std::move(socket)), state_(state) {}
    void on_ready(uint32_t events) override;
    void finish_connecting();
    IoResult failed(int error);

    EngineCore& engine_;
    Descriptor socket_;
    StreamHandler* handler_ = nullptr;
    SlotId id_ = kNoSlot;
    State state_;
    bool shutdown_when_connected_ = false;
};

}  // namespace sluice::io
