// For tests and benchmarks of this room: certificates made on the spot, a transport in memory with
// limits of every kind, and OpenSSL as the client at its other end.
#pragma once

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/check.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/contexts.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls::testing {

enum class KeyKind : uint8_t { kEcdsa, kRsa };

inline std::string pem_of(const std::function<void(BIO*)>& write) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    write(bio.get());
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    return {text, static_cast<size_t>(size)};
}

inline X509Ptr make_leaf(EVP_PKEY* key, std::string_view name) {
    static int serial = 0;
    X509Ptr leaf(X509_new());
    X509_set_version(leaf.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(leaf.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(leaf.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(leaf.get()), 24 * 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(leaf.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const uint8_t*>(name.data()),
                               static_cast<int>(name.size()), -1, 0);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(leaf.get()));
    X509_set_pubkey(leaf.get(), key);
    SLUICE_CHECK(X509_sign(leaf.get(), key, EVP_sha256()) > 0);
    return leaf;
}

// Self-signed; its common name is the first host.
inline std::shared_ptr<const contract::CertificateConfig> make_certificate(
    std::vector<std::string> hosts, KeyKind kind = KeyKind::kEcdsa) {
    // RSA keys take long to make, and nothing here depends on their being different.
    static const KeyPtr kRsaKey(EVP_RSA_gen(2048));
    const KeyPtr ec_key(kind == KeyKind::kEcdsa ? EVP_EC_gen("P-256") : nullptr);
    EVP_PKEY* key = kind == KeyKind::kEcdsa ? ec_key.get() : kRsaKey.get();
    auto config = std::make_shared<contract::CertificateConfig>();
    config->hosts = std::move(hosts);
    const X509Ptr leaf = make_leaf(key, config->hosts.empty() ? "-" : config->hosts.front());
    config->certificate_pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, leaf.get()); });
    config->private_key_pem = pem_of([&](BIO* bio) {
        PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    return config;
}

// Keys of session tickets, different ones for each call.
inline contract::TicketKey make_ticket_key() {
    static uint8_t count = 0;
    ++count;
    contract::TicketKey key;
    key.name.fill(count);
    std::ranges::fill(key.cipher_key.span(), static_cast<uint8_t>(count + 1));
    std::ranges::fill(key.mac_key.span(), static_cast<uint8_t>(count + 2));
    return key;
}
inline std::shared_ptr<const contract::TicketKeys> make_ticket_keys(
    std::vector<contract::TicketKey> keys = {make_ticket_key()}) {
    auto made = std::make_shared<contract::TicketKeys>();
    made->keys = std::move(keys);
    return made;
}

// What lies between client and server; the test holds it and plays the network.
struct Wire {
    std::string to_server;
    std::string to_client;
    bool client_finished = false;  // the client's FIN
    bool server_finished = false;  // ours
    bool broken = false;           // reset
    bool destroyed = false;        // the server's end is gone
    size_t room = SIZE_MAX;        // how much `to_client` may hold
    size_t server_writes = 0;      // calls that moved something
    // The most that one read or write of the server moves; 0: would block.
    std::function<size_t()> read_limit = [] { return SIZE_MAX; };
    std::function<size_t()> write_limit = [] { return SIZE_MAX; };
    StreamHandler* handler = nullptr;

    void ready() const {
        if (handler != nullptr) handler->on_stream_ready();
    }
};

class MemoryTransport final : public ByteStream {
  public:
    explicit MemoryTransport(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
    ~MemoryTransport() override {
        wire_->handler = nullptr;
        wire_->destroyed = true;
    }

    void set_handler(StreamHandler* handler) override { wire_->handler = handler; }

    IoResult read(MutableBytes into) override {
        if (wire_->broken) return {IoStatus::kError, 0};
        std::string& from = wire_->to_server;
        if (from.empty() && wire_->client_finished) return {IoStatus::kEnd, 0};
        const size_t size = std::min({into.size(), from.size(), wire_->read_limit()});
        if (size == 0) return {IoStatus::kWouldBlock, 0};
        std::copy_n(from.begin(), size, into.begin());
        from.erase(0, size);
        return {IoStatus::kOk, size};
    }

    IoResult write(std::span<const Bytes> pieces) override {
        if (wire_->broken || wire_->server_finished) return {IoStatus::kError, 0};
        const size_t room = wire_->room - std::min(wire_->room, wire_->to_client.size());
        size_t left = std::min(room, wire_->write_limit());
        size_t moved = 0;
        for (const Bytes piece : pieces) {
            const size_t size = std::min(left, piece.size());
            wire_->to_client.append(as_text(piece.first(size)));
            left -= size;
            moved += size;
        }
        if (moved == 0) return {IoStatus::kWouldBlock, 0};
        ++wire_->server_writes;
        return {IoStatus::kOk, moved};
    }

    bool flush() override { return true; }
    void shutdown_write() override { wire_->server_finished = true; }

  private:
    std::shared_ptr<Wire> wire_;
};

struct ClientOptions {
    std::optional<std::string> server_name = {};
    int min_version = TLS1_2_VERSION;
    int max_version = TLS1_3_VERSION;
    std::string alpn = {};        // in the form of the wire
    std::string ciphers12 = {};   // empty: OpenSSL's default
    std::string ciphers13 = {};   // likewise
    std::string signatures = {};  // likewise
    std::string groups = {};      // likewise
    SSL_SESSION* session = nullptr;
    X509* certificate = nullptr;  // with its key, and what is sent along with it
    EVP_PKEY* key = nullptr;
    std::vector<X509*> chain = {};
    bool ask_ocsp = false;
};

class Client {
  public:
    explicit Client(const ClientOptions& options = {}) {
        context_.reset(SSL_CTX_new(TLS_client_method()));
        SSL_CTX* context = context_.get();
        SSL_CTX_set_min_proto_version(context, options.min_version);
        SSL_CTX_set_max_proto_version(context, options.max_version);
        SSL_CTX_set_session_cache_mode(context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION*) {
            ++static_cast<Client*>(SSL_get_app_data(ssl))->tickets_;
            return 0;
        });
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
        if (!options.ciphers12.empty()) {
            SLUICE_CHECK(SSL_CTX_set_cipher_list(context, options.ciphers12.c_str()) == 1);
        }
        if (!options.ciphers13.empty()) {
            SLUICE_CHECK(SSL_CTX_set_ciphersuites(context, options.ciphers13.c_str()) == 1);
        }
        if (!options.signatures.empty()) {
            SLUICE_CHECK(SSL_CTX_set1_sigalgs_list(context, options.signatures.c_str()) == 1);
        }
        if (!options.groups.empty()) {
            SLUICE_CHECK(SSL_CTX_set1_groups_list(context, options.groups.c_str()) == 1);
        }
        ssl_.reset(SSL_new(context));
        SSL_set_app_data(ssl(), this);
        if (options.server_name) set_server_name(*options.server_name);
        if (!options.alpn.empty()) {
            SSL_set_alpn_protos(ssl(), reinterpret_cast<const uint8_t*>(options.alpn.data()),
                                static_cast<unsigned int>(options.alpn.size()));
        }
        if (options.session != nullptr) SSL_set_session(ssl(), options.session);
        if (options.certificate != nullptr) {
            SLUICE_CHECK(SSL_use_certificate(ssl(), options.certificate) == 1);
            SLUICE_CHECK(SSL_use_PrivateKey(ssl(), options.key) == 1);
            for (X509* link : options.chain)
                SLUICE_CHECK(SSL_add1_chain_cert(ssl(), link) == 1);
        }
        if (options.ask_ocsp) SSL_set_tlsext_status_type(ssl(), TLSEXT_STATUSTYPE_ocsp);
        in_ = BIO_new(BIO_s_mem());
        out_ = BIO_new(BIO_s_mem());
        BIO_set_mem_eof_return(in_, -1);
        SSL_set_bio(ssl(), in_, out_);
        SSL_set_connect_state(ssl());
    }

    // Sends what there is to send, takes what came. True: something moved.
    bool step(Wire& wire) {
        const bool had_input = !wire.to_client.empty();
        if (had_input && !deaf) {
            BIO_write(in_, wire.to_client.data(), static_cast<int>(wire.to_client.size()));
            wire.to_client.clear();
        }
        size_t moved = had_input && !deaf ? 1 : 0;
        const ErrorQueueScope errors;
        if (!SSL_is_init_finished(ssl())) {
            const int result = SSL_do_handshake(ssl());
            if (result != 1 && SSL_get_error(ssl(), result) == SSL_ERROR_SSL) note_failure();
        }
        if (SSL_is_init_finished(ssl()) && !failed) moved += exchange();
        moved += collect(wire);
        return moved > 0;
    }

    // Moves what OpenSSL wants to send to the wire.
    size_t collect(Wire& wire) {
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(out_, &bytes);
        wire.to_server.append(bytes, static_cast<size_t>(size));
        (void)BIO_reset(out_);
        return static_cast<size_t>(size);
    }

    SSL* ssl() { return ssl_.get(); }
    SSL_CTX* context() { return context_.get(); }
    bool connected() { return SSL_is_init_finished(ssl()) == 1 && !failed; }
    bool got_close_notify() { return (SSL_get_shutdown(ssl()) & SSL_RECEIVED_SHUTDOWN) != 0; }
    int tickets() const { return tickets_; }

    // The server certificate's common name.
    std::string certificate_name() {
        X509* certificate = SSL_get0_peer_certificate(ssl());
        if (certificate == nullptr) return {};
        std::array<char, 256> text{};
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text.data(),
                                  static_cast<int>(text.size()));
        return text.data();
    }
    int certificate_key_type() {
        X509* certificate = SSL_get0_peer_certificate(ssl());
        return certificate == nullptr ? 0 : EVP_PKEY_get_base_id(X509_get0_pubkey(certificate));
    }

    std::string to_send;
    std::string received;
    std::vector<size_t> read_sizes;  // one for each record
    bool failed = false;
    bool deaf = false;  // takes nothing from the wire
    int failure = 0;    // SSL_R_…; alerts are SSL_AD_REASON_OFFSET + the alert

  private:
    // The name goes in without OpenSSL's own checks, which refuse some that a hostile client sends.
    void set_server_name(const std::string& name) {
        SLUICE_CHECK(SSL_set_tlsext_host_name(ssl(), name.c_str()) == 1);
    }

    void note_failure() {
        failed = true;
        failure = ERR_GET_REASON(ERR_peek_error());
    }

    size_t exchange() {
        size_t moved = 0;
        while (!to_send.empty()) {
            size_t written = 0;
            if (SSL_write_ex(ssl(), to_send.data(), to_send.size(), &written) != 1) break;
            to_send.erase(0, written);
            moved += written;
        }
        std::array<char, 16 * 1024> buffer{};
        while (true) {
            size_t size = 0;
            if (SSL_read_ex(ssl(), buffer.data(), buffer.size(), &size) != 1) {
                if (SSL_get_error(ssl(), 0) == SSL_ERROR_SSL) note_failure();
                return moved;
            }
            received.append(buffer.data(), size);
            read_sizes.push_back(size);
            moved += size;
        }
    }

    SslContextPtr context_;
    SslPtr ssl_;
    BIO* in_ = nullptr;  // both belong to ssl_
    BIO* out_ = nullptr;
    int tickets_ = 0;
};

