#include "dataplane/wireguard/cookie.h"

#include <algorithm>

#include "dataplane/crypto/aead.h"
#include "dataplane/wireguard/constants.h"

namespace sluice::wireguard {

namespace {

constexpr size_t kMacSize = 16;

Secret<32> labelled_key(std::string_view label, const PublicKey& key) {
    return Secret<32>(crypto::blake2s({as_bytes(label), key}));
}

Bytes before_mac1(Bytes message) {
    return message.first(message.size() - 2 * kMacSize);
}
Bytes before_mac2(Bytes message) {
    return message.first(message.size() - kMacSize);
}
Bytes mac1_of(Bytes message) {
    return message.subspan(message.size() - 2 * kMacSize).first(kMacSize);
}
Bytes mac2_of(Bytes message) {
    return message.last(kMacSize);
}

}  // namespace

void CookieChecker::set_own_key(const PublicKey& own) {
    mac1_key_ = labelled_key(kLabelMac1, own);
    sealing_key_ = labelled_key(kLabelCookie, own);
}

bool CookieChecker::mac1_is_valid(Bytes message) const {
    const crypto::Mac mac = crypto::blake2s_mac(mac1_key_.span(), {before_mac1(message)});
    return crypto::equal_macs(mac, mac1_of(message));
}

bool CookieChecker::mac2_is_valid(Bytes message, const Endpoint& source, Instant now) {
    // After its time a secret is worth nothing, even while no new one has been made.
    if (secret_made_ == Instant::min() || secret_made_ + kCookieSecretLifetime <= now) return false;
    const crypto::Mac mac = crypto::blake2s_mac(cookie_for(source), {before_mac2(message)});
    return crypto::equal_macs(mac, mac2_of(message));
}

wire::CookieReply CookieChecker::reply_to(Bytes message, uint32_t sender, const Endpoint& source,
                                          Random& random, Instant now) {
    if (secret_made_ == Instant::min() || secret_made_ + kCookieSecretLifetime <= now) {
        random.fill(secret_.span());
        secret_made_ = now;
    }
    wire::CookieReply reply;
    reply.receiver = sender;
    random.fill(reply.nonce);
    crypto::xseal(sealing_key_, reply.nonce, mac1_of(message), cookie_for(source),
                  reply.sealed_cookie);
    return reply;
}

crypto::Mac CookieChecker::cookie_for(const Endpoint& source) const {
    std::array<uint8_t, 2> port;
#ifdef SLUICE_PLANTED_BUG_COOKIE_WITHOUT_PORT
    // PLANTED BUG, in no product: one cookie lets in everybody behind the same address.
    store_be16(port.data(), 0);
#else
    store_be16(port.data(), source.port);
#endif
    return crypto::blake2s_mac(secret_.span(), {source.address.view(), port});
}

void MacWriter::set_peer_key(const PublicKey& peer) {
    mac1_key_ = labelled_key(kLabelMac1, peer);
    opening_key_ = labelled_key(kLabelCookie, peer);
}

void MacWriter::sign(MutableBytes message, Instant now) {
    last_mac1_ = crypto::blake2s_mac(mac1_key_.span(), {before_mac1(message)});
    awaits_reply_ = true;
    uint8_t* const macs = message.data() + message.size() - 2 * kMacSize;
    std::copy(last_mac1_.begin(), last_mac1_.end(), macs);
    crypto::Mac mac2{};
    const bool fresh = cookie_received_ != Instant::min() &&
                       cookie_received_ + (kCookieSecretLifetime - kCookieLatency) > now;
    if (fresh) mac2 = crypto::blake2s_mac(cookie_.span(), {before_mac2(message)});
    std::copy(mac2.begin(), mac2.end(), macs + kMacSize);
}

DropReason MacWriter::consume(const wire::CookieReply& reply, Instant now) {
    if (!awaits_reply_) return DropReason::kCookieUnexpected;
    Secret<16> cookie;
    if (!crypto::xopen(opening_key_, reply.nonce, last_mac1_, reply.sealed_cookie, cookie.span())) {
        return DropReason::kCookieInvalid;
    }
    cookie_ = cookie;
    cookie_received_ = now;
    awaits_reply_ = false;
    return DropReason::kNone;
}

}  // namespace sluice::wireguard
