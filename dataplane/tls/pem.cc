#include "dataplane/tls/pem.h"

#include <openssl/pem.h>

#include "dataplane/base/check.h"

namespace sluice::tls {

int no_password(char* buffer, int size, int writing, void* data) {
    (void)buffer;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

BioPtr reader_of(const std::string& pem) {
    return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

X509Ptr next_certificate(BIO* reader, OSSL_LIB_CTX* library) {
    X509* certificate = X509_new_ex(library, nullptr);
    SLUICE_CHECK(certificate != nullptr);
    if (PEM_read_bio_X509(reader, &certificate, no_password, nullptr) != nullptr) {
        return X509Ptr(certificate);
    }
    X509_free(certificate);  // null already if the parser got as far as using it
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) ERR_clear_error();
    return nullptr;
}

}  // namespace sluice::tls