// The server's user: reads all there is, writes what it has, as an edge-triggered handler must.
class Application final : public StreamHandler {
  public:
    explicit Application(std::unique_ptr<ByteStream> accepted) : stream(std::move(accepted)) {
        stream->set_handler(this);
    }

    void on_stream_ready() override {
        ++calls;
        if (read_all && !read_some()) return;
        write_some();
    }

    // False: the stream is broken.
    bool read_some() {
        while (status == IoStatus::kWouldBlock || status == IoStatus::kOk) {
            const IoResult result = stream->read({buffer_.data(), read_size});
            status = result.status;
            received.append(as_text(Bytes(buffer_).first(result.bytes)));
            if (status == IoStatus::kWouldBlock) break;
        }
        return status != IoStatus::kError;
    }

    void write_some() {
        while (!to_send.empty()) {
            const IoResult result = stream->write(std::array{as_bytes(to_send)});
            write_status = result.status;
            if (result.status != IoStatus::kOk) return;
            to_send.erase(0, result.bytes);
        }
        if (finish) stream->shutdown_write();
    }

    std::unique_ptr<ByteStream> stream;
    std::string to_send;
    std::string received;
    IoStatus status = IoStatus::kWouldBlock;
    IoStatus write_status = IoStatus::kOk;
    size_t read_size = 64 * 1024;
    bool read_all = true;
    bool finish = false;  // shut down after writing
    int calls = 0;

  private:
    std::vector<uint8_t> buffer_ = std::vector<uint8_t>(64 * 1024);
};

// One connection with both its ends.
class Link {
  public:
    explicit Link(Contexts& contexts, const ClientOptions& options = {})
        : client(options), app(contexts.accept(std::make_unique<MemoryTransport>(wire))) {}

    // Until nothing moves any more. Limits that say "would block" at random get several chances.
    void run() {
        for (int idle = 0; idle < 20;) {
            const size_t before = app.received.size() + wire->server_writes;
            bool moved = client.step(*wire);
            wire->ready();
            moved |= app.received.size() + wire->server_writes != before;
            idle = moved ? 0 : idle + 1;
        }
    }

    const TlsFacts& facts() const { return *app.stream->tls_facts(); }

    std::shared_ptr<Wire> wire = std::make_shared<Wire>();
    Client client;
    Application app;
};

}  // namespace sluice::tls::testing
