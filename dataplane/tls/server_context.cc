#include "dataplane/tls/server_context.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aes_gcm.h"
#include "dataplane/tls/server_name.h"

namespace sluice::tls {
namespace {

// Ephemeral keys and authenticated ciphers only. AES-128 first, because it is the fastest where the
// processor has AES instructions; a client that puts ChaCha20 first, as those without them do, gets
// ChaCha20.
constexpr const char* kCiphers13 =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr const char* kCiphers12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr const char* kGroups = "X25519:P-256";
constexpr std::string_view kAlpnHttp1 = "http/1.1";
constexpr std::string_view kAlpnHttp2 = "h2";

// The last is RFC 8446 appendix D.4: a dummy message for the sake of old middleboxes.
constexpr uint64_t kOptions = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                              SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                              SSL_OP_ENABLE_MIDDLEBOX_COMPAT;

// 112 bits: no RSA keys below 2048, no SHA-1. Debian's default too; fixed here so that the
// machine's openssl.cnf does not decide it.
constexpr int kSecurityLevel = 2;

// Enough for the connections that have ciphertext waiting at one time on a worker that is not
// overloaded; the others allocate theirs.
constexpr size_t kSpareBuffersMax = 16;
// A batch with the headers, types and tags of its records (at most 256 bytes each, RFC 8446 section
// 5.2), so that a borrowed buffer never grows.
constexpr size_t kBufferSize = kBatchMax + (kBatchMax / kRecordMax) * 256;

}  // namespace

ServerContext::ServerContext(DropCounters& drops)
    : drops_(drops),
      library_(OSSL_LIB_CTX_new()),
      sha256_(EVP_MD_fetch(library_.get(), "SHA256", nullptr)),
      trusts_(library_.get()),
      tickets_(library_.get()),
      gather_(kRecordMax) {
    const ErrorQueueScope errors;
    SLUICE_CHECK(library_ != nullptr && sha256_ != nullptr);
    context_.reset(SSL_CTX_new_ex(library_.get(), nullptr, TLS_server_method()));
    SLUICE_CHECK(context_ != nullptr);
    configure();
}

ServerContext::~ServerContext() = default;

void ServerContext::configure() {
    SSL_CTX* context = context_.get();
    SSL_CTX_clear_options(context, SSL_CTX_get_options(context));
    SSL_CTX_set_options(context, kOptions);
    SSL_CTX_set_security_level(context, kSecurityLevel);
    SLUICE_CHECK(SSL_CTX_set_min_proto_version(context, min_version_) == 1);
    SLUICE_CHECK(SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1);
    SLUICE_CHECK(SSL_CTX_set_ciphersuites(context, kCiphers13) == 1);
    SLUICE_CHECK(SSL_CTX_set_cipher_list(context, kCiphers12) == 1);
    SLUICE_CHECK(SSL_CTX_set1_groups_list(context, kGroups) == 1);
    // Without AUTO_RETRY a read comes back before it asks the transport for more messages that
    // carry no data, so that their number can be bounded.
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    // One read of the transport for each record instead of one for its header and one for the rest.
    SSL_CTX_set_read_ahead(context, 1);

    configure_sessions();
    SSL_CTX_set_client_hello_cb(context, on_client_hello, this);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, this);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, this);
    SSL_CTX_set_msg_callback(context, on_message);
}

Result<CertificateIndex::Entry> ServerContext::load(
    const std::shared_ptr<const contract::CertificateConfig>& config, KeyReader& keys) {
    auto certificate = Certificate::parse(*config, library_.get(), keys);
    if (!certificate) return std::unexpected(certificate.error());
    const ErrorQueueScope errors;
    // What a handshake will do, so that a key which is too weak is found now.
    ConnectionNotes unused;
    const SslPtr trial = new_connection(unused);
    if (!(*certificate)->install(trial.get())) {
        return fail("the certificate for " +
                    (config->hosts.empty() ? "no host" : config->hosts.front()) +
                    " is not accepted: " + errors.reason());
    }
    return CertificateIndex::Entry{
        config, std::make_shared<const CertificateSet>(
                    std::vector<std::shared_ptr<const Certificate>>{std::move(*certificate)})};
}

