#include "dataplane/tls/peer_certificate.h"

#include <algorithm>
#include <utility>

#include "dataplane/tls/certificate_dates.h"

namespace sluice::tls {
namespace {

// One connection asks for as many trusts as its host has routes with different ones; reloads bring
// new ones. Fewer would only verify again.
constexpr size_t kRememberedMax = 8;

}  // namespace

PeerCertificate::PeerCertificate(TrustStores& stores, X509Ptr leaf, ChainPtr others)
    : stores_(stores),
      leaf_(std::move(leaf)),
      others_(std::move(others)),
      names_(names_of(leaf_.get())) {
    const auto add = [this](X509* certificate) {
        for (const ASN1_TIME* date :
             {X509_get0_notBefore(certificate), X509_get0_notAfter(certificate)}) {
            if (const auto time = wall_time_of(date)) boundaries_.push_back(*time);
        }
    };
    add(leaf_.get());
    for (int i = 0; i < sk_X509_num(others_.get()); ++i)
        add(sk_X509_value(others_.get(), i));
    std::ranges::sort(boundaries_);
}

ClientCertificate::Proof PeerCertificate::prove(
    const std::shared_ptr<const contract::TrustConfig>& trust, WallTime now) {
    if (!trust) return {Verdict::kUndecided, "there are no CAs to prove it by"};
    const auto known = std::ranges::find(remembered_, trust, &Remembered::trust);
    if (known == remembered_.end()) {
        if (remembered_.size() == kRememberedMax) remembered_.erase(remembered_.begin());
        return remembered_.emplace_back(decide(trust, now)).proof;
    }
    // Before `from`: the clock was set back.
    if (now < known->from || now >= known->until) *known = decide(trust, now);
    return known->proof;
}

PeerCertificate::Remembered PeerCertificate::decide(
    const std::shared_ptr<const contract::TrustConfig>& trust, WallTime now) {
    const auto store = stores_.find(trust);
    const TrustStore::Decision decision = store->verify(leaf_.get(), others_.get(), now);
    if (decision.anchor != nullptr) {
        ++decision.anchor->use->proofs;
        decision.anchor->use->last_proof = now;
    }
    const auto next = std::ranges::upper_bound(boundaries_, now);
    const WallTime own = next != boundaries_.end() ? *next : WallTime::max();
    return {trust, {decision.verdict, decision.reason}, now, std::min(decision.until, own)};
}

std::string_view PeerCertificate::forwarded_pem() const {
    if (!pem_) pem_ = forwarded_pem_of(leaf_.get());
    return *pem_;
}

std::string_view PeerCertificate::forwarded_info() const {
    if (!info_) info_ = forwarded_info_of(leaf_.get());
    return *info_;
}

}  // namespace sluice::tls
