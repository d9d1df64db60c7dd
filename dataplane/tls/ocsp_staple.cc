#include "dataplane/tls/ocsp_staple.h"

#include <openssl/ocsp.h>

#include "dataplane/tls/certificate_dates.h"

namespace sluice::tls {
namespace {

using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, FreeWith<OCSP_RESPONSE_free>>;
using BasicPtr = std::unique_ptr<OCSP_BASICRESP, FreeWith<OCSP_BASICRESP_free>>;
using IdPtr = std::unique_ptr<OCSP_CERTID, FreeWith<OCSP_CERTID_free>>;

// Clocks differ; a response that is newer than our clock by this much is still one of now.
constexpr std::chrono::minutes kSkew{5};

bool same_octets(const ASN1_OCTET_STRING* a, const ASN1_OCTET_STRING* b) {
    return ASN1_OCTET_STRING_cmp(a, b) == 0;
}

bool is_about(const OCSP_SINGLERESP* single, X509* leaf, X509* issuer) {
    auto* const id = const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single));
    ASN1_OBJECT* algorithm = nullptr;
    ASN1_OCTET_STRING* name_hash = nullptr;
    ASN1_OCTET_STRING* key_hash = nullptr;
    ASN1_INTEGER* serial = nullptr;
    if (OCSP_id_get0_info(&name_hash, &algorithm, &key_hash, &serial, id) != 1) return false;
    const EVP_MD* const hash = EVP_get_digestbyobj(algorithm);
    if (hash == nullptr) return false;
    const ASN1_BIT_STRING no_key{};
    const ASN1_BIT_STRING* const key =
        issuer != nullptr ? X509_get0_pubkey_bitstr(issuer) : &no_key;
    const IdPtr ours(
        OCSP_cert_id_new(hash, X509_get_issuer_name(leaf), key, X509_get0_serialNumber(leaf)));
    if (!ours) return false;
    ASN1_OCTET_STRING* our_name_hash = nullptr;
    ASN1_OCTET_STRING* our_key_hash = nullptr;
    ASN1_INTEGER* our_serial = nullptr;
    OCSP_id_get0_info(&our_name_hash, nullptr, &our_key_hash, &our_serial, ours.get());
    return same_octets(name_hash, our_name_hash) && ASN1_INTEGER_cmp(serial, our_serial) == 0 &&
           (issuer == nullptr || same_octets(key_hash, our_key_hash));
}

const char* read(const std::string& der, X509* leaf, X509* issuer, OcspStaple& staple) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(der.data());
    const ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(der.size())));
    if (!response) return "is not an OCSP response in DER";
    if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        return "is an error of the OCSP responder";
    }
    const BasicPtr basic(OCSP_response_get1_basic(response.get()));
    if (!basic) return "is an OCSP response of an unknown kind";
    for (int i = 0; i < OCSP_resp_count(basic.get()); ++i) {
        OCSP_SINGLERESP* const single = OCSP_resp_get0(basic.get(), i);
        if (!is_about(single, leaf, issuer)) continue;
        ASN1_GENERALIZEDTIME* from = nullptr;
        ASN1_GENERALIZEDTIME* until = nullptr;
        const int status = OCSP_single_get0_status(single, nullptr, nullptr, &from, &until);
        const auto this_update = wall_time_of(from);
        const auto next_update = wall_time_of(until);
        if (!this_update) return "has no valid date";
        if (!next_update) return "does not say until when it counts";
        staple.this_update = *this_update;
        staple.next_update = *next_update;
        if (status == V_OCSP_CERTSTATUS_REVOKED) return "says that the certificate is revoked";
        return status == V_OCSP_CERTSTATUS_GOOD ? "" : "does not know the certificate";
    }
    return "is about another certificate";
}

}  // namespace

OcspStaple OcspStaple::parse(const std::string& der, X509* leaf, X509* issuer) {
    const ErrorQueueScope errors;
    OcspStaple staple;
    if (der.empty()) return staple;
    staple.der = der;
    staple.fault = read(der, leaf, issuer, staple);
    return staple;
}

const char* OcspStaple::objection(WallTime now) const {
    if (der.empty()) return "there is none";
    if (*fault != '\0') return fault;
    if (now + kSkew < this_update) return "is not valid yet";
    return now >= next_update ? "has expired" : "";
}

}  // namespace sluice::tls
