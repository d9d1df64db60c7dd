// An OCSP response out of a file, to be sent along with the certificate that it is about, as long
// as it is good. Its signature is the client's to check: a wrong one harms nobody but costs the
// client a question of its own. Source: RFC 6066 section 8, RFC 6960 section 4.2.
#pragma once

#include <string>

#include "dataplane/base/time.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

struct OcspStaple {
    // `der` empty: there is none. `issuer` null: the chain does not hold it, and then the response
    // is recognised by the issuer's name and the serial number alone.
    static OcspStaple parse(const std::string& der, X509* leaf, X509* issuer);

    // Empty: it may be sent at this time. Otherwise why not; of static storage.
    const char* objection(WallTime now) const;

    std::string der;         // empty: none
    const char* fault = "";  // not good, whatever the time
    WallTime this_update{};
    WallTime next_update{};
};

}  // namespace sluice::tls
