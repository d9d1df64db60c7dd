// What connections to servers with one ServerTls share. Internal to this room.
// Thread: the worker's. Ownership: of its connections and of ClientContexts.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/result.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

// By which a server was believed, from its own certificate to one that is trusted as it is. Empty:
// nothing was checked.
using VerifiedChain = std::vector<X509Ptr>;

// What belongs to one connection, and outlives it.
struct ClientPlace {
    std::string name;  // the server's address
    // Of the session that is offered, and so of the connection if it is taken up.
    std::shared_ptr<const VerifiedChain> chain;
};

class ClientContext {
  public:
    // `library`: shared with the worker's other contexts. `machine_cas`: trusted where `tls` names
    // no CA; null: nobody is, then.
    ClientContext(const contract::ServerTls& tls, std::shared_ptr<OSSL_LIB_CTX> library,
                  X509_STORE* machine_cas);

    // Non-empty: it cannot be used, and why. Nobody is trusted then.
    const std::string& fault() const { return fault_; }
    // A connection that has not begun, to offer `alpn` and the last session with `place` if the
    // server would still be believed: a session is taken up without a look at certificates. Null:
    // it cannot be made.
    SslPtr new_connection(ClientPlace& place, std::string_view alpn);
    // The last session with this place was of no use.
    void forget(const std::string& place) { sessions_.erase(place); }

    // Where small pieces are put together to one record; contents last until the next call.
    MutableBytes gather_space() { return gather_; }

  private:
    // More places than a name has addresses; beyond, handshakes are only slower.
    static constexpr size_t kSessionsMax = 256;

    struct KeptSession {
        SessionPtr session;
        std::shared_ptr<const VerifiedChain> chain;
    };
    static int on_new_session(SSL* ssl, SSL_SESSION* session);
    Result<void> configure(const contract::ServerTls& tls, X509_STORE* machine_cas);
    Result<void> trust(const contract::ServerTls& tls, X509_STORE* machine_cas);
    Result<void> show(const contract::ServerTls& tls);

    std::shared_ptr<OSSL_LIB_CTX> library_;
    SslContextPtr context_;
    std::string server_name_;
    bool name_is_address_ = false;
    bool verify_ = true;
    std::string fault_;
    std::map<std::string, KeptSession> sessions_;  // the last one with each place
    std::vector<uint8_t> gather_;
};

// Puts all certificates of a PEM text into the store.
Result<void> add_anchors(X509_STORE* store, const std::string& pem, OSSL_LIB_CTX* library);

}  // namespace sluice::tls
