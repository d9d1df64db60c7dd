// What lies below TLS: the transport with the ciphertext that it has not taken yet, dressed as a
// BIO so that OpenSSL reads from and writes to it.
//
// OpenSSL 3.0 would hand its keys for kernel TLS to this BIO (BIO_CTRL_SET_KTLS), but as soon as it
// uses them itself and for every connection. It is answered that there is no kernel TLS; who wants
// it later has them from WriteKeys, and divert() keeps what OpenSSL encrypts from then on.
//
// OpenSSL never hears "not now" when it writes: what the transport does not take stays here, and
// the stream above accepts no more until it has gone. So a record is encrypted once and never
// offered to OpenSSL twice.
//
// Thread: the worker's. Memory: a borrowed buffer, only while ciphertext waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/tls/cipher_buffer.h"
#include "dataplane/tls/hello_gate.h"
#include "dataplane/tls/openssl_ptr.h"
#include "dataplane/tls/server_context.h"

namespace sluice::tls {

class Transport {
  public:
    // `context` outlives it.
    Transport(std::unique_ptr<ByteStream> below, ServerContext& context);
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    // A new BIO over this; it must be freed before this is destroyed.
    BioPtr make_bio();

    // From now on what OpenSSL writes goes nowhere: somebody else encrypts.
    void divert() { diverted_ = true; }
    // Of the last record of data (TLS 1.2 has one with every record).
    uint64_t last_nonce() const { return last_nonce_; }

    // Room for ciphertext behind what waits, to be filled at once; uncork() sends it.
    uint8_t* append(size_t size);

    // Between the two, what OpenSSL writes is collected; the second sends it in one piece.
    void cork() { corked_ = true; }
    void uncork();

    // Sends what waits. True: nothing waits, here or below.
    bool flush();
    bool holds_ciphertext() const { return sent_ < waiting_.size(); }
    // More waits than one batch of data and a good many answers to messages of the peer.
    bool overfull() const { return waiting_.size() - sent_ > 2 * kBatchMax; }

    // Ends our direction once everything that waits has gone.
    void shutdown_write();

    // Since begin(): did the transport say that it has nothing more for now?
    void begin() { dry_ = false; }
    bool dry() const { return dry_; }

    bool broken() const { return broken_; }  // in either direction
    bool ended() const { return ended_; }    // the peer's FIN came
    bool received_anything() const { return received_anything_; }

    ByteStream& below() { return *below_; }

  private:
    static const BIO_METHOD* method();
    static Transport& of(BIO* bio) { return *static_cast<Transport*>(BIO_get_data(bio)); }

    int receive(BIO* bio, MutableBytes into, size_t* received);
    int send(Bytes ciphertext, size_t* sent);
    bool send_waiting();  // false: the transport is broken
    void hold(Bytes ciphertext);
    void finish_shutdown();

    std::unique_ptr<ByteStream> below_;
    ServerContext& context_;
    CipherBuffer waiting_;  // ciphertext, of which the first `sent_` bytes have gone
    size_t sent_ = 0;
    HelloGate gate_;
    uint64_t last_nonce_ = 0;
    bool corked_ = false;
    bool diverted_ = false;
    bool dry_ = false;
    bool ended_ = false;
    bool broken_ = false;
    bool received_anything_ = false;
    bool shutdown_asked_ = false;
    bool shutdown_done_ = false;
};

}  // namespace sluice::tls
