// The parts of a snapshot that serve HTTP, from a checked configuration. What did not change is the
// object that the snapshot before had. Thread: control's.
#pragma once

#include "control/config/load.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::snapshot {

// `before` may be null.
contract::TlsConfig compile_tls(const config::Loaded& loaded, const contract::Snapshot* before);

// Also the services of forward-auth, each behind a backend that no route can name.
void compile_backends(const config::Loaded& loaded, const contract::Snapshot* before,
                      contract::Snapshot& to);

// Precondition: the backends are there. Adds which hosts are asked for client certificates.
void compile_routes(const config::Loaded& loaded, contract::Snapshot& to);

}  // namespace sluice::snapshot
