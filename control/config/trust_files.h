// Judges what client certificates are checked against: CA certificates and revocation lists, both
// as PEM text; and answers of OCSP responders. With OpenSSL. Thread: any; no state.
// Sources: RFC 5280 sections 4.2.1.9 and 5.1, RFC 6960.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/base/time.h"

namespace sluice::config {

// Each returns an empty string, or what is wrong and what would be right, as the end of a sentence
// that begins with the file's name.
std::string anchors_fault(std::string_view pem, WallTime now);
// `anchors_pem` is without fault. A list that is out of date, or that none of these CAs has made,
// is a fault: nobody knows what was revoked since.
std::string crl_fault(std::string_view pem, std::string_view anchors_pem, WallTime now);
// `der` is a successful OCSP response.
std::string ocsp_fault(std::string_view der, WallTime now);

}  // namespace sluice::config
