// For tests: certificates made on the spot, so that none in the tree ever expires.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "dataplane/base/check.h"

namespace sluice::config {

struct TestCertificate {
    std::string certificate_pem;
    std::string key_pem;
};

inline std::string take_pem(BIO* bio) {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio, &bytes);
    std::string text(bytes, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
}

// Self-signed, P-256, valid from and to so many seconds from now. `names` is an OpenSSL list:
// "DNS:a.example,DNS:*.b.example". A passphrase encrypts the key.
inline TestCertificate make_test_certificate(const std::string& names, long from_s, long to_s,
                                             const char* passphrase = nullptr) {
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, void (*)(X509*)> made(X509_new(), X509_free);
    SLUICE_CHECK(key && made);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), from_s);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), to_s);
    X509_set_pubkey(made.get(), key.get());
    X509_NAME* const name = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(made.get(), name);
    X509_EXTENSION* const extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    SLUICE_CHECK(extension != nullptr);
    X509_add_ext(made.get(), extension, -1);
    X509_EXTENSION_free(extension);
    SLUICE_CHECK(X509_sign(made.get(), key.get(), EVP_sha256()) > 0);

    TestCertificate result;
    BIO* const certificate = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate, made.get());
    result.certificate_pem = take_pem(certificate);
    BIO* const private_key = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(private_key, key.get(), passphrase ? EVP_aes_128_cbc() : nullptr,
                                  nullptr, 0, nullptr, const_cast<char*>(passphrase));
    result.key_pem = take_pem(private_key);
    return result;
}

}  // namespace sluice::config
