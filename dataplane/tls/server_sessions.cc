// What a handshake leaves for the next one (tickets), what the client shows (its certificate), and
// what we show of ours (OCSP): the rest of ServerContext.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/tls/server_context.h"

namespace sluice::tls {
namespace {

// What a client may send us as its certificates. Chains in use stay below 8 KiB; OpenSSL's own
// bound is 100 KiB, from anybody who asks for a host with client certificates.
constexpr long kClientChainMax = 32 * 1024;

// Of these, what goes into a session ticket, because the client sends the ticket back in its
// ClientHello, which may be 16 KiB long (HelloGate). Longer chains get no ticket, that is a full
// handshake for each connection.
constexpr size_t kTicketChainMax = 8 * 1024;

size_t size_of(X509* certificate) {
    return static_cast<size_t>(std::max(i2d_X509(certificate, nullptr), 0));
}

void append_der(X509* certificate, std::vector<uint8_t>& bytes) {
    const size_t before = bytes.size();
    bytes.resize(before + size_of(certificate));
    uint8_t* end = bytes.data() + before;
    if (end != bytes.data() + bytes.size()) i2d_X509(certificate, &end);
}

// One certificate after another, for this library context.
ChainPtr certificates_in(Bytes der, OSSL_LIB_CTX* library) {
    ChainPtr chain(sk_X509_new_null());
    const uint8_t* at = der.data();
    const uint8_t* const end = der.data() + der.size();
    while (at != end) {
        X509* certificate = X509_new_ex(library, nullptr);
        SLUICE_CHECK(certificate != nullptr);
        if (d2i_X509(&certificate, &at, end - at) == nullptr) {
            X509_free(certificate);
            break;
        }
        SLUICE_CHECK(sk_X509_push(chain.get(), certificate) > 0);
    }
    return chain;
}

}  // namespace

void ServerContext::configure_sessions() {
    SSL_CTX* context = context_.get();
    // Sessions live in tickets only. One ticket for each handshake: a client that wants more
    // connections at once gets one from each of them.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SLUICE_CHECK(SSL_CTX_set_num_tickets(context, 1) == 1);
    SLUICE_CHECK(SSL_CTX_set_max_early_data(context, 0) == 1);
    SSL_CTX_set_timeout(context, std::chrono::seconds(kTicketLifetime).count());
    SSL_CTX_set_app_data(context, this);
    SLUICE_CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key) == 1);
    SLUICE_CHECK(SSL_CTX_set_session_ticket_cb(context, on_new_ticket, nullptr, this) == 1);

    SSL_CTX_set_max_cert_list(context, kClientChainMax);
    SSL_CTX_set_cert_verify_callback(context, on_client_chain, this);
    SSL_CTX_set_tlsext_status_cb(context, on_status_request);
    SSL_CTX_set_tlsext_status_arg(context, this);
}

int ServerContext::on_ticket_key(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher,
                                 EVP_MAC_CTX* mac, int seal) {
    const auto& tickets =
        static_cast<ServerContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->tickets_;
    if (seal != 0) return tickets.seal(name, iv, cipher, mac);
    const int opened = tickets.open(name, iv, cipher, mac);
    // A ticket of TLS 1.3 should be used once (RFC 8446 appendix C.4), so each is replaced.
    return opened == 1 && SSL_version(ssl) >= TLS1_3_VERSION ? 2 : opened;
}

// The session keeps the client's certificate by itself, but not what came with it.
int ServerContext::on_new_ticket(SSL* ssl, void* self) {
    (void)self;
    if (SSL_session_reused(ssl) == 1) return 1;  // it is in the session already
    STACK_OF(X509)* const others = SSL_get_peer_cert_chain(ssl);
    std::vector<uint8_t> bytes;
    for (int i = 0; i < sk_X509_num(others); ++i)
        append_der(sk_X509_value(others, i), bytes);
    if (bytes.empty()) return 1;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), bytes.data(), bytes.size());
}

// Called with what the client sent, instead of a verdict: each route asks for its own, later. That
// the client holds the key, OpenSSL checks by itself.
int ServerContext::on_client_chain(X509_STORE_CTX* chain, void* self) {
    (void)self;
    auto* const ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    STACK_OF(X509)* const sent = X509_STORE_CTX_get0_untrusted(chain);
    size_t size = 0;
    for (int i = 0; i < sk_X509_num(sent); ++i)
        size += size_of(sk_X509_value(sent, i));
    if (size > kTicketChainMax) SSL_set_num_tickets(ssl, 0);
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}

// Certificates are parsed anew, because OpenSSL decodes those of a ticket for the library context
// that all workers share.
std::unique_ptr<PeerCertificate> ServerContext::client_certificate(SSL* ssl) {
    X509* const shown = SSL_get0_peer_certificate(ssl);
    if (shown == nullptr) return nullptr;
    const ErrorQueueScope errors;
    std::vector<uint8_t> bytes;
    append_der(shown, bytes);
    ChainPtr leaf = certificates_in(bytes, library_.get());
    if (sk_X509_num(leaf.get()) != 1) return nullptr;
    bytes.clear();
    if (SSL_session_reused(ssl) == 1) {
        void* kept = nullptr;
        size_t size = 0;
        SSL_SESSION_get0_ticket_appdata(SSL_get_session(ssl), &kept, &size);
        const auto* const from = static_cast<const uint8_t*>(kept);
        if (from != nullptr) bytes.assign(from, from + size);
    } else {
        STACK_OF(X509)* const others = SSL_get_peer_cert_chain(ssl);
        for (int i = 0; i < sk_X509_num(others); ++i)
            append_der(sk_X509_value(others, i), bytes);
    }
    return std::make_unique<PeerCertificate>(trusts_, X509Ptr(sk_X509_shift(leaf.get())),
                                             certificates_in(bytes, library_.get()));
}

int ServerContext::on_status_request(SSL* ssl, void* self) {
    const auto& notes = *static_cast<ConnectionNotes*>(SSL_get_app_data(ssl));
    const X509* const chosen = SSL_get_certificate(ssl);
    if (!notes.certificates) return SSL_TLSEXT_ERR_NOACK;
    for (const auto& certificate : notes.certificates->certificates) {
        const OcspStaple& staple = certificate->staple();
        if (certificate->leaf() != chosen) continue;
        if (*staple.objection(static_cast<ServerContext*>(self)->now_.wall) != '\0') break;
        void* const copy = OPENSSL_memdup(staple.der.data(), staple.der.size());
        if (copy == nullptr) break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(staple.der.size()));
        certificate->staples_sent().add();
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

void ServerContext::set_ticket_keys(std::shared_ptr<const contract::TicketKeys> keys) {
    tickets_.set_keys(std::move(keys), now_.mono);
}

void ServerContext::report(contract::WorkerReport& report) const {
    report.tls_handshakes = handshakes_.value();
    report.tls_resumptions = resumptions_.value();
    trusts_.report(report.anchors);
    for (const auto& entry : certificates_.entries()) {
        const Certificate& certificate = *entry.alone->certificates.front();
        const OcspStaple& staple = certificate.staple();
        if (staple.der.empty()) continue;
        const std::string reason = staple.objection(now_.wall);
        report.staples.push_back(
            {.host = entry.config->hosts.empty() ? "" : entry.config->hosts.front(),
             .usable = reason.empty(),
             .reason = reason,
             .next_update = staple.next_update,
             .sent = certificate.staples_sent().value()});
    }
}

}  // namespace sluice::tls
