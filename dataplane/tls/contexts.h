// The TLS side of a snapshot: which certificate answers which server name, and with what settings.
// Not its job: checking certificates for people (control does), time-outs, sockets.
// Thread: one worker's; nothing is shared between workers, not even OpenSSL's library context, so
// its locks are never contended. Memory: about 350 KB for OpenSSL, and each certificate parsed once
// (7 KB and more), kept from one snapshot to the next while the certificate stays the same object;
// about 15 KB for an idle stream. Source: RFC 8446, RFC 5246, RFC 6066 section 3 (server name), RFC
// 7301 (ALPN), RFC 6066 section 8 (OCSP), RFC 5077 (tickets).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::tls {

class Contexts {
  public:
    // `drops` outlives the contexts and all streams; streams may outlive the contexts.
    explicit Contexts(DropCounters& drops);
    ~Contexts();
    Contexts(const Contexts&) = delete;
    Contexts& operator=(const Contexts&) = delete;

    // Takes on a snapshot's certificates. Streams that are open keep the ones they began with.
    // Error (a certificate that OpenSSL refuses, which control has checked before): nothing
    // changes.
    Result<void> apply(const contract::TlsConfig& config);

    // The server side of TLS over `transport`. The handshake runs inside: reads and writes give
    // kWouldBlock until it is done, kError if it fails (counted). `shutdown_write` sends
    // close_notify. The name that the client asks for chooses the certificate: an exact host, else
    // a one-label wildcard; a name that no certificate covers gets the alert unrecognized_name; no
    // name gets the first certificate. Of several certificates for one host the first of each type
    // of key counts, and the client gets the one that it can verify. TlsFacts::server_name is
    // without trailing dot. A FIN that no close_notify precedes is kError: anybody on the path can
    // send one.
    // TlsFacts::asked_for_certificate says whether the client was asked for a certificate; it need
    // not have shown one, and the handshake succeeds whatever it shows. What it is worth is asked
    // for each request, by ClientCertificate::prove().
    std::unique_ptr<ByteStream> accept(std::unique_ptr<ByteStream> transport);

    // Session tickets are sealed with the first key and opened with any. Before the first call, and
    // with no keys, there are no tickets.
    void set_ticket_keys(std::shared_ptr<const contract::TicketKeys> keys);
    // Whether ALPN may choose "h2": only once somebody can speak it. Counts for handshakes from now
    // on; false at first.
    void offer_http2(bool offer);
    // The time by which OCSP responses and ticket keys are judged; once per turn is enough. Before
    // the first call no OCSP response is sent.
    void set_now(const Now& now);
    // Fills in the handshakes, client CAs and OCSP responses.
    void report(contract::WorkerReport& report) const;

    // What the kernel can do for us, before the first snapshot: encrypt what is sent, and change
    // the keys of a connection.
    void set_kernel_tls(bool transmit, bool new_keys);

    uint64_t handshakes() const;       // completed
    uint64_t kernel_tls_uses() const;  // connections that the kernel encrypts, or did
    contract::Wanted kernel_tls_wanted() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::tls
