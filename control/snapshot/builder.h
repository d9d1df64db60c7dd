// From a checked configuration to the snapshot that workers serve: all of it or nothing.
// Thread: control's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "control/config/load.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::snapshot {

// SHA-256 over everything in a snapshot but its generation: equal content, equal digest.
using Digest = std::array<uint8_t, 32>;
Digest digest_of(const contract::Snapshot& snapshot);

// Makes snapshots and remembers the last one that was taken, so that what stays the same stays the
// same object: a certificate whose files did not change is the pointer that workers already hold.
class Builder {
  public:
    struct Built {
        std::shared_ptr<const contract::Snapshot> snapshot;
        bool changed = false;  // false: `snapshot` is the one that was taken last
    };

    // `loaded` holds no errors and a private key if there is a tunnel. Its generation is one more
    // than that of the last one taken, unless nothing changed.
    Built build(const config::Loaded& loaded) const;

    // The snapshot that was taken last with another tunnel in it: what wg(8) asks for.
    Built build_with(const contract::WireguardConfig& wireguard) const;

    // A first snapshot with a tunnel and nothing else. Precondition: none was taken yet.
    Built build_tunnel_only(const contract::WireguardConfig& wireguard) const;

    // The snapshot is being served from now on.
    void take(const Built& built);

    // Null before the first take().
    const std::shared_ptr<const contract::Snapshot>& current() const { return current_; }

  private:
    std::shared_ptr<const contract::Snapshot> current_;
    Digest digest_{};
};

}  // namespace sluice::snapshot
