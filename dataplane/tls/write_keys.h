// The keys under which OpenSSL encrypts what a connection sends, for handing them on.
//
// OpenSSL 3.0 gives its keys away only at the moment when it begins to use them, and then for the
// whole connection. Here they are wanted later, or never; so they are derived once more from the
// secret of the handshake, and the records are counted as they go. What OpenSSL tells through its
// callbacks (key log, messages) is enough for that.
//
// Thread: the worker's. Source: RFC 8446 sections 7.2 and 7.3; RFC 5246 section 6.3, RFC 5288.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/base/record_keys.h"
#include "dataplane/base/secret.h"

namespace sluice::tls {

class WriteKeys {
  public:
    // A line of the key log (the format of NSS): keeps what it has to say of our direction.
    void note_secret(std::string_view line);
    // A record was encrypted.
    void note_record() { ++sequence_; }
    // New keys from the next record on, by whatever message.
    void note_change_cipher_spec() { sequence_ = 0; }
    void note_key_update() {
        sequence_ = 0;
        if (updates_ <= kUpdatesMax) ++updates_;
    }

    // From the next record on. `last_nonce`: the explicit nonce of the last record, which only TLS
    // 1.2 has. Nothing: the cipher is not one that others know, or the secret was not told.
    std::optional<RecordKeys> next(SSL* ssl, OSSL_LIB_CTX* library, uint64_t last_nonce);

  private:
    // Derived when they are asked for, so the peer decides how long that takes. Nobody but a
    // long-lived connection gets near it; one that does keeps OpenSSL.
    static constexpr uint32_t kUpdatesMax = 16;

    std::optional<RecordKeys> next13(RecordKeys keys, const EVP_MD* digest, OSSL_LIB_CTX* library);
    static std::optional<RecordKeys> next12(RecordKeys keys, const EVP_MD* digest, SSL* ssl,
                                            OSSL_LIB_CTX* library, uint64_t last_nonce);

    Secret<48> secret_;  // of TLS 1.3
    size_t secret_size_ = 0;
    uint64_t sequence_ = 0;
    uint32_t updates_ = 0;  // that the secret has not gone through yet
};

}  // namespace sluice::tls
