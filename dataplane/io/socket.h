// A TCP connection, or one by a Unix socket, over a non-blocking socket, the same for both engines:
// the engine says when it is worth trying, plain recvmsg and sendmsg move the bytes. Reasons: TLS
// wants the socket itself (kernel TLS is a property of it, and bodies are spliced into it),
// OpenSSL's state machine is built on "try again", and one code path is tested by both engines.
// Completion-based receive would own a buffer for each idle connection, or need a second copy.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>

#include "dataplane/io/engine_core.h"
#include "dataplane/io/kernel_tls.h"

namespace sluice::io {

class Socket final : public ByteStream, private Watcher {
  public:
    // An accepted, non-blocking socket with TCP_NODELAY set. Null: the engine cannot watch it.
    static std::unique_ptr<Socket> adopt(EngineCore& engine, Descriptor socket);
    static Result<std::unique_ptr<ByteStream>> connect(EngineCore& engine, const Endpoint& to);
    static Result<std::unique_ptr<ByteStream>> connect_unix(EngineCore& engine,
                                                            const std::string& path);
    ~Socket() override;

    void set_handler(StreamHandler* handler) override {
        handler_ = handler;
        // Who takes over a stream may want to know how it stands at this moment.
        drained_ = false;
    }
    IoResult read(MutableBytes into) override;
    IoResult write(std::span<const Bytes> pieces) override;
    bool flush() override;
    void shutdown_write() override;

    std::unique_ptr<Conduit> conduit_from(ByteStream& source, uint64_t bytes) override;
    bool encrypt_writes(const RecordKeys& keys) override;
    IoResult write_record(uint8_t type, Bytes content) override;

    // For conduits; as read() and write(), between the socket and an end of a pipe.
    IoResult splice_into(int pipe, size_t bytes_max);
    IoResult splice_out_of(int pipe, size_t bytes_max);

  private:
    enum class State : uint8_t {
        kConnecting,
        kOpen,
        kBroken,  // kept, because the kernel tells an error only once and then looks like an end
    };

    Socket(EngineCore& engine, Descriptor socket, State state)
        : engine_(engine), socket_(std::move(socket)), state_(state) {}
    static Result<std::unique_ptr<ByteStream>> connect(EngineCore& engine, Descriptor socket,
                                                       const sockaddr* address, uint32_t length,
                                                       const std::string& name);
    void on_ready(uint32_t events) override;
    void finish_connecting();
    IoResult failed(int error);
    IoResult wrote(size_t bytes);
    bool records_are_in_tcp() const;

    // What is known of the records that the kernel makes of our writes.
    struct Encryption {
        RecordKeys keys;            // the sequence is that of the first record under them
        uint64_t content = 0;       // accepted since the first keys
        uint64_t records = 0;       // made under earlier keys
        uint64_t tcp_at_start = 0;  // bytes that TCP had been given before
    };

    EngineCore& engine_;
    Descriptor socket_;
    StreamHandler* handler_ = nullptr;
    SlotId id_ = kNoSlot;
    State state_;
    bool drained_ = false;  // nothing more can be there before the next event
    bool ending_ = false;   // the far end's FIN, or an error, has been told
    bool shutdown_when_connected_ = false;
    bool shutdown_when_sent_ = false;
    bool looks_again_ = false;  // a call of on_ready(0) has been asked for
    std::unique_ptr<Encryption> encryption_;
};

}  // namespace sluice::io
