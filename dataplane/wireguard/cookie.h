// The two MACs at the end of a handshake message, from both sides.
// The first proves that the sender knows the receiver's public key; without it we stay silent. The
// second proves, when the receiver is under load, that the sender is where it says it is: it is
// made with a cookie that the receiver sent there.
//
// Thread: one. Never allocates, but for opening and sealing a cookie reply.
// Source: the paper, sections 5.3, 5.4.4 and 5.4.7.
#pragma once

#include <cstdint>

#include "dataplane/base/ip.h"
#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/time.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/wire/wireguard_message.h"
#include "dataplane/wireguard/device.h"

namespace sluice::wireguard {

// Checks what comes to us, and hands out cookies. One per device.
class CookieChecker {
  public:
    void set_own_key(const PublicKey& own);
    // `message`: a whole initiation or response; its last 32 bytes are the two MACs.
    bool mac1_is_valid(Bytes message) const;
    bool mac2_is_valid(Bytes message, const Endpoint& source, Instant now);
    // A cookie for the source of `message`, that only who sent the message can open.
    wire::CookieReply reply_to(Bytes message, uint32_t sender, const Endpoint& source,
                               Random& random, Instant now);

  private:
    crypto::Mac cookie_for(const Endpoint& source) const;

    Secret<32> mac1_key_;
    Secret<32> sealing_key_;
    Secret<32> secret_;
    Instant secret_made_ = Instant::min();  // never
};

// Writes the MACs of what we send, and takes cookies. One per peer.
class MacWriter {
  public:
    void set_peer_key(const PublicKey& peer);
    // Fills the last 32 bytes of a handshake message.
    void sign(MutableBytes message, Instant now);
    // kNone: the cookie was taken and will be used in the next message.
    [[nodiscard]] DropReason consume(const wire::CookieReply& reply, Instant now);

  private:
    Secret<32> mac1_key_;
    Secret<32> opening_key_;
    crypto::Mac last_mac1_{};
    bool awaits_reply_ = false;  // a message was sent since the last cookie came
    Secret<16> cookie_;
    Instant cookie_received_ = Instant::min();
};

}  // namespace sluice::wireguard
