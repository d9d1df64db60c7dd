#include "control/config/trust_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <memory>
#include <vector>

#include "control/config/certificate_files.h"

namespace sluice::config {

namespace {

struct Free {
    void operator()(BIO* bio) const { BIO_free(bio); }
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(X509_CRL* list) const { X509_CRL_free(list); }
    void operator()(OCSP_RESPONSE* response) const { OCSP_RESPONSE_free(response); }
    void operator()(OCSP_BASICRESP* response) const { OCSP_BASICRESP_free(response); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

Owned<BIO> reader(std::string_view text) {
    if (text.size() > INT_MAX) return nullptr;
    return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Everything of one kind in a PEM text. False: something in it is damaged.
template <typename T, typename Read>
bool read_all(std::string_view pem, Read read, std::vector<Owned<T>>& into) {
    const Owned<BIO> from = reader(pem);
    if (!from) return false;
    ERR_clear_error();
    while (T* const item = read(from.get(), nullptr, nullptr, nullptr))
        into.emplace_back(item);
    const unsigned long last = ERR_peek_last_error();
    ERR_clear_error();
    return ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

// Negative: `time` is before `now`. A time that cannot be read counts as past.
int compare(const ASN1_TIME* time, WallTime now) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
    const int order = ASN1_TIME_cmp_time_t(time, seconds.count());
    return order == -2 ? -1 : order;
}

}  // namespace

std::string anchors_fault(std::string_view pem, WallTime now) {
    std::vector<Owned<X509>> anchors;
    const bool whole = read_all(pem, PEM_read_bio_X509, anchors);
    if (!whole || anchors.empty()) {
        return "holds no CA certificate or a damaged one; it must be PEM text that begins with "
               "\"-----BEGIN CERTIFICATE-----\"";
    }
    bool any_valid = false;
    for (const Owned<X509>& anchor : anchors) {
        // 1 and 3: a CA by its basic constraints, or a self-signed one of version 1, which has
        // none.
        const int kind = X509_check_ca(anchor.get());
        ERR_clear_error();
        if (kind != 1 && kind != 3) {
            return "holds a certificate that is none of a CA; write the CA's own";
        }
        any_valid = any_valid || compare(X509_get0_notAfter(anchor.get()), now) > 0;
    }
    return any_valid ? "" : "holds a CA certificate that has expired; put a new one in its place";
}

std::string crl_fault(std::string_view pem, std::string_view anchors_pem, WallTime now) {
    std::vector<Owned<X509_CRL>> lists;
    const bool whole = read_all(pem, PEM_read_bio_X509_CRL, lists);
    if (!whole || lists.empty()) {
        return "holds no revocation list or a damaged one; it must be PEM text that begins with "
               "\"-----BEGIN X509 CRL-----\"";
    }
    std::vector<Owned<X509>> anchors;
    read_all(anchors_pem, PEM_read_bio_X509, anchors);
    bool any_of_ours = false;
    for (const Owned<X509_CRL>& list : lists) {
        const ASN1_TIME* const end = X509_CRL_get0_nextUpdate(list.get());
        if (end != nullptr && compare(end, now) <= 0) {
            return "holds a revocation list that has expired; fetch the CA's current one";
        }
        any_of_ours =
            any_of_ours ||
            std::any_of(anchors.begin(), anchors.end(), [&list](const Owned<X509>& anchor) {
                EVP_PKEY* const key = X509_get0_pubkey(anchor.get());
                return key != nullptr && X509_CRL_verify(list.get(), key) == 1;
            });
        ERR_clear_error();
    }
    return any_of_ours ? "" : "holds no revocation list of this CA; fetch the one that it signed";
}

std::string ocsp_fault(std::string_view der, WallTime now) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
    const Owned<OCSP_RESPONSE> response(
        d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(der.size())));
    const Owned<OCSP_BASICRESP> basic(response && OCSP_response_status(response.get()) ==
                                                      OCSP_RESPONSE_STATUS_SUCCESSFUL
                                          ? OCSP_response_get1_basic(response.get())
                                          : nullptr);
    ERR_clear_error();
    if (!basic || OCSP_resp_count(basic.get()) == 0) {
        return "holds no OCSP response; it must be in DER form, as "
               "`openssl ocsp -respout FILE` writes it";
    }
    ASN1_GENERALIZEDTIME* next = nullptr;
    OCSP_single_get0_status(OCSP_resp_get0(basic.get(), 0), nullptr, nullptr, nullptr, &next);
    if (next != nullptr && compare(next, now) <= 0) {
        return "holds an OCSP response that has expired; fetch a new one";
    }
    return {};
}

}  // namespace sluice::config
