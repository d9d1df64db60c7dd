#include "dataplane/http/upstream_pool.h"

#include <algorithm>
#include <array>

#include "dataplane/base/check.h"
#include "dataplane/http/sticky.h"

namespace sluice::http {

ServerConnection::ServerConnection(Server& server, std::unique_ptr<ByteStream> stream)
    : server_(server), stream_(std::move(stream)), identity_(server.identity_) {}

ServerConnection::~ServerConnection() {
    stream_->set_handler(nullptr);
    if (const std::string_view why = stream_->failure(); !why.empty()) server_.last_failure_ = why;
}

bool ServerConnection::is_silent() {
    std::array<uint8_t, 1> byte;
    return stream_->read(byte).status == IoStatus::kWouldBlock && stream_->flush();
}

// Only while it waits: a working connection's handler is its exchange.
void ServerConnection::on_stream_ready() {
    if (!is_silent()) server_.drop(this);
}

void ServerConnection::on_timer(Now) {
    server_.drop(this);
}

Server::Server(UpstreamPool& pool, std::string backend)
    : pool_(pool), backend_(std::move(backend)) {}

Server::~Server() {
    retire();
}

std::unique_ptr<ServerConnection> Server::take_idle(bool looked_at) {
    while (!idle_.empty()) {
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        --pool_.idle_;
        connection->cancel();
        connection->stream_->set_handler(nullptr);
        connection->reused_ = true;
        if (!looked_at || connection->is_silent()) return connection;
    }
    return nullptr;
}

void Server::give_back(std::unique_ptr<ServerConnection> connection, Now now) {
    if (retired_ || pool_.closed_ || connection->identity_ != identity_ ||
        idle_.size() >= UpstreamPool::kIdlePerServer || pool_.idle_ >= UpstreamPool::kIdleMax)
        return;
    connection->stream_->set_handler(connection.get());
    pool_.timers_.set(*connection, now.mono + idle_timeout_);
    idle_.push_back(std::move(connection));
    ++pool_.idle_;
}

void Server::request_ended(RequestOutcome outcome, uint16_t status, Now now) {
    --active_;
    if (outcome == RequestOutcome::kNotReached) avoid_until_ = now.mono + kAvoid;
    if (outcome == RequestOutcome::kNotReached || outcome == RequestOutcome::kBroke) ++failures;
    switch (outcome) {
        case RequestOutcome::kAnswered: {
            const bool good = status < 502 || status > 504;
            const std::string_view reason =
                good ? std::string_view() : "requests were answered with 502, 503 or 504";
            return health_.request_ended(good, reason, now);
        }
        case RequestOutcome::kNotReached:
            return health_.request_ended(false, "it could not be connected to", now);
        case RequestOutcome::kBroke:
            return health_.request_ended(false, "it gave no whole answers", now);
        case RequestOutcome::kGivenUp:
            break;
    }
}

void Server::probed(bool good, std::string_view reason, const contract::HealthCheck& check,
                    Now now) {
    health_.probed(good, reason, check, now);
}

void Server::drop(ServerConnection* connection) {
    const auto found =
        std::ranges::find(idle_, connection, &std::unique_ptr<ServerConnection>::get);
    SLUICE_CHECK(found != idle_.end());
    const auto dropped = std::move(*found);
    idle_.erase(found);
    --pool_.idle_;
}

void Server::close_idle() {
    pool_.idle_ -= idle_.size();
    idle_.clear();
}

void Server::retire() {
    retired_ = true;
    probe_.reset();
    close_idle();
}

void Server::configure(const contract::BackendConfig& backend,
                       const contract::ServerConfig& config) {
    if (protocol_ != backend.protocol || config_.tls != config.tls) {
        close_idle();
        ++identity_;
    }
    config_ = config;
    protocol_ = backend.protocol;
    idle_timeout_ = backend.idle_timeout;
    const bool checked =
        backend.health.has_value() && config.kind != contract::ServerKind::kWelcome;
    health_.configure(backend.ejection, checked);
    if (!checked) {
        probe_.reset();
    } else if (probe_ == nullptr || probe_->check() != *backend.health) {
        probe_ = std::make_unique<HealthProbe>(pool_, *this, *backend.health);
    }
}

std::shared_ptr<Server> UpstreamPool::server(const contract::BackendConfig& backend,
                                             const contract::ServerConfig& config) {
    // Where it is, not the whole configuration: a new weight is no reason to lose connections.
    const std::string place = config.url + " " + config.address.text();
    const auto [found, is_new] = servers_.try_emplace({backend.name, place});
    Entry& entry = found->second;
    entry.wanted = true;
    if (is_new) {
        entry.server = std::make_shared<Server>(*this, backend.name);
        entry.server->sticky_token_ = http::sticky_token(backend.name, place);
    }
    entry.server->configure(backend, config);
    return entry.server;
}

std::span<const IpAddress> UpstreamPool::addresses_of(const std::string& name) const {
    if (book_ == nullptr) return {};
    const auto found = book_->addresses.find(name);
    if (found == book_->addresses.end()) return {};
    return found->second;
}

void UpstreamPool::sweep() {
    std::erase_if(servers_, [](const auto& item) {
        if (!item.second.wanted) item.second.server->retire();
        return !item.second.wanted;
    });
    for (auto& [key, entry] : servers_)
        entry.wanted = false;
}

void UpstreamPool::close() {
    closed_ = true;
    for (auto& [key, entry] : servers_) {
        entry.server->probe_.reset();
        entry.server->close_idle();
    }
}

}  // namespace sluice::http
