// Certificates and CAs of a snapshot.
#include <algorithm>
#include <map>
#include <memory>
#include <string_view>

#include "control/snapshot/compile.h"
#include "dataplane/base/check.h"

namespace sluice::snapshot {

namespace {

using Certificate = std::shared_ptr<const contract::CertificateConfig>;
// By their PEM text, because there may be thousands.
using CertificatesByText = std::multimap<std::string_view, Certificate>;

CertificatesByText index_certificates(const contract::Snapshot* snapshot) {
    CertificatesByText index;
    if (snapshot == nullptr) return index;
    for (const Certificate& certificate : snapshot->tls.certificates) {
        index.emplace(certificate->certificate_pem, certificate);
    }
    return index;
}

// The certificate that was there before for the same hosts with the same bytes, or a new one.
Certificate compile_certificate(const config::Certificate& from,
                                const config::CertificateFiles& files,
                                const CertificatesByText& before) {
    auto made = std::make_shared<contract::CertificateConfig>();
    for (const auto& host : from.hosts)
        made->hosts.push_back(host.value);
    made->certificate_pem = files.certificate_pem;
    made->private_key_pem = files.private_key_pem.text();
    made->ocsp_response = files.ocsp_response;
    made->not_after = files.not_after;
    const auto [first, last] = before.equal_range(made->certificate_pem);
    const auto same = std::find_if(first, last, [&](const auto& old) {
        return old.second->hosts == made->hosts &&
               old.second->private_key_pem == made->private_key_pem &&
               old.second->ocsp_response == made->ocsp_response;
    });
    if (same == last) return made;
    return same->second;
}

using Trust = std::shared_ptr<const contract::TrustConfig>;

Trust compile_trust(const config::TrustFiles& files, const contract::Snapshot* before) {
    auto made = std::make_shared<contract::TrustConfig>();
    made->name = files.name;
    made->anchors_pem = files.anchors_pem;
    made->crl_pem = files.crl_pem;
    made->crl_wanted = files.crl_wanted;
    made->fault = files.fault;
    if (before == nullptr) return made;
    const auto& trusts = before->tls.trusts;
    const auto same = std::find_if(trusts.begin(), trusts.end(), [&made](const Trust& old) {
        return old->name == made->name && old->anchors_pem == made->anchors_pem &&
               old->crl_pem == made->crl_pem && old->crl_wanted == made->crl_wanted &&
               old->fault == made->fault;
    });
    return same == trusts.end() ? made : *same;
}

}  // namespace

contract::TlsConfig compile_tls(const config::Loaded& loaded, const contract::Snapshot* before) {
    const config::Config& from = loaded.config;
    contract::TlsConfig to;
    to.min_version = from.tls.min_version.value;
    to.ktls = from.tls.ktls.value;
    SLUICE_CHECK(loaded.files.certificates.size() == from.certificates.size());
    const CertificatesByText certificates = index_certificates(before);
    for (size_t i = 0; i < from.certificates.size(); ++i) {
        to.certificates.push_back(
            compile_certificate(from.certificates[i], loaded.files.certificates[i], certificates));
    }
    for (const config::TrustFiles& trust : loaded.files.trusts)
        to.trusts.push_back(compile_trust(trust, before));
    return to;
}

}  // namespace sluice::snapshot
