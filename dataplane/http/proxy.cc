#include "dataplane/http/proxy.h"

#include <algorithm>
#include <utility>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/core.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/http2_connection.h"
#include "dataplane/http/http2_upstream.h"

namespace sluice::http {

Core::Core(Connector& with_connector, const PeerDirectory& with_peers, Random& with_random,
           TimerWheel& with_timers, DropCounters& with_drops)
    : connector(with_connector),
      peers(with_peers),
      random(with_random),
      timers(with_timers),
      drops(with_drops),
      upstream(with_connector, with_timers, with_random, now),
      target(head_limits.request_line_max) {
    upstream.open_http2 = [this](Server& server) { return Http2Upstream::open(*this, server); };
}

Core::~Core() {
    while (http2.first != nullptr)
        http2.connections.destroy(http2.first);
    while (first != nullptr)
        connections.destroy(first);
    while (!http2.upstreams.empty())
        http2.upstreams.pop_back();
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
    const bool limited = std::ranges::any_of(core.site->snapshot->routes, [](const auto& route) {
        return route.rate_limit.has_value();
    });
    if (limited && core.limits == nullptr) {
        core.own_limits = std::make_unique<SourceLimits>(core.random);
        core.limits = core.own_limits.get();
    }
}

void Proxy::set_addresses(std::shared_ptr<const contract::AddressBook> book, Now now) {
    Core& core = impl_->core;
    core.now = now;
    core.upstream.set_addresses(std::move(book));
    if (core.site == nullptr) return;
    for (Backend& backend : core.site->backends)
        backend.refresh();
    core.upstream.sweep();
}

void Proxy::accept(std::unique_ptr<ByteStream> stream, const ClientFacts& facts, Now now) {
    Core& core = impl_->core;
    core.now = now;
    if (core.site == nullptr || core.draining ||
        core.connections_open() >= core.site->snapshot->limits.connections_max) {
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
    for (Http2Connection* connection = core.http2.first; connection != nullptr;
         connection = connection->next)
        connection->drain();
}

void Proxy::share_limits(SourceLimits& limits) {
    impl_->core.limits = &limits;
    impl_->core.own_limits.reset();
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
    Http2Connection* const last_http2 = core.http2.last_pending;
    for (bool done = last_http2 == nullptr; !done;) {
        Http2Connection* const connection = core.http2.first_pending;
        done = connection == last_http2;
        connection->run();
    }
    const bool unsent = Http2Session::end_turn_of_all(core);
    return unsent || core.first_pending != nullptr || core.http2.first_pending != nullptr;
}

size_t Proxy::connections_open() const {
    return impl_->core.connections_open();
}

void Proxy::report(contract::WorkerReport& report) const {
    const Core& core = impl_->core;
    report.requests = core.requests;
    if (core.site == nullptr) return;
    const contract::Snapshot& snapshot = *core.site->snapshot;
    for (size_t i = 0; i < snapshot.routes.size(); ++i)
        report.routes.push_back({snapshot.routes[i].name, core.site->route_requests[i]});
    core.upstream.for_each([&](const Server& server) {
        const ServerHealth& health = server.health();
        const ServerHealth::Standing standing = health.standing(core.now);
        const bool well = standing == ServerHealth::Standing::kServing;
        report.servers.push_back(
            {.backend = server.backend(),
             .url = server.config().url,
             .requests = server.requests,
             .failures = server.failures,
             .idle_connections = static_cast<uint32_t>(server.idle()),
             .active_requests = server.active(),
             .address = server.config().address,
             .state = std::string(name_of(standing)),
             .reason = well || health.reason().empty() ? server.last_failure() : health.reason(),
             .since = health.since(core.now)});
    });
}

}  // namespace sluice::http
