// A connection as protocols see it: ordered bytes in both directions, never blocking.
// io::Socket is one over TCP; tls::Stream is one over another; tests use one in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/base/record_keys.h"
#include "dataplane/base/time.h"

namespace sluice::contract {
struct TrustConfig;
}

namespace sluice {

enum class IoStatus : uint8_t {
    kOk,          // bytes > 0 were moved
    kWouldBlock,  // nothing now; the handler will be called when that may have changed
    kEnd,         // read only: the peer ended its direction in an orderly way
    kError,       // the connection is broken; close it
};

struct IoResult {
    IoStatus status = IoStatus::kWouldBlock;
    size_t bytes = 0;
};

// What a TLS handshake settled. Valid once `done`.
struct TlsFacts {
    bool done = false;
    std::string server_name;  // as sent by the client, lower case; empty: none
    std::string version;      // "TLSv1.3"
    std::string cipher;
    std::string alpn;  // "http/1.1", "h2", or empty
    bool resumed = false;
    bool asked_for_certificate = false;  // a client certificate, which the client need not have
    bool ktls_transmit = false;
    bool ktls_receive = false;
};

// The certificate that the client of a connection has shown and proved to hold the key of; whether
// it counts is asked for each request, because dates pass and revocation lists come.
class ClientCertificate {
  public:
    enum class Verdict : uint8_t {
        kProved,
        kRefused,    // by another CA, out of its dates, revoked, not for clients
        kUndecided,  // the trust cannot be used: not loaded, or its revocation list has run out
    };
    struct Proof {
        Verdict verdict = Verdict::kUndecided;
        std::string_view reason;  // for the log; lives as long as the certificate
    };
    // Under these CAs, now. Remembered, so that asking again is cheap.
    virtual Proof prove(const std::shared_ptr<const contract::TrustConfig>& trust,
                        WallTime now) = 0;

    // Subject alternative names, and the serial number as ClientCertificatePolicy has it.
    virtual std::span<const std::string> uris() const = 0;
    virtual std::span<const std::string> dns() const = 0;
    virtual std::span<const std::string> emails() const = 0;
    virtual std::string_view serial() const = 0;
    // For people: "O=Example,CN=ann"; not escaped. The order is forwarded_info()'s.
    virtual std::string_view subject() const = 0;

    // What Traefik sends to backends: the certificate as PEM without delimiters and line ends; and
    // subject, issuer, serial number, dates and names, escaped as in a URL.
    virtual std::string_view forwarded_pem() const = 0;
    virtual std::string_view forwarded_info() const = 0;

  protected:
    ~ClientCertificate() = default;
};

// Called by the engine's loop when a stream may be able to make progress again: data came, room
// came, a connect or handshake ended, the stream broke. It says "try", not what will succeed.
// Edge-triggered: after a call the handler must read and write until kWouldBlock (or until it has
// its own reason to pause, and then it must go on by itself). A handler may destroy its stream
// and itself from inside the call.
class StreamHandler {
  public:
    virtual void on_stream_ready() = 0;

  protected:
    ~StreamHandler() = default;
};

// A way from one stream to another that leaves the bytes where they are: in the kernel, if both are
// sockets. What it holds has left the source and not reached the sink; so it stands where a buffer
// would, and is used like one.
// Ownership: the user's. Both streams outlive its last call; its destructor touches neither.
class Conduit {
  public:
    virtual ~Conduit() = default;

    // As ByteStream::read() of the source. Precondition: nothing is held.
    virtual IoResult fill(size_t bytes_max) = 0;
    // As ByteStream::write() to the sink of what is held. Precondition: something is.
    virtual IoResult drain() = 0;
    virtual size_t held() const = 0;
};

// Thread: all calls on the worker that owns the stream.
// Ownership: the destructor closes the connection at once, without a farewell.
class ByteStream {
  public:
    virtual ~ByteStream() = default;

    // The handler outlives the stream or is replaced first; null: nobody listens. Setting a handler
    // does not call it.
    virtual void set_handler(StreamHandler* handler) = 0;

    virtual IoResult read(MutableBytes into) = 0;
    // Gathers the pieces in order; `bytes` counts over all of them and may end inside one.
    // A caller that got kWouldBlock must offer the same bytes again (a TLS record may hold them).
    virtual IoResult write(std::span<const Bytes> pieces) = 0;

    // True when nothing that write() accepted is still held back inside the stream.
    // Otherwise tries to move it on; the handler is called when to try again.
    virtual bool flush() = 0;

    // Ends our direction in an orderly way (close_notify, FIN) after what was written.
    virtual void shutdown_write() = 0;

    // After kError: why, in words for the operator. Empty: nothing is known but that it broke.
    virtual std::string_view failure() const { return {}; }

    // After kError: the other end has said that nothing of what was written had any effect, so that
    // all of it may be sent to somebody else, whatever it asks for.
    virtual bool unprocessed() const { return false; }

    virtual const TlsFacts* tls_facts() const { return nullptr; }
    // Null: none was shown.
    virtual ClientCertificate* client_certificate() { return nullptr; }

    // A conduit from `source` to this stream for the next `bytes` of a body, which then all come
    // through it. Null: there is none, now; read and write. Precondition: everything that was
    // written before is accepted.
    virtual std::unique_ptr<Conduit> conduit_from(ByteStream& source, uint64_t bytes) {
        (void)source;
        (void)bytes;
        return nullptr;
    }
    // The stream can finish the present message but should carry no other one.
    virtual bool worn_out() const { return false; }

    // --- For TLS over this stream ------------------------------------------------------------

    // From now on everything that is written leaves as TLS records of application data under these
    // keys, and shutdown_write() waits for the last of them. There is no way back; a second call
    // changes the keys. False: not possible here, nothing has changed.
    virtual bool encrypt_writes(const RecordKeys& keys) {
        (void)keys;
        return false;
    }
    // After encrypt_writes(): one record of another type. All of it is taken or nothing.
    virtual IoResult write_record(uint8_t type, Bytes content) {
        (void)type;
        (void)content;
        return {IoStatus::kError, 0};
    }
};

}  // namespace sluice
