// For tests of this room: a certificate authority that issues client certificates of every kind,
// good and bad, revocation lists and OCSP responses.
#pragma once

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/base/time.h"
#include "dataplane/tls/certificate_dates.h"
#include "dataplane/tls/openssl_ptr.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls::testing {

// All dates are around this one, which tests pass as the present.
inline constexpr WallTime kTestNow{std::chrono::seconds(1'800'000'000)};

inline X509Ptr copy_of(X509* certificate) {
    X509_up_ref(certificate);
    return X509Ptr(certificate);
}

struct Holder {
    X509Ptr certificate;
    KeyPtr key;

    std::string pem() const {
        return pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
    }
};

struct IssueOptions {
    std::string name = "client";
    // Extensions as openssl.cnf writes them.
    std::vector<std::pair<int, std::string>> extensions = {};
    std::chrono::seconds from = -std::chrono::hours(1);  // relative to kTestNow
    std::chrono::seconds until = std::chrono::hours(24);
    KeyPtr key = nullptr;     // null: a new one on P-256
    std::string serial = {};  // decimal; empty: the next number
};

inline std::vector<std::pair<int, std::string>> ca_extensions(
    const std::string& constraints = "critical,CA:TRUE") {
    return {{NID_basic_constraints, constraints}, {NID_key_usage, "critical,keyCertSign,cRLSign"}};
}

class TestCa {
  public:
    explicit TestCa(const std::string& name,
                    std::vector<std::pair<int, std::string>> extensions = ca_extensions()) {
        self_ = make({.name = name,
                      .extensions = std::move(extensions),
                      .from = -std::chrono::hours(240),
                      .until = std::chrono::hours(2400)},
                     nullptr);
    }
    explicit TestCa(Holder self) : self_(std::move(self)) {}

    Holder issue(IssueOptions options = {}) const { return make(std::move(options), &self_); }
    TestCa issue_ca(const std::string& name, const std::string& constraints = "critical,CA:TRUE",
                    std::chrono::seconds until = std::chrono::hours(2400)) const {
        return TestCa(issue({.name = name,
                             .extensions = ca_extensions(constraints),
                             .from = -std::chrono::hours(240),
                             .until = until}));
    }

    X509* certificate() const { return self_.certificate.get(); }
    std::string pem() const { return self_.pem(); }

    std::string crl(const std::vector<const X509*>& revoked,
                    std::chrono::seconds from = -std::chrono::hours(1),
                    std::chrono::seconds until = std::chrono::hours(12)) const {
        const CrlPtr crl(X509_CRL_new());
        X509_CRL_set_version(crl.get(), 1);
        X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(certificate()));
        set(from, [&](const ASN1_TIME* t) { X509_CRL_set1_lastUpdate(crl.get(), t); });
        set(until, [&](const ASN1_TIME* t) { X509_CRL_set1_nextUpdate(crl.get(), t); });
        for (const X509* certificate : revoked) {
            X509_REVOKED* entry = X509_REVOKED_new();
            X509_REVOKED_set_serialNumber(
                entry, const_cast<ASN1_INTEGER*>(X509_get0_serialNumber(certificate)));
            set(from, [&](ASN1_TIME* t) { X509_REVOKED_set_revocationDate(entry, t); });
            X509_CRL_add0_revoked(crl.get(), entry);
        }
        SLUICE_CHECK(X509_CRL_sign(crl.get(), self_.key.get(), EVP_sha256()) > 0);
        return pem_of([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, crl.get()); });
    }

    // About a certificate that this CA issued. `until` of zero: the response does not say.
    std::string ocsp(X509* about, int status = V_OCSP_CERTSTATUS_GOOD,
                     std::chrono::seconds from = -std::chrono::hours(1),
                     std::chrono::seconds until = std::chrono::hours(12)) const {
        OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
        OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), about, certificate());
        ASN1_TIME* this_update = at(from);
        ASN1_TIME* next_update = until.count() == 0 ? nullptr : at(until);
        OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_NOSTATUS, this_update,
                               this_update, next_update);
        OCSP_basic_sign(basic, certificate(), self_.key.get(), EVP_sha256(), nullptr, 0);
        OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
        uint8_t* der = nullptr;
        const int size = i2d_OCSP_RESPONSE(response, &der);
        std::string bytes(as_text(Bytes(der, static_cast<size_t>(size))));
        OPENSSL_free(der);
        ASN1_TIME_free(this_update);
        ASN1_TIME_free(next_update);
        OCSP_CERTID_free(id);
        OCSP_BASICRESP_free(basic);
        OCSP_RESPONSE_free(response);
        return bytes;
    }

  private:
    static ASN1_TIME* at(std::chrono::seconds offset) {
        return ASN1_TIME_set(nullptr, seconds_of(kTestNow + offset));
    }
    template <typename Use>
    static void set(std::chrono::seconds offset, Use use) {
        ASN1_TIME* time = at(offset);
        use(time);
        ASN1_TIME_free(time);
    }

    static Holder make(IssueOptions options, const Holder* issuer) {
        static long next_serial = 1000;
        Holder made;
        made.key = options.key ? std::move(options.key) : KeyPtr(EVP_EC_gen("P-256"));
        made.certificate.reset(X509_new());
        X509* const x = made.certificate.get();
        X509_set_version(x, 2);
        if (options.serial.empty()) {
            ASN1_INTEGER_set(X509_get_serialNumber(x), ++next_serial);
        } else {
            ASN1_INTEGER* number = s2i_ASN1_INTEGER(nullptr, options.serial.c_str());
            X509_set_serialNumber(x, number);
            ASN1_INTEGER_free(number);
        }
        set(options.from, [&](const ASN1_TIME* t) { X509_set1_notBefore(x, t); });
        set(options.until, [&](const ASN1_TIME* t) { X509_set1_notAfter(x, t); });
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const uint8_t*>(options.name.data()),
                                   static_cast<int>(options.name.size()), -1, 0);
        X509* const above = issuer != nullptr ? issuer->certificate.get() : x;
        X509_set_issuer_name(x, X509_get_subject_name(above));
        X509_set_pubkey(x, made.key.get());
        X509V3_CTX context;
        X509V3_set_ctx(&context, above, x, nullptr, nullptr, 0);
        for (const auto& [kind, value] : options.extensions) {
            X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
            SLUICE_CHECK(extension != nullptr);
            X509_add_ext(x, extension, -1);
            X509_EXTENSION_free(extension);
        }
        EVP_PKEY* const signer = issuer != nullptr ? issuer->key.get() : made.key.get();
        SLUICE_CHECK(X509_sign(x, signer, EVP_sha256()) > 0);
        return made;
    }

    Holder self_;
};

inline std::shared_ptr<contract::TrustConfig> make_trust(std::string anchors_pem,
                                                         std::string name = "clients") {
    auto trust = std::make_shared<contract::TrustConfig>();
    trust->name = std::move(name);
    trust->anchors_pem = std::move(anchors_pem);
    return trust;
}

}  // namespace sluice::tls::testing