Result<void> ServerContext::apply(const contract::TlsConfig& config) {
    const auto& current = certificates_.entries();
    if (!std::ranges::equal(config.certificates, current, {}, {},
                            &CertificateIndex::Entry::config)) {
        std::unordered_map<const contract::CertificateConfig*, const CertificateIndex::Entry*> kept;
        kept.reserve(current.size());
        for (const auto& entry : current)
            kept.emplace(entry.config.get(), &entry);

        KeyReader keys(library_.get());
        std::vector<CertificateIndex::Entry> next;
        next.reserve(config.certificates.size());
        for (const auto& certificate : config.certificates) {
            if (const auto known = kept.find(certificate.get()); known != kept.end()) {
                next.push_back(*known->second);
                continue;
            }
            auto loaded = load(certificate, keys);
            if (!loaded) return std::unexpected(loaded.error());
            next.push_back(std::move(*loaded));
        }
        certificates_ = CertificateIndex(std::move(next));
    }
    kernel_tls_.wanted = config.ktls;
    // Costs each handshake two microseconds, so only where somebody can use the keys.
    const bool handed_on = kernel_tls_.usable() || crypto::AesGcmKey::why_not().empty();
    SSL_CTX_set_keylog_callback(context_.get(), handed_on ? on_secret : nullptr);
    trusts_.apply(config.trusts);
    policies_ = ClientPolicyIndex(config, trusts_);
    if (config.min_version != min_version_) {
        SLUICE_CHECK(SSL_CTX_set_min_proto_version(context_.get(), config.min_version) == 1);
        min_version_ = config.min_version;
    }
    return {};
}

SslPtr ServerContext::new_connection(ConnectionNotes& notes) {
    SslPtr ssl(SSL_new(context_.get()));
    SLUICE_CHECK(ssl != nullptr);
    SLUICE_CHECK(SSL_set_app_data(ssl.get(), &notes) == 1);
    SSL_set_accept_state(ssl.get());
    return ssl;
}

CipherBuffer ServerContext::borrow_buffer() {
    if (spare_buffers_.empty()) {
        CipherBuffer buffer;
        buffer.reserve(kBufferSize);
        return buffer;
    }
    CipherBuffer buffer = std::move(spare_buffers_.back());
    spare_buffers_.pop_back();
    return buffer;
}

void ServerContext::return_buffer(CipherBuffer buffer) {
    if (spare_buffers_.size() >= kSpareBuffersMax || buffer.capacity() > kBufferSize) return;
    buffer.clear();
    spare_buffers_.push_back(std::move(buffer));
}

// Runs before OpenSSL looks for a session to resume, so the session context of the chosen
// certificates decides which tickets count. (The later server-name callback would be too late for
// that.) A second ClientHello, after a HelloRetryRequest, comes here again.
int ServerContext::on_client_hello(SSL* ssl, int* alert, void* self) {
    auto& notes = *static_cast<ConnectionNotes*>(SSL_get_app_data(ssl));
    return static_cast<ServerContext*>(self)->settle(ssl, alert, notes);
}

int ServerContext::settle(SSL* ssl, int* alert, ConnectionNotes& notes) {
    std::string name;
    const uint8_t* extension = nullptr;
    size_t extension_size = 0;
    const bool named =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &extension_size) == 1;
    if (named) {
        const auto asked = host_name_in({extension, extension_size});
        if (!asked) {
            *alert = SSL_AD_DECODE_ERROR;
            return SSL_CLIENT_HELLO_ERROR;
        }
        if (auto host = canonical_host(*asked)) name = std::move(*host);
    }
    if (notes.settled) {
        // The decision stands; a client that asks for something else now is lying (RFC 8446 4.1.2).
        if (name == notes.server_name) return SSL_CLIENT_HELLO_SUCCESS;
        *alert = SSL_AD_ILLEGAL_PARAMETER;
        return SSL_CLIENT_HELLO_ERROR;
    }

    const CertificateSet* set = named ? certificates_.find(name) : certificates_.without_name();
    if (set == nullptr) {
        notes.unknown_name = named;
        *alert = named ? SSL_AD_UNRECOGNIZED_NAME : SSL_AD_HANDSHAKE_FAILURE;
        return SSL_CLIENT_HELLO_ERROR;
    }
    const ClientPolicy* const policy = policies_.find(name);
    if (!set_up(ssl, *set, policy)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    notes.certificates = set->shared_from_this();
    notes.asked_for_certificate = policy != nullptr;
    notes.server_name = std::move(name);
    notes.settled = true;
    return SSL_CLIENT_HELLO_SUCCESS;
}

