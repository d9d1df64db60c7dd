// What connections to servers with one ServerTls share. Internal to this room.
// Thread: the worker's. Ownership: of its connections and of ClientContexts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/result.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

class ClientContext {
  public:
    explicit ClientContext(const contract::ServerTls& tls);

    // Non-empty: it cannot be used, and why. Nobody is trusted then.
    const std::string& fault() const { return fault_; }
    // A connection that has not begun, to offer `alpn` and the last session with `place`. Null: it
    // cannot be made. `place` outlives the connection.
    SslPtr new_connection(const std::string& place, std::string_view alpn);
    // The last session with this place was of no use.
    void forget(const std::string& place) { sessions_.erase(place); }

    // Where small pieces are put together to one record; contents last until the next call.
    MutableBytes gather_space() { return gather_; }

  private:
    // More places than a name has addresses; beyond, handshakes are only slower.
    static constexpr size_t kSessionsMax = 256;

    static int on_new_session(SSL* ssl, SSL_SESSION* session);
    Result<void> configure(const contract::ServerTls& tls);
    Result<void> trust(const contract::ServerTls& tls);
    Result<void> show(const contract::ServerTls& tls);

    LibraryPtr library_;
    SslContextPtr context_;
    std::string server_name_;
    bool name_is_address_ = false;
    bool verify_ = true;
    std::string fault_;
    std::map<std::string, SessionPtr> sessions_;  // the last one with each place
    std::vector<uint8_t> gather_;
};

}  // namespace sluice::tls
