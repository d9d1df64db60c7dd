// Who is calling, and whether a route lets them in. If in doubt, no.
// Thread: the worker's. Memory: none.
#pragma once

#include "dataplane/contract/snapshot.h"
#include "dataplane/http/proxy.h"

namespace sluice::http {

// Asked anew for each request, because peers come and go while connections stay.
struct Caller {
    // The name of the peer behind the tunnel; null for everybody else.
    const std::string* peer = nullptr;
};

// Both halves are needed: the socket proves that the packets came out of the tunnel, the peer table
// that the address belongs to somebody there now.
inline Caller identify(const ClientFacts& facts, const PeerDirectory& peers) {
    return {facts.through_tunnel ? peers.peer_name(facts.remote.address) : nullptr};
}

inline bool may_pass(contract::AuthMode mode, const Caller& caller) {
    switch (mode) {
        case contract::AuthMode::kPublic:
            return true;
        case contract::AuthMode::kTailscaleOnly:
            return caller.peer != nullptr;
        case contract::AuthMode::kTailscaleBypass:
        case contract::AuthMode::kMtlsStrict:
            return false;
    }
    return false;  // a mode that this code does not know
}

}  // namespace sluice::http
