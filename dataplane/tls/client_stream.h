// The client side of TLS over another stream: client_contexts.h has what it promises.
//
// As on the other side, OpenSSL never hears "not now" when it writes: what the transport does not
// take waits here, and write() accepts nothing more until it has gone.
//
// Thread: the worker's. Memory: about 15 KB while idle, and what waits: at most one batch of 64 KiB
// and the answers to changes of keys.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/tls/client_context.h"

namespace sluice::tls {

class ClientStream final : public ByteStream, private StreamHandler {
  public:
    ClientStream(std::shared_ptr<ClientContext> context, std::unique_ptr<ByteStream> transport,
                 std::string place, std::string alpn);
    ~ClientStream() override;

    void set_handler(StreamHandler* handler) override { handler_ = handler; }
    IoResult read(MutableBytes into) override;
    IoResult write(std::span<const Bytes> pieces) override;
    bool flush() override;
    void shutdown_write() override;
    const TlsFacts* tls_facts() const override { return &facts_; }
    std::string_view failure() const override { return failure_; }

  private:
    enum class State : uint8_t { kHandshake, kOpen, kFailed };

    void on_stream_ready() override;
    void drive_handshake();
    void complete_handshake();
    void fail_handshake();
    IoStatus judge(int result);
    IoStatus write_batch(std::span<const Bytes> pieces, size_t& accepted);
    void send_waiting();

    static const BIO_METHOD* method();
    static ClientStream& of(BIO* bio) { return *static_cast<ClientStream*>(BIO_get_data(bio)); }
    int receive(BIO* bio, MutableBytes into, size_t* received);

    std::shared_ptr<ClientContext> context_;
    std::unique_ptr<ByteStream> below_;
    ClientPlace place_;
    const std::string alpn_;
    SslPtr ssl_;  // null: the context cannot be used
    StreamHandler* handler_ = nullptr;
    TlsFacts facts_;
    std::string failure_;
    std::vector<uint8_t> waiting_;  // ciphertext, of which the first `sent_` bytes have gone
    size_t sent_ = 0;
    State state_ = State::kHandshake;
    bool dry_ = false;     // the transport has nothing more for now
    bool broken_ = false;  // the transport, in either direction
    bool ended_ = false;   // the server's FIN came
    bool read_ended_ = false;
    bool write_ended_ = false;
    bool transport_ended_ = false;  // our FIN has been asked for
};

}  // namespace sluice::tls
