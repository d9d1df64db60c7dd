#include "dataplane/tls/client_context.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/ip.h"
#include "dataplane/tls/certificate.h"
#include "dataplane/tls/pem.h"

namespace sluice::tls {

namespace {

constexpr size_t kRecordMax = 16 * 1024;  // RFC 8446 section 5.1

// As for clients (server_context.cc): ephemeral keys and authenticated ciphers only.
constexpr const char* kCiphers12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr int kSecurityLevel = 2;

std::shared_ptr<const VerifiedChain> chain_of(SSL* ssl) {
    auto chain = std::make_shared<VerifiedChain>();
    const STACK_OF(X509)* const verified = SSL_get0_verified_chain(ssl);
    for (int i = 0; i < sk_X509_num(verified); ++i) {
        X509* const each = sk_X509_value(verified, i);
        X509_up_ref(each);
        chain->emplace_back(each);
    }
    return chain;
}

// By OpenSSL's clock, as in the handshake that checked it.
bool is_current(const VerifiedChain& chain) {
    return std::ranges::all_of(chain, [](const X509Ptr& each) {
        return X509_cmp_current_time(X509_get0_notBefore(each.get())) < 0 &&
               X509_cmp_current_time(X509_get0_notAfter(each.get())) > 0;
    });
}

}  // namespace

Result<void> add_anchors(X509_STORE* store, const std::string& pem, OSSL_LIB_CTX* library) {
    const ErrorQueueScope errors;
    const BioPtr reader = reader_of(pem);
    size_t count = 0;
    while (const X509Ptr anchor = next_certificate(reader.get(), library)) {
        if (X509_STORE_add_cert(store, anchor.get()) != 1)
            return fail("a CA certificate is not accepted: " + errors.reason());
        ++count;
    }
    if (ERR_peek_error() != 0) return fail("the CA file is not valid PEM: " + errors.reason());
    if (count == 0) return fail("the CA file has no certificate");
    return {};
}

ClientContext::ClientContext(const contract::ServerTls& tls, std::shared_ptr<OSSL_LIB_CTX> library,
                             X509_STORE* machine_cas)
    : library_(std::move(library)),
      server_name_(tls.server_name),
      verify_(tls.verify),
      gather_(kRecordMax) {
    name_is_address_ = IpAddress::parse(server_name_).has_value();
    if (auto configured = configure(tls, machine_cas); !configured)
        fault_ = configured.error().message;
}

Result<void> ClientContext::configure(const contract::ServerTls& tls, X509_STORE* machine_cas) {
    const ErrorQueueScope errors;
    if (library_ == nullptr) return fail("OpenSSL has no memory for a library context");
    context_.reset(SSL_CTX_new_ex(library_.get(), nullptr, TLS_client_method()));
    SSL_CTX* const context = context_.get();
    if (context == nullptr) return fail("OpenSSL cannot make a context: " + errors.reason());
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_security_level(context, kSecurityLevel);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, kCiphers12) != 1)
        return fail("OpenSSL refuses the settings of TLS: " + errors.reason());
    SSL_CTX_set_app_data(context, this);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    if (auto trusted = trust(tls, machine_cas); !trusted) return trusted;
    return show(tls);
}

Result<void> ClientContext::trust(const contract::ServerTls& tls, X509_STORE* machine_cas) {
    SSL_CTX* const context = context_.get();
    if (!tls.verify) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
        return {};
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (server_name_.empty()) return fail("there is no name that its certificate should have");
    if (tls.ca_pem.empty()) {
        if (machine_cas == nullptr)
            return fail("there is no CA that its certificate may come from");
        SSL_CTX_set1_cert_store(context, machine_cas);
        return {};
    }
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    if (auto added = add_anchors(store, tls.ca_pem, library_.get()); !added) return added;
    // What is named there is trusted as it is, be it an intermediate CA or the server itself.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return {};
}

Result<void> ClientContext::show(const contract::ServerTls& tls) {
    if (tls.certificate_pem.empty()) return {};
    SSL_CTX* const context = context_.get();
    const ErrorQueueScope errors;
    const BioPtr reader = reader_of(tls.certificate_pem);
    const X509Ptr leaf = next_certificate(reader.get(), library_.get());
    if (leaf == nullptr || SSL_CTX_use_certificate(context, leaf.get()) != 1)
        return fail("our certificate is not accepted: " + errors.reason());
    while (X509Ptr next = next_certificate(reader.get(), library_.get())) {
        if (SSL_CTX_add0_chain_cert(context, next.get()) != 1)
            return fail("the chain of our certificate is not accepted: " + errors.reason());
        static_cast<void>(next.release());
    }
    KeyReader keys(library_.get());
    const KeyPtr key = keys.read(tls.private_key_pem);
    if (key == nullptr) return fail("the key of our certificate cannot be read");
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
        return fail("our key does not belong to our certificate: " + errors.reason());
    return {};
}

SslPtr ClientContext::new_connection(ClientPlace& place, std::string_view alpn) {
    if (!fault_.empty()) return nullptr;
    const ErrorQueueScope errors;
    SslPtr ssl(SSL_new(context_.get()));
    if (ssl == nullptr) return nullptr;
    SSL_set_connect_state(ssl.get());
    SSL_set_app_data(ssl.get(), &place);
    if (verify_ && name_is_address_) {
        if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), server_name_.c_str()) != 1)
            return nullptr;
    } else if (verify_) {
        // Names stand in the alternative names only (RFC 9525 section 2); "f*.example" is none.
        SSL_set_hostflags(
            ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (SSL_set1_host(ssl.get(), server_name_.c_str()) != 1) return nullptr;
    }
    if (!name_is_address_ && !server_name_.empty() &&
        SSL_set_tlsext_host_name(ssl.get(), server_name_.c_str()) != 1)
        return nullptr;
    const std::string offer = static_cast<char>(alpn.size()) + std::string(alpn);
    if (SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const uint8_t*>(offer.data()),
                            static_cast<unsigned int>(offer.size())) != 0)
        return nullptr;
    const auto found = sessions_.find(place.name);
    if (found == sessions_.end()) return ssl;
    if (!is_current(*found->second.chain)) {
        sessions_.erase(found);
        return ssl;
    }
    place.chain = found->second.chain;
    SSL_set_session(ssl.get(), found->second.session.get());
    return ssl;
}

int ClientContext::on_new_session(SSL* ssl, SSL_SESSION* session) {
    auto& self = *static_cast<ClientContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const auto& place = *static_cast<const ClientPlace*>(SSL_get_app_data(ssl));
    if (self.sessions_.size() >= kSessionsMax && !self.sessions_.contains(place.name)) return 0;
    // A new session out of an old one stands on what that stood on.
    auto chain = SSL_session_reused(ssl) == 1 ? place.chain : chain_of(ssl);
    if (chain == nullptr || (self.verify_ && chain->empty())) return 0;
    self.sessions_[place.name] = {SessionPtr(session), std::move(chain)};
    return 1;  // it is ours now
}

}  // namespace sluice::tls
