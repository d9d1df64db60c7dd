// Servers: which one is asked, when another is tried, and what becomes of the connection.
#include <algorithm>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/exchange.h"

namespace sluice::http {

namespace {

// When so many servers cannot be reached, waiting for more of them costs the client more than it
// may gain.
constexpr uint8_t kUnreachedMax = 3;
// A request that was refused as often as this is one too many for the servers, not for one of their
// connections.
constexpr uint8_t kRefusedMax = 3;

}  // namespace

bool Exchange::pick_server() {
    picked_ = backend_->pick(std::span(tried_).first(tried_count_), core_.now);
    return picked_ != nullptr;
}

// The picked server cannot be connected to: the next one, if there is one.
bool Exchange::next_server() {
    server_.reset();
    end_try(RequestOutcome::kNotReached);
    if (tried_count_ == tried_.size()) return false;
    tried_[tried_count_++] = picked_;
    return ++unreached_ < kUnreachedMax && pick_server();
}

void Exchange::connect(bool fresh) {
    for (;;) {
        // A request that cannot be repeated looks first whether the server has just hung up. One
        // that can finds out by itself, and saves the look.
        if (!fresh) server_ = picked_->take_idle(!idempotent_);
        begin_try();
        if (server_ == nullptr) {
            if (auto stream = core_.upstream.open(*picked_))
                server_ = std::make_unique<ServerConnection>(*picked_, std::move(stream));
        }
        if (server_ != nullptr) break;
        if (!next_server()) return give_up(502, "no server could be reached");
        fresh = false;
    }
    name_server();
    server_->stream().set_handler(this);
    upload_ = Upload::kGoing;
    connected_ = server_->reused();
    sent_any_ = false;
    server_readable_ = !server_->reused();  // one that waited has been read until kWouldBlock
    server_writable_ = true;
    server_flushed_ = true;
    attempt_at_ = moved_at_ = core_.now.mono;
}

bool Exchange::may_repeat() const {
    // A connection that had been waiting may have been closed by the server in the very moment in
    // which we wrote to it. A new one has no such excuse.
    // Nor is anything sent again to what a reload has removed.
    return server_->reused() && !picked_->retired() && !repeated_ && interim_count_ == 0 &&
           client_.upload().can_rewind() && (idempotent_ || !sent_any_);
}

void Exchange::repeat() {
    end_server();
    repeated_ = true;
    down_.skip_raw(down_.raw().size());
    ask_again(true);
}

// Precondition: the whole request can be sent again.
void Exchange::ask_again(bool fresh) {
    scanner_.reset();
    client_.upload().rewind();
    connect(fresh);
}

// One that was neither tried nor picked; null: there is none, or too many were tried.
std::shared_ptr<Server> Exchange::other_server() {
    if (tried_count_ == tried_.size()) return nullptr;
    tried_[tried_count_] = picked_;
    return backend_->pick(std::span(tried_).first(tried_count_ + 1), core_.now);
}

// The server has said that it did nothing of the request: another one is asked, or the same over
// another connection.
bool Exchange::send_elsewhere() {
    if (!server_->stream().unprocessed() || !down_.raw().empty() || interim_count_ > 0 ||
        !client_.upload().can_rewind() || ++refused_ >= kRefusedMax)
        return false;
    auto other = other_server();
    if (other == nullptr && picked_->retired()) return false;
    end_server();
    if (other != nullptr) {
        ++tried_count_;
        picked_ = std::move(other);
    }
    ask_again(false);
    return true;
}

// Something that another server may do better, if the request can be sent to it as a whole.
bool Exchange::may_retry() const {
    return route_ != nullptr && retried_ < route_->retries && idempotent_ && interim_count_ == 0 &&
           client_.upload().can_rewind();
}

// `status`: of an answer that is passed over; 0: the connection broke. False: there is no other
// server, and nothing has changed.
bool Exchange::retry(uint16_t status) {
    auto other = other_server();
    if (other == nullptr) return false;
    ++tried_count_;
    ++retried_;
    down_.skip_raw(down_.raw().size());
    if (status != 0) end_try(RequestOutcome::kAnswered, status);
    release_server();
    picked_ = std::move(other);
    ask_again(false);
    return true;
}

// The connection of an answer that is passed over is good for others if all of it is here.
bool Exchange::retry_after(uint16_t status, const ResponseFraming& framing, size_t head_size) {
    if (!may_retry()) return false;
    const uint64_t body = framing.body.kind == BodyKind::kLength ? framing.body.length : 0;
    const bool whole =
        framing.body.kind == BodyKind::kNone || framing.body.kind == BodyKind::kLength;
    server_reusable_ = framing.reusable && upload_ == Upload::kDone && !wastes_server() && whole &&
                       down_.raw().size() == head_size + body;
    return retry(status);
}

// The connection broke or ended before a response's head was complete.
void Exchange::server_failed() {
    if (send_elsewhere()) return;
    if (!connected_) {
        if (!next_server()) return give_up(502, "no server could be reached");
        client_.upload().rewind_head();
        return connect(false);
    }
    if (down_.raw().empty() && may_repeat()) return repeat();
    end_try(RequestOutcome::kBroke);
    server_reusable_ = false;
    if (may_retry() && retry(0)) return;
    give_up(502, refused_ > 0 ? "the server refuses the request"
                              : "the server ended the connection without an answer");
}

void Exchange::server_misbehaved() {
    end_try(RequestOutcome::kBroke);
    give_up(502, "the server's answer is not valid HTTP");
}

void Exchange::give_up(uint16_t status, std::string_view sentence) {
    end_server();
    // Once a byte of a response has gone out, only the end of the connection can say that it
    // failed.
    if (download_ != Download::kAwaiting || down_.head_waits()) return abort();
    down_.end_message();
    refuse(status, sentence);
}

// After a complete response: the connection waits for the next request, if nothing about it is in
// doubt.
void Exchange::release_server() {
    if (server_ == nullptr) return;
    end_try(RequestOutcome::kAnswered, status_);
    const bool clean =
        server_reusable_ && upload_ == Upload::kDone && down_.raw().empty() && server_->is_silent();
    if (clean) picked_->give_back(std::move(server_), core_.now);
    server_.reset();
}

void Exchange::end_server() {
    end_try(RequestOutcome::kGivenUp);  // unless it ended by something else before
    server_.reset();
}

void Exchange::begin_try() {
    trying_ = true;
    ++tries_;
    picked_->request_began();
}

void Exchange::end_try(RequestOutcome outcome, uint16_t status) {
    if (!trying_) return;
    trying_ = false;
    picked_->request_ended(outcome, status, core_.now);
}

}  // namespace sluice::http
