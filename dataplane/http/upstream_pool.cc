#include "dataplane/http/upstream_pool.h"

#include <algorithm>
#include <array>

#include "dataplane/base/check.h"

namespace sluice::http {

ServerConnection::ServerConnection(Server& server, std::unique_ptr<ByteStream> stream)
    : server_(server), stream_(std::move(stream)) {}

ServerConnection::~ServerConnection() {
    stream_->set_handler(nullptr);
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

Server::Server(UpstreamPool& pool, std::string backend, contract::ServerConfig config)
    : pool_(pool), backend_(std::move(backend)), config_(std::move(config)) {}

Server::~Server() {
    retire();
}

std::unique_ptr<ServerConnection> Server::take_idle() {
    if (idle_.empty()) return nullptr;
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    --pool_.idle_;
    connection->cancel();
    connection->stream_->set_handler(nullptr);
    connection->reused_ = true;
    return connection;
}

void Server::give_back(std::unique_ptr<ServerConnection> connection, Now now) {
    if (retired_ || pool_.closed_ || idle_.size() >= UpstreamPool::kIdlePerServer ||
        pool_.idle_ >= UpstreamPool::kIdleMax)
        return;
    connection->stream_->set_handler(connection.get());
    pool_.timers_.set(*connection, now.mono + UpstreamPool::kIdleTimeout);
    idle_.push_back(std::move(connection));
    ++pool_.idle_;
}

void Server::request_ended(RequestOutcome outcome, uint16_t, Now now) {
    --active_;
    if (outcome == RequestOutcome::kNotReached) avoid_until_ = now.mono + kAvoid;
    if (outcome == RequestOutcome::kNotReached || outcome == RequestOutcome::kBroke) ++failures;
}

void Server::drop(ServerConnection* connection) {
    const auto found =
        std::ranges::find(idle_, connection, &std::unique_ptr<ServerConnection>::get);
    SLUICE_CHECK(found != idle_.end());
    const auto dropped = std::move(*found);
    idle_.erase(found);
    --pool_.idle_;
}

void Server::retire() {
    retired_ = true;
    pool_.idle_ -= idle_.size();
    idle_.clear();
}

std::shared_ptr<Server> UpstreamPool::server(const std::string& backend,
                                             const contract::ServerConfig& config) {
    // The address, not the whole configuration: a new weight is no reason to lose connections.
    const std::string address =
        config.kind == contract::ServerKind::kHttp ? config.address.text() : config.url;
    const auto [place, is_new] = servers_.try_emplace({backend, address});
    Entry& entry = place->second;
    entry.wanted = true;
    if (is_new) {
        entry.server = std::make_shared<Server>(*this, backend, config);
    } else {
        entry.server->config_ = config;
    }
    return entry.server;
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
        idle_ -= entry.server->idle_.size();
        entry.server->idle_.clear();
    }
}

}  // namespace sluice::http
