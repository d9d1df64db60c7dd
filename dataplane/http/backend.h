// A backend as a worker uses it: its servers, as they are now, and which of them gets a request.
//
// Servers that are configured by name have one entry for each address, each with the weight of the
// configured one; none while no address is known. refresh() makes the list anew.
//
// Who is picked, the first of these that there is among servers that were not tried yet:
//   1. well: neither ejected nor unhealthy, and not avoided because a connection to it just failed
//   2. well, but avoided
//   3. ejected for its failures, but not found unhealthy by checks
//   4. anybody: if all are in trouble, the trouble may be over, and no answer is the worst one
// Weight 0 is never picked.
//
// Thread: the worker's. Ownership: the site's; servers are shared with the pool and with requests.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/balancer.h"
#include "dataplane/http/upstream_pool.h"

namespace sluice::http {

class Backend {
  public:
    // `with_config` and `pool` outlive the backend.
    Backend(const contract::BackendConfig& with_config, UpstreamPool& pool, Random& random);

    // Its servers as the configuration and the pool's address book say now.
    void refresh();

    // Null: there is none, or all of them are among `tried`.
    std::shared_ptr<Server> pick(std::span<const std::shared_ptr<Server>> tried, Now now);
    // The server that a client's sticky cookie names, if it is well and has a weight; or null.
    std::shared_ptr<Server> sticky_server(std::string_view token, Now now) const;

    const contract::BackendConfig& config;
    std::vector<std::shared_ptr<Server>> servers;

  private:
    enum class Tier : uint8_t { kWell, kAvoided, kEjected, kAny };
    std::optional<uint32_t> pick(Tier tier, std::span<const std::shared_ptr<Server>> tried,
                                 Now now);

    UpstreamPool& pool_;
    Random& random_;
    Balancer balancer_;
};

}  // namespace sluice::http
