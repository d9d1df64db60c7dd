#include "dataplane/tls/trust_store.h"

#include <openssl/pem.h>

#include <algorithm>
#include <array>

#include "dataplane/base/check.h"
#include "dataplane/tls/certificate_dates.h"
#include "dataplane/tls/pem.h"

namespace sluice::tls {
namespace {

using Verdict = ClientCertificate::Verdict;

// As for the server's own certificates: 112 bits, so no RSA keys below 2048 and no SHA-1.
constexpr int kSecurityLevel = 2;

// Certificates between the leaf and the anchor. Private CAs have one or two; more only lets a
// stranger make us check more signatures (0.1 ms each).
constexpr int kDepthMax = 6;

// Revocation could not be decided: the fault of our lists, not of the client.
bool is_about_crls(int error) {
    switch (error) {
        case X509_V_ERR_UNABLE_TO_GET_CRL:
        case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
        case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        case X509_V_ERR_CRL_NOT_YET_VALID:
        case X509_V_ERR_CRL_HAS_EXPIRED:
        case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
        case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
        case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
        case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
        case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
        case X509_V_ERR_DIFFERENT_CRL_SCOPE:
        case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
            return true;
        default:
            return false;
    }
}

// Our own failure, of which nothing follows about the certificate.
bool is_internal(int error) {
    return error == X509_V_ERR_OUT_OF_MEM || error == X509_V_ERR_UNSPECIFIED ||
           error == X509_V_ERR_INVALID_CALL || error == X509_V_ERR_STORE_LOOKUP;
}

// An anchor counts because it is configured; whoever revoked it elsewhere has to be told to take it
// out. So what stands at the end of a chain needs no list above it (a configured intermediate CA
// has none here), and the lists of the anchor itself are looked at one step below.
int on_verify_step(int ok, X509_STORE_CTX* context) {
    if (ok == 1) return 1;
    const int depth = X509_STORE_CTX_get_error_depth(context);
    const int last = sk_X509_num(X509_STORE_CTX_get0_chain(context)) - 1;
    const bool at_the_anchor = depth > 0 && depth == last;
    return at_the_anchor && is_about_crls(X509_STORE_CTX_get_error(context)) ? 1 : 0;
}

std::string subject_of(X509* certificate) {
    const BioPtr text(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0,
                       XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(text.get(), &bytes);
    return {bytes, static_cast<size_t>(std::max<long>(size, 0))};
}

Digest digest_of(X509* certificate) {
    Digest digest{};
    SLUICE_CHECK(X509_digest(certificate, EVP_sha256(), digest.data(), nullptr) == 1);
    return digest;
}

std::string hexadecimal(Bytes bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : bytes) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

}  // namespace

TrustStore::TrustStore(TrustPtr trust, OSSL_LIB_CTX* library)
    : trust_(std::move(trust)), library_(library) {
    const ErrorQueueScope errors;
    if (trust_->fault.empty()) {
        store_.reset(X509_STORE_new());
        SLUICE_CHECK(store_ != nullptr);
        if (!read_anchors() || (trust_->crl_wanted && !read_crls())) store_.reset();
    }
    std::ranges::sort(boundaries_);
    std::vector<uint8_t> demands = {static_cast<uint8_t>(trust_->crl_wanted),
                                    static_cast<uint8_t>(store_ != nullptr)};
    for (const Anchor& anchor : anchors_) {
        demands.insert(demands.end(), anchor.digest.begin(), anchor.digest.end());
    }
    SLUICE_CHECK(EVP_Digest(demands.data(), demands.size(), policy_digest_.data(), nullptr,
                            EVP_sha256(), nullptr) == 1);
}

void TrustStore::add_boundary(const ASN1_TIME* date) {
    if (const auto time = wall_time_of(date)) boundaries_.push_back(*time);
}

bool TrustStore::read_anchors() {
    const BioPtr reader = reader_of(trust_->anchors_pem);
    while (X509Ptr certificate = next_certificate(reader.get(), library_)) {
        if (X509_STORE_add_cert(store_.get(), certificate.get()) != 1) return false;
        add_boundary(X509_get0_notBefore(certificate.get()));
        add_boundary(X509_get0_notAfter(certificate.get()));
        Anchor anchor;
        anchor.digest = digest_of(certificate.get());
        const auto is_same = [&](const Anchor& other) { return other.digest == anchor.digest; };
        if (std::ranges::any_of(anchors_, is_same)) continue;
        anchor.subject = subject_of(certificate.get());
        anchor.not_after =
            wall_time_of(X509_get0_notAfter(certificate.get())).value_or(WallTime::min());
        anchor.use = std::make_shared<AnchorUse>();
        anchor.certificate = std::move(certificate);
        anchors_.push_back(std::move(anchor));
    }
    return ERR_peek_error() == 0 && !anchors_.empty();
}

bool TrustStore::read_crls() {
    const BioPtr reader = reader_of(trust_->crl_pem);
    size_t count = 0;
    for (;;) {
        X509_CRL* fresh = X509_CRL_new_ex(library_, nullptr);
        SLUICE_CHECK(fresh != nullptr);
        if (PEM_read_bio_X509_CRL(reader.get(), &fresh, no_password, nullptr) == nullptr) {
            X509_CRL_free(fresh);
            break;
        }
        const CrlPtr crl(fresh);
        // A list without an end would count for ever, and nobody would notice that it is stale.
        if (X509_CRL_get0_nextUpdate(crl.get()) == nullptr) return false;
        if (X509_STORE_add_crl(store_.get(), crl.get()) != 1) return false;
        add_boundary(X509_CRL_get0_lastUpdate(crl.get()));
        add_boundary(X509_CRL_get0_nextUpdate(crl.get()));
        ++count;
    }
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE && count > 0;
}

TrustStore::Decision TrustStore::verify(X509* leaf, STACK_OF(X509) * others, WallTime now) const {
    if (!store_) {
        return {Verdict::kUndecided, "the CAs or their revocation lists could not be loaded",
                WallTime::max(), nullptr};
    }
    const ErrorQueueScope errors;
    const StoreContextPtr context(X509_STORE_CTX_new_ex(library_, nullptr));
    SLUICE_CHECK(context != nullptr);
    SLUICE_CHECK(X509_STORE_CTX_init(context.get(), store_.get(), leaf, others) == 1);
    X509_STORE_CTX_set_verify_cb(context.get(), on_verify_step);
    X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_time(rules, seconds_of(now));
    X509_VERIFY_PARAM_set_purpose(rules, X509_PURPOSE_SSL_CLIENT);
    X509_VERIFY_PARAM_set_depth(rules, kDepthMax);
    X509_VERIFY_PARAM_set_auth_level(rules, kSecurityLevel);
    // An anchor need not be a root: who configures an intermediate CA trusts that one only.
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
    if (trust_->crl_wanted) flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    X509_VERIFY_PARAM_set_flags(rules, flags);

    Decision decision = judge(context.get(), X509_verify_cert(context.get()) == 1);
    const auto next = std::ranges::upper_bound(boundaries_, now);
    if (next != boundaries_.end()) decision.until = *next;
    return decision;
}

TrustStore::Decision TrustStore::judge(X509_STORE_CTX* context, bool verified) const {
    Decision decision;
    if (!verified) {
        const int error = X509_STORE_CTX_get_error(context);
        decision.verdict =
            is_about_crls(error) || is_internal(error) ? Verdict::kUndecided : Verdict::kRefused;
        decision.reason = X509_verify_cert_error_string(error);
        return decision;
    }
    decision.verdict = Verdict::kRefused;
    STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(context);
    const int last = sk_X509_num(chain) - 1;
    X509* const leaf = sk_X509_value(chain, 0);
    if (last < 1) {
        decision.reason = "is a CA of the trust itself, not a certificate by it";
        return decision;
    }
    // In TLS the client signs (RFC 8446 section 4.4.2.4); OpenSSL's check for clients would also be
    // content with key agreement. All bits are set where there is no such extension.
    if ((X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0) {
        decision.reason = "its key usage does not allow signatures";
        return decision;
    }
    // OpenSSL also takes CAs of old kinds, without basic constraints.
    for (int i = 1; i < last; ++i) {
        if (X509_check_ca(sk_X509_value(chain, i)) == 1) continue;
        decision.reason = "a certificate of its chain is not one of a CA";
        return decision;
    }
    const Digest anchor = digest_of(sk_X509_value(chain, last));
    const auto found = std::ranges::find(anchors_, anchor, &Anchor::digest);
    SLUICE_CHECK(found != anchors_.end());
    decision.verdict = Verdict::kProved;
    decision.reason = "proved";
    decision.anchor = &*found;
    return decision;
}

std::shared_ptr<TrustStore> TrustStores::load(const TrustStore::TrustPtr& trust) {
    auto store = std::make_shared<TrustStore>(trust, library_);
    for (Anchor& anchor : store->anchors()) {
        auto& use = uses_[{trust->name, anchor.digest}];
        if (!use) use = anchor.use;
        anchor.use = use;
    }
    return store;
}

void TrustStores::apply(const std::vector<TrustStore::TrustPtr>& trusts) {
    decltype(stores_) next;
    current_.clear();
    for (const auto& trust : trusts) {
        const auto known = stores_.find(trust.get());
        auto store = known != stores_.end() ? known->second : load(trust);
        if (next.emplace(trust.get(), store).second) current_.push_back(std::move(store));
    }
    stores_ = std::move(next);
    std::erase_if(uses_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

std::shared_ptr<TrustStore> TrustStores::find(const TrustStore::TrustPtr& trust) {
    auto& store = stores_[trust.get()];
    if (!store) store = load(trust);
    return store;
}

void TrustStores::report(std::vector<contract::AnchorReport>& anchors) const {
    constexpr size_t kFingerprintBytes = 8;
    for (const auto& store : current_) {
        for (const Anchor& anchor : store->anchors()) {
            anchors.push_back(
                {.trust = store->trust()->name,
                 .subject = anchor.subject,
                 .fingerprint = hexadecimal(Bytes(anchor.digest).first(kFingerprintBytes)),
                 .not_after = anchor.not_after,
                 .proofs = anchor.use->proofs,
                 .last_proof = anchor.use->last_proof});
        }
    }
}

}  // namespace sluice::tls
