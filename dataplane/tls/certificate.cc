#include "dataplane/tls/certificate.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/tls/pem.h"

namespace sluice::tls {
namespace {

Digest hash(const void* data, size_t size) {
    Digest digest{};
    SLUICE_CHECK(EVP_Digest(data, size, digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
    return digest;
}

}  // namespace

KeyReader::KeyReader(OSSL_LIB_CTX* library)
    : decoder_(OSSL_DECODER_CTX_new_for_pkey(&decoded_, "PEM", nullptr, nullptr,
                                             OSSL_KEYMGMT_SELECT_PRIVATE_KEY, library, nullptr)) {
    SLUICE_CHECK(decoder_ != nullptr);
    SLUICE_CHECK(OSSL_DECODER_CTX_set_pem_password_cb(decoder_.get(), no_password, nullptr) == 1);
}

KeyPtr KeyReader::read(const std::string& pem) {
    const BioPtr reader = reader_of(pem);
    // One block of the file after another: parameters may stand before the key.
    while (BIO_pending(reader.get()) > 0) {
        const long left = BIO_pending(reader.get());
        const bool read = OSSL_DECODER_from_bio(decoder_.get(), reader.get()) == 1;
        KeyPtr key(std::exchange(decoded_, nullptr));
        if (read && key) return key;
        if (BIO_pending(reader.get()) >= left) break;
    }
    return nullptr;
}

Result<std::shared_ptr<const Certificate>> Certificate::parse(
    const contract::CertificateConfig& config, OSSL_LIB_CTX* library, KeyReader& keys) {
    const ErrorQueueScope errors;
    const std::string name =
        "the certificate for " + (config.hosts.empty() ? "no host" : config.hosts.front());

    std::shared_ptr<Certificate> parsed(new Certificate);
    const BioPtr certificates = reader_of(config.certificate_pem);
    parsed->leaf_ = next_certificate(certificates.get(), library);
    if (!parsed->leaf_) return fail(name + " is not a PEM certificate: " + errors.reason());
    parsed->chain_.reset(sk_X509_new_null());
    while (X509Ptr link = next_certificate(certificates.get(), library)) {
        SLUICE_CHECK(sk_X509_push(parsed->chain_.get(), link.release()) > 0);
    }
    if (ERR_peek_error() != 0) return fail(name + " has a broken chain: " + errors.reason());

    parsed->key_ = keys.read(config.private_key_pem);
    if (!parsed->key_) {
        return fail(name + " has a key that is not an unencrypted PEM key: " + errors.reason());
    }
    if (X509_check_private_key(parsed->leaf_.get(), parsed->key_.get()) != 1) {
        return fail(name + " does not belong to its key: " + errors.reason());
    }
    SLUICE_CHECK(X509_digest(parsed->leaf_.get(), EVP_sha256(), parsed->digest_.data(), nullptr) ==
                 1);
    // The issuer is the next one of the chain, if that one is there at all.
    X509* const above = sk_X509_value(parsed->chain_.get(), 0);
    const bool is_issuer =
        above != nullptr && X509_check_issued(above, parsed->leaf_.get()) == X509_V_OK;
    parsed->staple_ =
        OcspStaple::parse(config.ocsp_response, parsed->leaf_.get(), is_issuer ? above : nullptr);
    return parsed;
}

bool Certificate::install(SSL* ssl) const {
    return SSL_use_cert_and_key(ssl, leaf_.get(), key_.get(), chain_.get(), 1) == 1;
}

CertificateSet::CertificateSet(std::vector<std::shared_ptr<const Certificate>> members)
    : certificates(std::move(members)) {
    std::vector<uint8_t> digests;
    for (const auto& certificate : certificates) {
        digests.insert(digests.end(), certificate->digest().begin(), certificate->digest().end());
    }
    session_context = hash(digests.data(), digests.size());
}

bool CertificateSet::has_key_type(int type) const {
    return std::ranges::any_of(
        certificates, [&](const auto& certificate) { return certificate->key_type() == type; });
}

}  // namespace sluice::tls
