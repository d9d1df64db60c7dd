// The client side of TLS, towards servers: who they have to be, what we show them, and sessions
// that make the next handshake cheap.
//
// A context is made when a ServerTls is first used and goes when a snapshot comes without that.
// It has a store of CAs of its own (the machine's are read into one store for all), our certificate
// if there is one, and the last session with each place; so a session is never used where other CAs
// or another name count. Nor is it after one of the certificates that it stands on has run out.
//
// Thread: one worker's; like Contexts it shares nothing with other workers, not even OpenSSL's
// library context. Memory: some 50 KB for each ServerTls, more with many CAs.
// Source: RFC 8446, RFC 5246, RFC 9525 (names in certificates), RFC 6066 section 3, RFC 7301.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::tls {

class ClientContexts {
  public:
    ClientContexts();
    ~ClientContexts();
    ClientContexts(const ClientContexts&) = delete;
    ClientContexts& operator=(const ClientContexts&) = delete;

    // Makes the contexts of these now, so that no connection waits for that, and forgets all
    // others; one of those that is used again is made again.
    void prepare(std::span<const std::shared_ptr<const contract::ServerTls>> all);

    // TLS over `transport`, which need not be connected yet. The handshake runs inside: reads and
    // writes give kWouldBlock until it is done and kError if it fails; failure() says why. `alpn`
    // is what we want to speak; a server that says nothing about it is taken to speak "http/1.1".
    // `place`: where sessions are good for; the server's address. A FIN without close_notify is
    // kError, also where the transport ends behind a whole message.
    // The stream may outlive this.
    std::unique_ptr<ByteStream> connect(std::unique_ptr<ByteStream> transport,
                                        const std::shared_ptr<const contract::ServerTls>& tls,
                                        std::string_view place, std::string_view alpn);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::tls
