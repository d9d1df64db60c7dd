// Certificates out of PEM text. They belong to the library context that they are read for.
#pragma once

#include <string>

#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

// For PEM readers: without it OpenSSL would ask for the password of an encrypted entry on the
// terminal.
int no_password(char* buffer, int size, int writing, void* data);

// Over the text, which outlives it.
BioPtr reader_of(const std::string& pem);

// Null with an empty error queue: the end. Null with an entry in it: not a certificate.
X509Ptr next_certificate(BIO* reader, OSSL_LIB_CTX* library);

}  // namespace sluice::tls
