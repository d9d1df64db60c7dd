// An exchange after a 101: bytes in both directions, until both have ended.
#include <algorithm>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/exchange.h"

namespace sluice::http {

namespace {

// WebSockets are quiet while nobody types, and software that wants to know sooner whether the other
// end is still there sends a ping. One that has said nothing for so long has been forgotten.
constexpr Duration kQuiet = std::chrono::hours(1);

// How long a WebSocket that was told to go away has for its farewell: a few round trips of the
// slowest link, and far less than a node waits for its requests when it drains.
constexpr Duration kFarewell = std::chrono::seconds(3);

}  // namespace

void Exchange::begin_tunnel() {
    keep_client_ = false;
    client_.upload().drop_head();
    client_.upload().begin_body({BodyKind::kUntilClose, 0}, false);
    down_.begin_body({BodyKind::kUntilClose, 0}, false);
    upload_ = Upload::kGoing;
    download_ = Download::kTunnel;
    server_writable_ = client_.readable = true;
    moved_at_ = core_.now.mono;
}

bool Exchange::pump_tunnel(size_t& budget) {
    if (core_.draining && farewell_at_ == Instant::max()) farewell_at_ = core_.now.mono + kFarewell;
    bool moved = pump_tunnel_up(budget);
    if (!over_) moved = pump_tunnel_down(budget) || moved;
    if (!over_ && upload_ == Upload::kDone && client_told_end_) {
        finish();
        return true;
    }
    return moved;
}

bool Exchange::pump_tunnel_up(size_t& budget) {
    if (upload_ == Upload::kDone) return false;
    Relay& up = client_.upload();
    up.take_raw(up.raw().size());
    bool moved = false;
    if (server_writable_ && up.sink_waits()) {
        const size_t before = budget;
        const Relay::Wrote wrote = up.write(server_->stream(), budget);
        moved = budget != before;
        if (moved) {
            server_flushed_ = false;
            moved_at_ = core_.now.mono;
        }
        if (wrote == Relay::Wrote::kBroken) {
            abort();
            return true;
        }
        if (wrote == Relay::Wrote::kBlocked) server_writable_ = false;
    }
    if (up.sink_complete()) {
        if (!server_->stream().flush()) return moved;
        server_flushed_ = true;
        server_->stream().shutdown_write();
        upload_ = Upload::kDone;
        return true;
    }
    return read_client() || moved;
}

bool Exchange::pump_tunnel_down(size_t& budget) {
    if (client_told_end_) return false;
    take_from_server();
    bool moved = write_client(budget);
    if (over_) return true;
    if (down_.sink_complete()) {
        if (!client_.end_writing()) return moved;
        client_told_end_ = true;
        return true;
    }
    if (down_.has_payload() || down_.source_complete() || !server_readable_) return moved;
    const Relay::Filled filled = down_.fill(server_->stream(), core_.buffers, Relay::Room::kFixed);
    switch (filled.status) {
        case IoStatus::kOk:
            spend_turn(budget, filled.bytes);
            moved_at_ = core_.now.mono;
            return true;
        case IoStatus::kWouldBlock:
            server_readable_ = false;
            return moved;
        case IoStatus::kEnd:
            return down_.source_ended();
        case IoStatus::kError:
            abort();
            return true;
    }
    return moved;
}

// While we drain, the server's word counts up to the next frame's begin. There the client is told
// in the server's place that it goes away; what the server still has to say would come behind a
// Close frame, where nothing may (RFC 6455 section 5.5.1). The client's answer reaches the server
// as any other bytes, so it hears of the end from the client.
void Exchange::take_from_server() {
    const bool draining = core_.draining && !frames_.closing();
    if (going_away_) {
        down_.skip_raw(down_.raw().size());
        return;
    }
    down_.take_raw(frames_.take(down_.raw(), draining));
    if (draining && frames_.at_boundary() && wire::is_websocket_close(down_.raw())) {
        // It goes by itself, and is to say so itself.
        down_.take_raw(frames_.take(down_.raw(), false));
        return;
    }
    if (!draining || !frames_.at_boundary() || down_.sink_waits() || down_.source_complete())
        return;
    going_away_ = true;
    down_.skip_raw(down_.raw().size());
    const MutableBytes into = down_.lease_head(core_.buffers, BufferPool::kSmall);
    std::ranges::copy(wire::kWebsocketGoingAway, into.begin());
    down_.set_head(wire::kWebsocketGoingAway.size(), false);
}

Instant Exchange::tunnel_deadline() const {
    const contract::HttpLimits& limits = site_->snapshot->limits;
    Duration silence = kQuiet;
    if (down_.sink_waits() || client_.upload().sink_waits()) {
        silence = limits.progress_timeout;
    } else if (upload_ == Upload::kDone || client_told_end_) {
        // Who has said its last word waits for the other's, and nothing will remind that one.
        silence = std::max(limits.progress_timeout, backend_->config.response_timeout);
    }
    return std::min(moved_at_ + silence, farewell_at_);
}

// Both sides get an end in order, except one that does not take what it was sent.
void Exchange::on_tunnel_deadline() {
    if (core_.now.mono < farewell_at_ && (down_.sink_waits() || client_.upload().sink_waits())) {
        if (down_.sink_waits()) core_.drops.add(DropReason::kClientTimeout);
        return abort();
    }
    if (down_.sink_waits()) return abort();  // an end would pass for the server's
    finish();
}

}  // namespace sluice::http
