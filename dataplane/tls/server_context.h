// What all TLS connections of one worker share: OpenSSL's library context and settings, the
// certificates, the keys of the session tickets, buffers, counters. Connections hold it, so it
// lives as long as the last one. Thread: the worker's. The library context is its own, so that
// workers never meet at one of OpenSSL's locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/certificate_index.h"
#include "dataplane/tls/cipher_buffer.h"
#include "dataplane/tls/client_policy.h"
#include "dataplane/tls/kernel_tls.h"
#include "dataplane/tls/openssl_ptr.h"
#include "dataplane/tls/peer_certificate.h"
#include "dataplane/tls/ticket_sealer.h"
#include "dataplane/tls/trust_store.h"
#include "dataplane/tls/write_keys.h"

namespace sluice::tls {

inline constexpr size_t kRecordMax = 16 * 1024;  // RFC 8446 section 5.1
// Records that leave in one write to the transport: the largest unit that Linux carries through its
// TCP stack is 64 KiB, so more would save nothing, and fewer costs more system calls for each byte.
inline constexpr size_t kBatchMax = 4 * kRecordMax;

// What OpenSSL's callbacks note about one connection.
struct ConnectionNotes {
    std::string server_name;  // canonical; empty: none was sent
    bool settled = false;     // the ClientHello came and a certificate was chosen
    bool unknown_name = false;
    bool asked_for_certificate = false;
    // Those that answer the name, until the handshake is done.
    std::shared_ptr<const CertificateSet> certificates;
    uint32_t idle_records = 0;  // received without data, since the stream last set it to zero
    WriteKeys write_keys;
    bool diverted = false;  // what OpenSSL encrypts goes nowhere: somebody else does it
    // What OpenSSL sends then that is not data.
    std::vector<ControlRecord> control;
};

class ServerContext {
  public:
    // `drops` outlives all connections.
    explicit ServerContext(DropCounters& drops);
    ~ServerContext();
    ServerContext(const ServerContext&) = delete;
    ServerContext& operator=(const ServerContext&) = delete;

    // See Contexts::apply.
    Result<void> apply(const contract::TlsConfig& config);

    // A connection that has not begun. `notes` outlives it.
    SslPtr new_connection(ConnectionNotes& notes);

    // See Contexts.
    void set_ticket_keys(std::shared_ptr<const contract::TicketKeys> keys);
    void offer_http2(bool offer) { offer_http2_ = offer; }
    void set_now(const Now& now) { now_ = now; }
    void report(contract::WorkerReport& report) const;

    // What the client of a finished handshake showed; null: nothing.
    std::unique_ptr<PeerCertificate> client_certificate(SSL* ssl);

    // Room for ciphertext on its way out. Borrowed while there is some, so idle connections hold
    // none; given back empty.
    CipherBuffer borrow_buffer();
    void return_buffer(CipherBuffer buffer);

    // Where small pieces are put together to one record; contents last until the next call.
    MutableBytes gather_space() { return gather_; }

    OSSL_LIB_CTX* library() { return library_.get(); }
    KernelTls& kernel_tls() { return kernel_tls_; }
    const KernelTls& kernel_tls() const { return kernel_tls_; }

    DropCounters& drops() { return drops_; }
    Counter& handshakes() { return handshakes_; }
    Counter& resumptions() { return resumptions_; }
    // Connections that took the encryption of their records into their own hands.
    Counter& takeovers() { return takeovers_; }

    // After how many records a TLS 1.3 sender takes new keys. RFC 8446 section 5.5 allows AES-GCM
    // 2^24.5 full records under one key; half a power below leaves room for counting from zero, and
    // one change of keys every 128 GiB costs nothing. Beyond the bound the cipher's guarantees
    // weaken. Variable so that tests need not send 128 GiB.
    uint64_t records_per_key = uint64_t{1} << 23;

  private:
    static int on_client_hello(SSL* ssl, int* alert, void* self);
    static int on_server_name(SSL* ssl, int* alert, void* self);
    static int on_alpn(SSL* ssl, const uint8_t** chosen, uint8_t* chosen_size,
                       const uint8_t* offered, unsigned int offered_size, void* self);

    static void on_secret(const SSL* ssl, const char* line);
    static void on_message(int sent, int version, int type, const void* bytes, size_t size,
                           SSL* ssl, void* self);

    // server_sessions.cc
    static int on_status_request(SSL* ssl, void* self);
    static int on_client_chain(X509_STORE_CTX* chain, void* self);
    static int on_ticket_key(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher,
                             EVP_MAC_CTX* mac, int seal);
    static int on_new_ticket(SSL* ssl, void* self);
    void configure_sessions();

    int settle(SSL* ssl, int* alert, ConnectionNotes& notes);
    bool set_up(SSL* ssl, const CertificateSet& set, const ClientPolicy* policy);
    void configure();
    Result<CertificateIndex::Entry> load(
        const std::shared_ptr<const contract::CertificateConfig>& config, KeyReader& keys);

    DropCounters& drops_;
    LibraryPtr library_;
    SslContextPtr context_;
    DigestPtr sha256_;
    TrustStores trusts_;
    TicketSealer tickets_;
    CertificateIndex certificates_;
    ClientPolicyIndex policies_;
    uint16_t min_version_ = TLS1_2_VERSION;
    std::vector<CipherBuffer> spare_buffers_;
    std::vector<uint8_t> gather_;
    Counter handshakes_;
    Counter resumptions_;
    Counter takeovers_;
    bool offer_http2_ = false;
    Now now_{};
    KernelTls kernel_tls_;
};

}  // namespace sluice::tls