// A session resumes under the same certificates and, where the client is asked for one of its own,
// the same demands on it: nobody resumes from a host without them into one with, and a reload that
// changes what a host demands ends its sessions.
bool ServerContext::set_up(SSL* ssl, const CertificateSet& set, const ClientPolicy* policy) {
    for (const auto& certificate : set.certificates) {
        if (!certificate->install(ssl)) return false;
    }
    Digest context = set.session_context;
    if (policy != nullptr) {
        std::vector<uint8_t> bytes(context.begin(), context.end());
        bytes.insert(bytes.end(), policy->digest.begin(), policy->digest.end());
        bytes.push_back(1);  // a list of certificates is a multiple of 32 long, so this is none
        if (EVP_Digest(bytes.data(), bytes.size(), context.data(), nullptr, sha256_.get(),
                       nullptr) != 1) {
            return false;
        }
        // Not FAIL_IF_NO_PEER_CERT: public routes may stand beside those that demand one.
        SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
        if (policy->names) SSL_set0_CA_list(ssl, SSL_dup_CA_list(policy->names.get()));
    }
    return SSL_set_session_id_context(ssl, context.data(),
                                      static_cast<unsigned int>(context.size())) == 1;
}

// Runs when the version is settled. With TLS 1.3 a ticket is harmless: each resumption makes fresh
// keys (only psk_dhe_ke is spoken), so a ticket key that leaks later opens nothing. A TLS 1.2
// ticket holds the very secret of its session, so there must be an end to the key that seals it;
// and resumed sessions of TLS 1.2 are not bound to the certificate of the client unless both sides
// have RFC 7627, so whoever is asked for one gets none.
int ServerContext::on_server_name(SSL* ssl, int* alert, void* self) {
    (void)alert;
    const auto& server = *static_cast<ServerContext*>(self);
    const auto& notes = *static_cast<ConnectionNotes*>(SSL_get_app_data(ssl));
    if (!server.tickets_.has_keys()) SSL_set_num_tickets(ssl, 0);
    const bool old_ticket =
        server.tickets_.keys_are_fresh(server.now_.mono) && !notes.asked_for_certificate;
    if (SSL_version(ssl) < TLS1_3_VERSION && !old_ticket) SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return SSL_TLSEXT_ERR_OK;  // and the ServerHello says that the name was used
}

// The server's preference counts (RFC 7301 section 3.2): HTTP/2 where both speak it.
int ServerContext::on_alpn(SSL* ssl, const uint8_t** chosen, uint8_t* chosen_size,
                           const uint8_t* offered, unsigned int offered_size, void* self) {
    (void)ssl;
    const bool http2 = static_cast<ServerContext*>(self)->offer_http2_;
    // What is spoken, the best last. Clients that speak nothing younger than HTTP/1.0 say so, too.
    static constexpr std::array<std::string_view, 3> kSpoken = {"http/1.0", kAlpnHttp1, kAlpnHttp2};
    const std::span spoken(kSpoken.data(), http2 ? 3 : 2);
    Bytes found;
    ptrdiff_t best = -1;
    Bytes rest(offered, offered_size);
    while (!rest.empty()) {
        const size_t size = rest[0];
        if (size == 0 || size > rest.size() - 1) break;
        const Bytes protocol = rest.subspan(1, size);
        rest = rest.subspan(1 + size);
        const auto known = std::ranges::find(spoken, as_text(protocol));
        if (known == spoken.end() || known - spoken.begin() <= best) continue;
        best = known - spoken.begin();
        found = protocol;
    }
    if (found.empty()) return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
    *chosen = found.data();
    *chosen_size = static_cast<uint8_t>(found.size());
    return SSL_TLSEXT_ERR_OK;
}

void ServerContext::on_secret(const SSL* ssl, const char* line) {
    static_cast<ConnectionNotes*>(SSL_get_app_data(ssl))->write_keys.note_secret(line);
}

// The outer type of a record in TLS 1.2 is in its header; in TLS 1.3 the header always says "data",
// and the true type comes out of the encrypted part.
void ServerContext::on_message(int sent, int version, int type, const void* bytes, size_t size,
                               SSL* ssl, void* self) {
    (void)version;
    (void)self;
    if (size == 0) return;
    auto& notes = *static_cast<ConnectionNotes*>(SSL_get_app_data(ssl));
    if (sent != 0) return note_sent(notes, type, {static_cast<const uint8_t*>(bytes), size});
    if (type != SSL3_RT_HEADER && type != SSL3_RT_INNER_CONTENT_TYPE) return;
    if (*static_cast<const uint8_t*>(bytes) == SSL3_RT_APPLICATION_DATA) return;
    ++notes.idle_records;
}

}  // namespace sluice::tls
