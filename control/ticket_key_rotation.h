// The keys of TLS session tickets: made here, the same for all workers, and changed while the node
// runs, so that a key which leaks opens little. They are never written down; a node that starts
// again makes new ones, and its clients make full handshakes.
// Thread: the loop's. Who holds the result may read it anywhere; keys are wiped with the last
// holder.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::control {

class TicketKeyRotation {
  public:
    // How long a key that seals no more still opens: as long as a ticket is taken back.
    static constexpr std::chrono::hours kLifetime{24};

    explicit TicketKeyRotation(Random& random) : random_(random) {}

    // From now on a new key seals. The ones before it follow, newest first, as long as tickets that
    // they sealed may still come.
    std::shared_ptr<const contract::TicketKeys> rotate(Instant now);

  private:
    struct Retired {
        contract::TicketKey key;
        Instant since;
    };

    Random& random_;
    std::vector<Retired> retired_;  // newest first
    contract::TicketKey current_;
    bool has_current_ = false;
};

}  // namespace sluice::control
