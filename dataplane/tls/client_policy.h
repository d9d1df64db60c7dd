// Which connections are asked for a client certificate, and by whose CAs. Immutable once built.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/trust_store.h"

namespace sluice::tls {

struct ClientPolicy {
    // What the client is told: the subjects of the CAs. A hint only, so that browsers offer the
    // right certificate; null: it would be too long.
    NamesPtr names;
    // Of what all the trusts demand. Part of the session context: a session that began under other
    // demands does not resume.
    Digest digest{};
};

class ClientPolicyIndex {
  public:
    ClientPolicyIndex() = default;
    ClientPolicyIndex(const contract::TlsConfig& config, TrustStores& stores);

    // By canonical host; empty: the client sent no name. A name gets the trusts of its exact entry,
    // of the wildcard over it and of "*" together, because the request that follows may be for a
    // route of any of them. Null: not asked.
    const ClientPolicy* find(std::string_view host) const;

  private:
    using PolicyPtr = std::shared_ptr<const ClientPolicy>;
    using ByHost = std::unordered_map<std::string, PolicyPtr>;

    ByHost exact_;
    ByHost wildcard_;  // by what follows "*."
    PolicyPtr any_;
};

}  // namespace sluice::tls
