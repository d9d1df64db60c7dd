// Judges a certificate and its private key, both as PEM text, with OpenSSL.
// Thread: any; no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/base/time.h"

namespace sluice::config {

struct CertificateFacts {
    WallTime not_before{};
    WallTime not_after{};
    std::string subject;
    std::vector<bool> covers;  // one for each host that was asked about
};

// Errors: the text holds no certificate, or one that is damaged.
Result<CertificateFacts> inspect_certificate(std::string_view pem,
                                             const std::vector<std::string>& hosts);

// Empty, or what is wrong with the key: no key, encrypted, not the certificate's.
std::string key_fault(std::string_view certificate_pem, std::string_view key_pem);

// "2026-11-22"
std::string date_text(WallTime time);

}  // namespace sluice::config
