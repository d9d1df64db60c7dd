// Who is calling, and whether a route lets them in. If in doubt, no.
//
// Asked anew for each request, because peers, dates and revocation lists come and go while
// connections stay.
// Thread: the worker's. Memory: none. Source: RFC 9110 section 15.5.20 (421), RFC 6125, SPIFFE
// X.509-SVID section 4.
#pragma once

#include <cstdint>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/proxy.h"

namespace sluice::http {

struct Caller {
    // The name of the peer behind the tunnel; null for everybody else.
    const std::string* peer = nullptr;
};

// Both halves are needed: the socket proves that the packets came out of the tunnel, the peer table
// that the address belongs to somebody there now.
inline Caller identify(const ClientFacts& facts, const PeerDirectory& peers) {
    return {facts.through_tunnel ? peers.peer_name(facts.remote.address) : nullptr};
}

struct Access {
    enum class Verdict : uint8_t {
        kPass,
        kAsk,     // the route's auth service
        kRefuse,  // with this status
    };
    Verdict verdict = Verdict::kRefuse;
    uint16_t status = 403;
    std::string_view sentence = "this address is not open to you";
    // What was proved for this request; null: nothing.
    ClientCertificate* certificate = nullptr;
};

// `host`: of the request, as routed. `client`: the connection that it came by; null: none of ours
// that could prove anything.
Access decide(const contract::RouteConfig& route, const contract::Snapshot& snapshot,
              const Caller& caller, ByteStream* client, std::string_view host, WallTime now);

// Whether the certificate is on one of the policy's lists, or the policy has none.
bool is_listed(const contract::ClientCertificatePolicy& policy,
               const ClientCertificate& certificate);

}  // namespace sluice::http
