// What a worker serves: a snapshot, and what is derived from it once so that no request has to.
// A request holds the site that it began with until it ends.
// Thread: the worker's.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/http/backend.h"
#include "dataplane/http/route_action.h"
#include "dataplane/http/route_table.h"
#include "dataplane/http/upstream_pool.h"

namespace sluice::http {

struct Site {
    // `before`, if any, is the site that this one replaces: routes keep their counts by name.
    Site(std::shared_ptr<const contract::Snapshot> with_snapshot, const Site* before,
         UpstreamPool& upstream, Random& random);

    std::shared_ptr<const contract::Snapshot> snapshot;
    RouteTable routes;
    std::vector<RouteAction> actions;  // by route
    std::vector<uint64_t> route_requests;
    std::vector<Backend> backends;
};

}  // namespace sluice::http
