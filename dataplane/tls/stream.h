// The server side of TLS 1.2 and 1.3 over another stream.
//
// Reading: a close_notify of the peer is kEnd. A FIN without one is kError, because anybody on the
// path can make it: a truncated answer must not look like a whole one.
// Writing: small pieces leave together in one record, up to four records in one write below. What
// was accepted and did not fit below is held as ciphertext, at most one batch; write() gives
// kWouldBlock until it has gone. After shutdown_write() (close_notify, then the end of the
// transport's direction) reading goes on.
//
// A connection that stays takes the encryption of what it sends into its own hands
// (stream_sealed.cc); a long body (conduit_from) hands it over to the kernel (stream_kernel.cc).
//
// Thread: the worker's. Memory: about 15 KB while idle, and a read buffer of 17 KB while a record
// is incomplete. Source: RFC 8446, RFC 5246.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/base/byte_stream.h"
#include "dataplane/tls/record_sealer.h"
#include "dataplane/tls/server_context.h"
#include "dataplane/tls/transport.h"

namespace sluice::tls {

class Stream final : public ByteStream, private StreamHandler {
  public:
    Stream(std::shared_ptr<ServerContext> context, std::unique_ptr<ByteStream> transport);
    ~Stream() override;

    void set_handler(StreamHandler* handler) override { handler_ = handler; }
    IoResult read(MutableBytes into) override;
    IoResult write(std::span<const Bytes> pieces) override;
    bool flush() override;
    void shutdown_write() override;
    const TlsFacts* tls_facts() const override { return &facts_; }
    ClientCertificate* client_certificate() override { return certificate_.get(); }
    std::unique_ptr<Conduit> conduit_from(ByteStream& source, uint64_t bytes) override;
    bool worn_out() const override;

  private:
    enum class State : uint8_t { kHandshake, kOpen, kFailed };

    void on_stream_ready() override;

    void drive_handshake();
    void complete_handshake();
    void fail_handshake();
    // What a failed call into OpenSSL means; kOk: nothing, try again.
    IoStatus judge(int result);
    IoStatus write_batch(class PieceReader& pieces, size_t* accepted);
    IoStatus encrypt_record(Bytes record);
    bool renew_keys();

    // stream_sealed.cc
    bool take_over(std::span<const Bytes> pieces);
    IoResult write_sealed(std::span<const Bytes> pieces);
    bool renew_sealer();
    bool new_sealer();
    void seal_control(const ControlRecord& record);

    // stream_kernel.cc
    bool kernel_writes() const { return notes_.diverted && sealer_ == nullptr; }
    bool hand_over();
    IoResult write_to_kernel(std::span<const Bytes> pieces);
    void answer_key_update();
    bool send_control();
    bool send_control(const ControlRecord& record, IoStatus& status);
    bool kernel_bytes_fit(uint64_t bytes) const;

    std::shared_ptr<ServerContext> context_;
    Transport transport_;
    ConnectionNotes notes_;
    SslPtr ssl_;  // after what it points to
    StreamHandler* handler_ = nullptr;
    TlsFacts facts_;
    std::unique_ptr<PeerCertificate> certificate_;  // null: none was shown
    State state_ = State::kHandshake;
    bool read_ended_ = false;     // close_notify came
    bool write_ended_ = false;    // shutdown_write() was called
    bool shutdown_owed_ = false;  // close_notify waits for the kernel to take it
    // The peer asked us to change our keys, and the kernel cannot.
    bool keys_owed_ = false;
    bool keeps_openssl_ = false;  // its keys cannot be taken over
    // Set: we encrypt, and OpenSSL only reads.
    std::unique_ptr<RecordSealer> sealer_;
    uint64_t records_under_key_ = 0;
    uint64_t kernel_bytes_ = 0;  // encrypted by the kernel under the present keys
};

}  // namespace sluice::tls
