#include "control/config/certificate_files.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <climits>
#include <ctime>
#include <memory>
#include <optional>

namespace sluice::config {

namespace {

struct Free {
    void operator()(BIO* bio) const { BIO_free(bio); }
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

Owned<BIO> reader(std::string_view text) {
    if (text.size() > INT_MAX) return nullptr;
    return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Without this OpenSSL would ask for a passphrase on the terminal and wait for it.
int no_passphrase(char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

Owned<X509> read_certificate(BIO* from) {
    bool asked = false;
    return Owned<X509>(PEM_read_bio_X509(from, nullptr, no_passphrase, &asked));
}

std::optional<WallTime> time_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
    const time_t seconds = timegm(&parts);
    // WallTime counts nanoseconds in 64 bits, to the year 2262; "no end" (9999, RFC 5280) is later.
    static constexpr time_t kLast = INT64_MAX / 1'000'000'000;
    if (seconds > kLast) return WallTime::max();
    if (seconds < 0) return WallTime{};
    return WallTime(std::chrono::seconds(seconds));
}

// A wildcard is matched as text, because X509_check_host() takes "*.x" for no host name.
bool covers(X509* certificate, const std::string& host) {
    std::string asked = host;
    // Any label will do in the place of "*": only a wildcard of the certificate covers all of them.
    if (asked.starts_with("*.")) asked.replace(0, 1, "any-label");
    return X509_check_host(certificate, asked.data(), asked.size(),
                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

std::string subject_of(X509* certificate) {
    std::array<char, 256> line{};
    const X509_NAME* const name = X509_get_subject_name(certificate);
    const int length =
        X509_NAME_get_text_by_NID(name, NID_commonName, line.data(), static_cast<int>(line.size()));
    return length > 0 ? std::string(line.data(), static_cast<size_t>(length)) : std::string();
}

}  // namespace

Result<CertificateFacts> inspect_certificate(std::string_view pem,
                                             const std::vector<std::string>& hosts) {
    const Owned<BIO> from = reader(pem);
    const Owned<X509> leaf = from ? read_certificate(from.get()) : nullptr;
    ERR_clear_error();
    if (!leaf) {
        return fail(
            "holds no certificate; it must be PEM text that begins with "
            "\"-----BEGIN CERTIFICATE-----\", the server's own certificate first");
    }
    // The chain behind it: read to the end, so that a damaged one is found here, not by a client.
    while (read_certificate(from.get())) {
    }
    const unsigned long last = ERR_peek_last_error();
    ERR_clear_error();
    if (ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
        return fail("holds a damaged certificate after the first; write the chain again");
    }
    CertificateFacts facts;
    const auto not_before = time_of(X509_get0_notBefore(leaf.get()));
    const auto not_after = time_of(X509_get0_notAfter(leaf.get()));
    if (!not_before || !not_after) return fail("holds a certificate without valid dates");
    facts.not_before = *not_before;
    facts.not_after = *not_after;
    facts.subject = subject_of(leaf.get());
    for (const std::string& host : hosts)
        facts.covers.push_back(covers(leaf.get(), host));
    return facts;
}

std::string key_fault(std::string_view certificate_pem, std::string_view key_pem) {
    const Owned<BIO> from = reader(key_pem);
    bool asked = false;
    const Owned<EVP_PKEY> key(
        from ? PEM_read_bio_PrivateKey(from.get(), nullptr, no_passphrase, &asked) : nullptr);
    ERR_clear_error();
    if (asked) {
        return "is encrypted with a passphrase; write it without one, for example with "
               "`openssl pkey -in FILE -out FILE`";
    }
    if (!key) {
        return "holds no private key; it must be PEM text that begins with "
               "\"-----BEGIN PRIVATE KEY-----\"";
    }
    const Owned<BIO> certificate_from = reader(certificate_pem);
    const Owned<X509> leaf = certificate_from ? read_certificate(certificate_from.get()) : nullptr;
    const bool fits = leaf && X509_check_private_key(leaf.get(), key.get()) == 1;
    ERR_clear_error();
    return fits ? "" : "does not belong to the certificate; name the key that it was issued for";
}

std::string date_text(WallTime time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch());
    const time_t count = seconds.count();
    std::tm parts{};
    gmtime_r(&count, &parts);
    std::array<char, 16> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%d", &parts);
    return text.data();
}

}  // namespace sluice::config
