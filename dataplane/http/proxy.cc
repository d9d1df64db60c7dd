#include "dataplane/http/proxy.h"

#include <utility>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/core.h"
#include "dataplane/http/exchange.h"

namespace sluice::http {

Core::Core(Connector& with_connector, const PeerDirectory& with_peers, Random& with_random,
           TimerWheel& with_timers, DropCounters& with_drops)
    : connector(with_connector),
      peers(with_peers),
      random(with_random),
      timers(with_timers),
      drops(with_drops),
      upstream(with_timers),
      target(head_limits.request_line_max) {}

Core::~Core() {
    while (first != nullptr)
        connections.destroy(first);
    upstream.close();
}

struct Proxy::Impl {
    Core core;
};

Proxy::Proxy(Connector& connector, const PeerDirectory& peers, Random& random, TimerWheel& timers,
             DropCounters& drops)
    : impl_(new Impl{{connector, peers, random, timers, drops}}) {}

Proxy::~Proxy() = default;

void Proxy::apply(std::shared_ptr<const contract::Snapshot> snapshot, Now now) {
    Core& core = impl_->core;
    core.now = now;
    const contract::HttpLimits& limits = snapshot->limits;
    core.head_limits.head_bytes_max = limits.head_bytes_max;
    core.fields.resize(limits.header_count_max);
    core.buffers.set_head_bytes_max(limits.head_bytes_max);
    core.site =
        std::make_shared<Site>(std::move(snapshot), core.site.get(), core.upstream, core.random);
    core.upstream.sweep();
}

void Proxy::accept(std::unique_ptr<ByteStream> stream, const ClientFacts& facts, Now now) {
    Core& core = impl_->core;
    core.now = now;
    if (core.site == nullptr || core.draining ||
        core.connections.in_use() >= core.site->snapshot->limits.connections_max) {
        core.drops.add(DropReason::kConnectionLimit);
        return;
    }
    // Bytes may have come already, and then nobody would call.
    core.connections.make(core, std::move(stream), facts)->run();
}

void Proxy::drain(Now now) {
    Core& core = impl_->core;
    core.now = now;
    core.draining = true;
    core.upstream.close();
    for (ClientConnection* connection = core.first; connection != nullptr;) {
        ClientConnection* const next = connection->next;
        connection->drain();
        connection = next;
    }
}

void Proxy::set_access_log(AccessLog* log) {
    impl_->core.access_log = log;
}

void Proxy::set_now(Now now) {
    impl_->core.now = now;
}

bool Proxy::run_pending() {
    Core& core = impl_->core;
    // Those that pause again go behind the last of this round, and wait for the next one.
    ClientConnection* const last = core.last_pending;
    for (bool done = last == nullptr; !done;) {
        ClientConnection* const connection = core.first_pending;
        done = connection == last;
        connection->run();
    }
    return core.first_pending != nullptr;
}

size_t Proxy::connections_open() const {
    return impl_->core.connections.in_use();
}

void Proxy::report(contract::WorkerReport& report) const {
    const Core& core = impl_->core;
    report.requests = core.requests;
    if (core.site == nullptr) return;
    const contract::Snapshot& snapshot = *core.site->snapshot;
    for (size_t i = 0; i < snapshot.routes.size(); ++i)
        report.routes.push_back({snapshot.routes[i].name, core.site->route_requests[i]});
    core.upstream.for_each([&report](const Server& server) {
        report.servers.push_back({server.backend(), server.config().url, server.requests,
                                  server.failures, static_cast<uint32_t>(server.idle())});
    });
}

}  // namespace sluice::http
