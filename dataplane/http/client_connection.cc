#include "dataplane/http/client_connection.h"

#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/http2_connection.h"

namespace sluice::http {

ClientConnection::ClientConnection(Core& core, std::unique_ptr<ByteStream> stream,
                                   const ClientFacts& facts)
    : core_(core),
      stream_(std::move(stream)),
      facts_(facts),
      address_text_(facts.remote.address.text()),
      phase_since_(core.now.mono) {
    next = core_.first;
    if (next != nullptr) next->previous = this;
    core_.first = this;
    stream_->set_handler(this);
}

ClientConnection::~ClientConnection() {
    if (exchange_ != nullptr) core_.exchanges.destroy(exchange_);
    if (stream_ != nullptr) stream_->set_handler(nullptr);
    (previous != nullptr ? previous->next : core_.first) = next;
    if (next != nullptr) next->previous = previous;
    leave_pending();
}

void ClientConnection::join_pending() {
    if (pending_turn_) return;
    pending_turn_ = true;
    previous_pending_ = core_.last_pending;
    (previous_pending_ != nullptr ? previous_pending_->next_pending_ : core_.first_pending) = this;
    core_.last_pending = this;
}

void ClientConnection::leave_pending() {
    if (!pending_turn_) return;
    pending_turn_ = false;
    (previous_pending_ != nullptr ? previous_pending_->next_pending_ : core_.first_pending) =
        next_pending_;
    (next_pending_ != nullptr ? next_pending_->previous_pending_ : core_.last_pending) =
        previous_pending_;
    previous_pending_ = next_pending_ = nullptr;
}

void ClientConnection::on_stream_ready() {
    readable = writable = true;
    run();
}

void ClientConnection::run() {
    leave_pending();
    size_t budget = kTurnBytes;
    Step result = Step::kGoOn;
    while (result == Step::kGoOn)
        result = step(budget);
    settle(result);
}

void ClientConnection::settle(Step result) {
    if (result == Step::kGone) {
        core_.connections.destroy(this);
        return;
    }
    if (!flushed) flushed = stream_->flush();
    if (result == Step::kYield) join_pending();
    set_timer();
}

ClientConnection::Step ClientConnection::step(size_t& budget) {
    switch (phase_) {
        case Phase::kHead:
            return read_head(budget);
        case Phase::kExchange:
            return run_exchange(budget);
        case Phase::kFarewell:
            return say_farewell();
        case Phase::kLinger:
            return linger(budget);
    }
    SLUICE_CHECK(false);
}

ClientConnection::Step ClientConnection::read_head(size_t& budget) {
    if (budget == 0) return Step::kYield;
    if (maybe_http2_ && hand_over()) return Step::kGone;
    // "PRI " begins no request; until the rest of the preface has come it is not looked at as one.
    const bool preface_begun = maybe_http2_ && upload_.raw().size() >= 4;
    switch (preface_begun
                ? wire::Http1HeadScanner::Result::kMore
                : scanner_.scan(upload_.raw(), wire::Http1Kind::kRequest, core_.head_limits)) {
        case wire::Http1HeadScanner::Result::kComplete:
            budget -= std::min(budget, kRequestCost);
            begin_exchange();
            exchange_->begin(upload_.raw().first(scanner_.head_size()));
            return Step::kGoOn;
        case wire::Http1HeadScanner::Result::kFault:
            begin_exchange();
            exchange_->refuse(scanner_.fault());
            return Step::kGoOn;
        case wire::Http1HeadScanner::Result::kMore:
            break;
    }
    const bool head_begun = !upload_.raw().empty();
    if ((core_.draining || stream_->worn_out()) && !head_begun) {
        begin_farewell();
        return Step::kGoOn;
    }
    if (!readable) {
        upload_.release_idle();
        return Step::kWait;
    }
    const Relay::Filled filled = upload_.fill(*stream_, core_.buffers, Relay::Room::kMayGrow);
    switch (filled.status) {
        case IoStatus::kOk:
            if (!head_begun) phase_since_ = core_.now.mono;
            budget -= std::min(budget, filled.bytes);
            return Step::kGoOn;
        case IoStatus::kWouldBlock:
            SLUICE_CHECK(!filled.full);  // the scanner refuses a head before it fills the buffer
            readable = false;
            upload_.release_idle();
            return Step::kWait;
        case IoStatus::kEnd:
            begin_farewell();
            return Step::kGoOn;
        case IoStatus::kError:
            return Step::kGone;
    }
    SLUICE_CHECK(false);
}

// HTTP/2 begins by what TLS has settled or, without TLS, by how the client begins (RFC 9113 section
// 3). True: this connection has given its stream away.
bool ClientConnection::hand_over() {
    const Bytes begun = upload_.raw();
    const TlsFacts* const tls = stream_->tls_facts();
    maybe_http2_ = facts_.http_major == 1 && (tls == nullptr || !tls->done || tls->alpn == "h2");
    if (!maybe_http2_ || (tls != nullptr && !tls->done)) return false;
    if (tls == nullptr) {
        constexpr std::string_view kPreface = Http2Connection::kPreface;
        const size_t size = std::min(begun.size(), kPreface.size());
        maybe_http2_ = as_text(begun.first(size)) == kPreface.substr(0, size);
        if (!maybe_http2_ || size < kPreface.size()) return false;
    }
    Http2Connection::start(core_, std::move(stream_), facts_, begun);
    return true;
}

void ClientConnection::begin_exchange() {
    exchange_ = core_.exchanges.make(core_, *this);
    phase_ = Phase::kExchange;
}

void ClientConnection::end_exchange() {
    core_.exchanges.destroy(exchange_);
    exchange_ = nullptr;
    upload_.end_message();
    scanner_.reset();
    phase_ = Phase::kHead;
    phase_since_ = core_.now.mono;
}

ClientConnection::Step ClientConnection::run_exchange(size_t& budget) {
    if (budget == 0) return Step::kYield;
    switch (exchange_->pump(budget)) {
        case Exchange::Result::kWaiting:
            return Step::kWait;
        case Exchange::Result::kYield:
            return Step::kYield;
        case Exchange::Result::kKeepAlive:
            end_exchange();
            if (facts_.http_major == 2) return Step::kGone;  // its stream carries one request
            return Step::kGoOn;
        case Exchange::Result::kClose:
            end_exchange();
            if (facts_.http_major == 2) {
                stream_->shutdown_write();
                return Step::kGone;
            }
            begin_farewell();
            return Step::kGoOn;
        case Exchange::Result::kAbort:
            return Step::kGone;
    }
    SLUICE_CHECK(false);
}

void ClientConnection::begin_farewell() {
    phase_ = Phase::kFarewell;
    phase_since_ = core_.now.mono;
}

ClientConnection::Step ClientConnection::say_farewell() {
    if (!end_writing()) return Step::kWait;
    phase_ = Phase::kLinger;
    phase_since_ = core_.now.mono;
    return Step::kGoOn;
}

bool ClientConnection::end_writing() {
    if (!stream_->flush()) return false;
    flushed = true;
    if (!said_end_) stream_->shutdown_write();
    said_end_ = true;
    return true;
}

// Whatever still comes is of no interest, only its end is.
ClientConnection::Step ClientConnection::linger(size_t& budget) {
    while (readable) {
        if (budget == 0) return Step::kYield;
        upload_.skip_raw(upload_.raw().size());
        const Relay::Filled filled = upload_.fill(*stream_, core_.buffers, Relay::Room::kFixed);
        if (filled.status == IoStatus::kEnd || filled.status == IoStatus::kError)
            return Step::kGone;
        if (filled.status == IoStatus::kWouldBlock) readable = false;
        budget -= std::min(budget, filled.bytes);
    }
    upload_.skip_raw(upload_.raw().size());
    upload_.release_idle();
    return Step::kWait;
}

void ClientConnection::drain() {
    if (phase_ == Phase::kHead || (phase_ == Phase::kExchange && exchange_->in_tunnel())) run();
}

bool ClientConnection::handshake_done() const {
    const TlsFacts* const facts = stream_->tls_facts();
    return facts == nullptr || facts->done;
}

Instant ClientConnection::due() const {
    const contract::HttpLimits& limits = core_.site->snapshot->limits;
    switch (phase_) {
        case Phase::kHead: {
            if (!handshake_done()) return phase_since_ + limits.handshake_timeout;
            const bool idle = upload_.raw().empty();
            return phase_since_ + (idle ? limits.idle_timeout : limits.head_timeout);
        }
        case Phase::kExchange:
            return exchange_->deadline();
        case Phase::kFarewell:
            return phase_since_ + limits.progress_timeout;
        case Phase::kLinger:
            return phase_since_ + kLinger;
    }
    SLUICE_CHECK(false);
}

// Deadlines move with every byte, so the timer is only set to an earlier one; when it fires too
// early, it is set again.
void ClientConnection::set_timer() {
    const Instant deadline = due();
    if (!pending() || deadline < Timer::deadline()) core_.timers.set(*this, deadline);
}

void ClientConnection::on_timer(Now now) {
    core_.now = now;
    if (now.mono < due()) return set_timer();
    if (time_out() == Step::kGone) return settle(Step::kGone);
    run();
}

ClientConnection::Step ClientConnection::time_out() {
    switch (phase_) {
        case Phase::kHead:
            if (!handshake_done()) {
                core_.drops.add(DropReason::kClientTimeout);
                return Step::kGone;
            }
            if (upload_.raw().empty()) {
                begin_farewell();
            } else {
                begin_exchange();
                exchange_->refuse_slow_head();
            }
            return Step::kGoOn;
        case Phase::kExchange:
            exchange_->on_deadline();
            return Step::kGoOn;
        case Phase::kFarewell:
            core_.drops.add(DropReason::kClientTimeout);
            return Step::kGone;
        case Phase::kLinger:
            return Step::kGone;
    }
    SLUICE_CHECK(false);
}

}  // namespace sluice::http
