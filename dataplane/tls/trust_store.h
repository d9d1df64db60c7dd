// The CAs that client certificates are checked under, parsed once per worker and TrustConfig, and
// the check itself. Never the machine's own CAs: a store holds what its TrustConfig names and
// nothing else. Thread: the worker's. Source: RFC 5280 sections 4.2.1.3, 4.2.1.12 and 6.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/counters.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/certificate.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

// How often an anchor vouched for somebody. Lives on when the trust's files are read again.
struct AnchorUse {
    uint64_t proofs = 0;
    WallTime last_proof{};
};

struct Anchor {
    X509Ptr certificate;
    Digest digest{};
    std::string subject;
    WallTime not_after{};
    std::shared_ptr<AnchorUse> use;
};

class TrustStore {
  public:
    using TrustPtr = std::shared_ptr<const contract::TrustConfig>;

    struct Decision {
        ClientCertificate::Verdict verdict = ClientCertificate::Verdict::kUndecided;
        std::string_view reason;  // of static storage
        // When a date of the CAs or of their revocation lists passes next; until then nothing but
        // the certificates of the client can change the verdict.
        WallTime until = WallTime::max();
        const Anchor* anchor = nullptr;  // set if kProved
    };

    // What cannot be parsed makes a store that decides nothing.
    TrustStore(TrustPtr trust, OSSL_LIB_CTX* library);

    // Whether `leaf`, helped by `others` in any order, comes from one of the anchors at `now`, may
    // be used by a client, and is not revoked. Says nothing about who holds its key.
    Decision verify(X509* leaf, STACK_OF(X509) * others, WallTime now) const;

    const TrustPtr& trust() const { return trust_; }
    std::vector<Anchor>& anchors() { return anchors_; }
    const std::vector<Anchor>& anchors() const { return anchors_; }
    // Of what the trust demands; equal for equal anchors and the same wish for revocation lists.
    const Digest& policy_digest() const { return policy_digest_; }

  private:
    bool read_anchors();
    bool read_crls();
    void add_boundary(const ASN1_TIME* date);
    Decision judge(X509_STORE_CTX* context, bool verified) const;

    TrustPtr trust_;
    OSSL_LIB_CTX* library_;
    StorePtr store_;  // null: the trust cannot be used
    std::vector<Anchor> anchors_;
    std::vector<WallTime> boundaries_;  // sorted
    Digest policy_digest_{};
};

// All that a worker has parsed.
class TrustStores {
  public:
    explicit TrustStores(OSSL_LIB_CTX* library) : library_(library) {}

    // Parses what is new and forgets what is not in the list.
    void apply(const std::vector<TrustStore::TrustPtr>& trusts);

    // Also for a trust of an older snapshot, which a request in progress may still ask for.
    std::shared_ptr<TrustStore> find(const TrustStore::TrustPtr& trust);

    OSSL_LIB_CTX* library() const { return library_; }
    void report(std::vector<contract::AnchorReport>& anchors) const;

  private:
    std::shared_ptr<TrustStore> load(const TrustStore::TrustPtr& trust);

    OSSL_LIB_CTX* library_;
    // By address: a store holds its trust, so the address is not used again.
    std::unordered_map<const contract::TrustConfig*, std::shared_ptr<TrustStore>> stores_;
    std::vector<std::shared_ptr<TrustStore>> current_;  // in the snapshot's order, for reports
    std::map<std::pair<std::string, Digest>, std::shared_ptr<AnchorUse>> uses_;
};

}  // namespace sluice::tls
