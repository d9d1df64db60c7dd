// What a client certificate says of its holder: names to compare with allow-lists, and the two
// texts for backends. Pure functions; the certificate is whatever a stranger has sent.
// Source: RFC 5280 section 4.2.1.6 (subjectAltName), SPIFFE X509-SVID section 2 (URIs), and for
// the texts Traefik's passTLSClientCert middleware, whose header form backends already read.
#pragma once

#include <string>
#include <vector>

#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

struct CertificateNames {
    // As it stands in the certificate. Empty if a single one of them is not plain printable ASCII:
    // who demands "exactly one" must not be shown the others alone.
    std::vector<std::string> uris;
    std::vector<std::string>
        dns;  // lower case, no trailing dot; what is not a host name is left out
    std::vector<std::string> emails;  // the domain in lower case; what is not ASCII is left out
    std::string serial;               // hexadecimal, lower case, no leading zeros
    std::string subject;              // as in forwarded_info_of(), before it is escaped; for people
};

CertificateNames names_of(X509* certificate);

// Headers beyond this are more than most servers take (4 to 8 KiB for all headers together); longer
// texts are empty, so that the backend sees no identity instead of a cut one.
inline constexpr size_t kForwardedMax = 6 * 1024;

// The certificate as PEM without delimiters and line ends. The certificates that came with it are
// not in it, other than in Traefik's: nothing proves that they belong to it.
std::string forwarded_pem_of(X509* certificate);

// Subject="DC=..,C=..,ST=..,L=..,O=..,OU=..,SN=..,CN=..";Issuer="..";SerialNumber="decimal";
// NB="unix time";NA="unix time";SAN="dns,emails,addresses,uris", escaped like the query of a URL.
std::string forwarded_info_of(X509* certificate);

}  // namespace sluice::tls
