// Seals session tickets and opens them again, with keys that control makes, changes and gives to
// all workers alike. Without keys there are no tickets.
// Thread: the worker's. Source: RFC 5077 section 4 (the form that OpenSSL writes), RFC 8446 section
// 4.6.1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

// How long a session may be resumed, and how long control keeps a key that seals no more.
inline constexpr std::chrono::hours kTicketLifetime{24};

class TicketSealer {
  public:
    explicit TicketSealer(OSSL_LIB_CTX* library);

    void set_keys(std::shared_ptr<const contract::TicketKeys> keys, Instant now);
    bool has_keys() const { return keys_ && !keys_->keys.empty(); }
    // Whether control still changes the keys. A ticket of TLS 1.2 holds the very secret of its
    // session, so one key must not seal them for ever, even if control is stuck.
    bool keys_are_fresh(Instant now) const;

    // As SSL_CTX_set_tlsext_ticket_key_evp_cb has it. `name`: 16 bytes, `iv`: 16 bytes.
    // Seals with the first key: 1, or -1 if OpenSSL fails.
    int seal(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const;
    // 0: not ours any more; 1; 2: and a new ticket should take its place.
    int open(const uint8_t* name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
             EVP_MAC_CTX* mac) const;

  private:
    OSSL_LIB_CTX* library_;
    CipherPtr cipher_;
    std::shared_ptr<const contract::TicketKeys> keys_;
    Instant since_{};
};

}  // namespace sluice::tls
