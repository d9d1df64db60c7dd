// What all connections of one worker share. Internal to this room.
// Thread: the worker's. Ownership: the proxy's.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/base/source_limits.h"
#include "dataplane/http/access_log.h"
#include "dataplane/http/answer.h"
#include "dataplane/http/buffer_pool.h"
#include "dataplane/http/http2_shared.h"
#include "dataplane/http/object_pool.h"
#include "dataplane/http/proxy.h"
#include "dataplane/http/request_target.h"
#include "dataplane/http/site.h"
#include "dataplane/http/upstream_pool.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

class ClientConnection;
class Exchange;

struct Core {
    Core(Connector& with_connector, const PeerDirectory& with_peers, Random& with_random,
         TimerWheel& with_timers, DropCounters& with_drops);
    ~Core();

    Connector& connector;
    const PeerDirectory& peers;
    Random& random;
    TimerWheel& timers;
    DropCounters& drops;

    Now now{};
    HttpDate date;
    BufferPool buffers;
    UpstreamPool upstream;
    std::shared_ptr<Site> site;  // null before the first snapshot
    wire::Http1Limits head_limits;
    bool draining = false;
    SourceLimits* limits = nullptr;  // shared by all workers; null: the proxy's own are made
    std::unique_ptr<SourceLimits> own_limits;
    AccessLog* access_log = nullptr;  // null: nobody wants to know
    uint64_t requests = 0;

    // For the head that is being looked at. A head is taken apart and written anew within one call,
    // so one place for all connections is enough.
    std::vector<wire::Http1Field> fields;
    TargetStorage target;

    ObjectPool<ClientConnection> connections;
    ObjectPool<Exchange> exchanges;
    ClientConnection* first = nullptr;          // all connections
    ClientConnection* first_pending = nullptr;  // those that paused for fairness, oldest first
    ClientConnection* last_pending = nullptr;
    Http2Shared http2;

    // Those of clients; a stream of HTTP/2 is none of its own.
    size_t connections_open() const {
        return connections.in_use() - http2.streams + http2.connections.in_use();
    }
};

}  // namespace sluice::http
