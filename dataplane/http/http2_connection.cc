#include "dataplane/http/http2_connection.h"

#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/http/client_connection.h"
#include "dataplane/http/http2_stream.h"

namespace sluice::http {

void Http2Connection::start(Core& core, std::unique_ptr<ByteStream> stream,
                            const ClientFacts& facts, Bytes begun) {
    Http2Connection* const connection = core.http2.connections.make(core, std::move(stream), facts);
    if (!begun.empty()) connection->feed(begun);
    connection->run();
}

Http2Connection::Http2Connection(Core& core, std::unique_ptr<ByteStream> stream,
                                 const ClientFacts& facts)
    : Http2Session(core, std::move(stream)),
      facts_(facts),
      patience_(core.now.mono),
      phase_since_(core.now.mono),
      idle_since_(core.now.mono) {
    next = core_.http2.first;
    if (next != nullptr) next->previous = this;
    core_.http2.first = this;
    below_->set_handler(this);
    facts_.http_major = 2;

    SLUICE_CHECK(nghttp2_session_server_new2(&session_, core_.http2.clients.callbacks, this,
                                             core_.http2.clients.options) == 0);
    const contract::HttpLimits& limits = core_.site->snapshot->limits;
    const std::array<nghttp2_settings_entry, 4> settings = {{
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.head_bytes_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    }};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                          static_cast<int32_t>(kConnectionWindow));
    mark_unsent();
    if (core_.draining) drain();
}

Http2Connection::~Http2Connection() {
    break_streams();
    (previous != nullptr ? previous->next : core_.http2.first) = next;
    if (next != nullptr) next->previous = previous;
    leave_pending();
}

void Http2Connection::join_pending() {
    if (pending_turn_) return;
    pending_turn_ = true;
    previous_pending_ = core_.http2.last_pending;
    (previous_pending_ != nullptr ? previous_pending_->next_pending_ : core_.http2.first_pending) =
        this;
    core_.http2.last_pending = this;
}

void Http2Connection::leave_pending() {
    if (!pending_turn_) return;
    pending_turn_ = false;
    (previous_pending_ != nullptr ? previous_pending_->next_pending_ : core_.http2.first_pending) =
        next_pending_;
    (next_pending_ != nullptr ? next_pending_->previous_pending_ : core_.http2.last_pending) =
        previous_pending_;
    previous_pending_ = next_pending_ = nullptr;
}

// --- What happens when -----------------------------------------------------------------------

void Http2Connection::on_stream_ready() {
    readable_ = writable_ = true;
    run();
}

void Http2Connection::run() {
    leave_pending();
    size_t budget = ClientConnection::kTurnBytes;
    Step result = Step::kGoOn;
    while (result == Step::kGoOn)
        result = step(budget);
    settle(result);
}

void Http2Connection::settle(Step result) {
    if (result == Step::kGone) {
        core_.http2.connections.destroy(this);
        return;
    }
    if (result == Step::kYield) join_pending();
    set_timer();
}

Http2Connection::Step Http2Connection::step(size_t& budget) {
    if (broken_) return Step::kGone;
    switch (phase_) {
        case Phase::kOpen:
            return receive(budget);
        case Phase::kFarewell:
            return say_farewell();
        case Phase::kLinger:
            return linger(budget);
    }
    SLUICE_CHECK(false);
}

Http2Connection::Step Http2Connection::receive(size_t& budget) {
    mark_unsent();
    deliver(budget);
    serve_waiting();
    if (broken_) return Step::kGone;
    // Its last word was said: after a mistake of the client, or after the last stream.
    if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
        break_streams();
        begin_farewell();
        return Step::kGoOn;
    }
    if (!readable_) return Step::kWait;
    if (budget == 0) return Step::kYield;
    // What a client makes us send has to be taken by it.
    if (nghttp2_session_get_outbound_queue_size(session_) > kQueueMax && !pump())
        return Step::kWait;
    const MutableBytes input = core_.http2.input();
    const IoResult read = below_->read(input);
    switch (read.status) {
        case IoStatus::kOk:
            budget -= std::min(budget, read.bytes);
            feed(input.first(read.bytes));
            deliver(budget);
            return Step::kGoOn;
        case IoStatus::kWouldBlock:
            readable_ = false;
            return Step::kWait;
        case IoStatus::kEnd:
        case IoStatus::kError:
            return Step::kGone;
    }
    SLUICE_CHECK(false);
}

void Http2Connection::feed(Bytes input) {
    new_streams_ = 0;
    const ssize_t taken = nghttp2_session_mem_recv(session_, input.data(), input.size());
    if (taken >= 0 && !provoked_) return;
    if (provoked_ || taken == NGHTTP2_ERR_FLOODED) {
        core_.drops.add(DropReason::kHttp2Misbehaviour);
        return terminate(NGHTTP2_ENHANCE_YOUR_CALM);
    }
    core_.drops.add(DropReason::kHttpMalformed);
    terminate(taken == NGHTTP2_ERR_NOMEM ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_PROTOCOL_ERROR);
}

// What streams have got since the last time: requests begin, data and room are told of, and what
// was reset ends.
void Http2Connection::deliver(size_t& budget) {
    while (Http2Stream* const stream = take_ready()) {
        if (phase_ != Phase::kOpen) break;
        current_ = stream;
        if (stream->is_cut() && !stream->started) {
            delete stream;
        } else if (stream->is_cut()) {
            // Whatever it waits for: a client that resets its requests must not leave more of them
            // at work than it may have at one time.
            stream->client->client_is_gone();
        } else if (!stream->started) {
            budget -= std::min(budget, ClientConnection::kRequestCost);
            start_stream(*stream);
        } else if (stream->handler() != nullptr) {
            stream->handler()->on_stream_ready();
        }
        if (current_ != nullptr) current_->keep_input();
        current_ = nullptr;
    }
    core_.http2.heads.clear();
}

void Http2Connection::start_stream(Http2Stream& stream) {
    stream.receive_head(
        as_bytes(std::string_view(core_.http2.heads).substr(stream.head_at, stream.head_size)));
    stream.started = true;
    ++core_.http2.streams;
    ClientConnection* const client =
        core_.connections.make(core_, std::unique_ptr<ByteStream>(&stream), facts_);
    stream.client = client;
    client->run();
}

void Http2Connection::forget(Http2Stream& stream) {
    if (stream.started) --core_.http2.streams;
    if (stream.output_ended()) patience_.earn();
    give_back_window(stream);
    unlink(stream);
    if (current_ == &stream) current_ = nullptr;
    if (stream_count_ == 0) idle_since_ = core_.now.mono;
    if (stream.closed) return;
    nghttp2_session_set_stream_user_data(session_, stream.id(), nullptr);
    mark_unsent();
    // An answer that is not complete must not be taken for the whole.
    if (!stream.refused && (!stream.output_ended() || stream.is_cut())) {
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id(), NGHTTP2_INTERNAL_ERROR);
    } else if (!stream.input_ended()) {
        leave_open(stream.id());
    }
}

// An answer that is complete needs no more of the request, and RFC 9113 section 8.1 lets us say so
// with RST_STREAM. But clients that are still sending may see it before they look at the answer,
// and then have none (curl, for one). So the stream stays open for a while, with the window that it
// has: the client ends it, or resets it when it has read the answer, or is told.
void Http2Connection::leave_open(int32_t id) {
    // Not before its answer has left libnghttp2, which would drop it. While the client takes
    // nothing, there are no more than it may have streams, and it is not listened to for long.
    if (answered_.size() >= kAnsweredMax && pump()) end_answered();
    answered_.push_back({id, core_.now.mono + ClientConnection::kLinger});
    set_timer();
}

// Ends the one that was left open first.
void Http2Connection::end_answered() {
    const int32_t id = answered_.front().id;
    answered_.erase(answered_.begin());
    if (nghttp2_session_get_stream_remote_close(session_, id) == 0)
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    mark_unsent();
}

void Http2Connection::end_turn() {
    if (phase_ == Phase::kOpen) {
        pump();
        write_out();
        serve_waiting();
        pump();
        write_out();
        settle_below();
    }
    // What was sent may have been the last of it, or have ended a stream.
    if (broken_ || phase_ != Phase::kOpen || any_ready() ||
        nghttp2_session_want_read(session_) == 0)
        return run();
    set_timer();
}

// --- The end ---------------------------------------------------------------------------------

void Http2Connection::break_streams() {
    while (streams_ != nullptr) {
        Http2Stream& stream = *streams_;
        stream.cut();
        if (stream.started) {
            stream.client->client_is_gone();
        } else {
            delete &stream;
        }
    }
}

void Http2Connection::terminate(uint32_t error) {
    break_streams();
    nghttp2_session_terminate_session(session_, error);
    begin_farewell();
}

void Http2Connection::begin_farewell() {
    if (phase_ != Phase::kOpen) return;
    phase_ = Phase::kFarewell;
    phase_since_ = core_.now.mono;
    mark_unsent();
}

Http2Connection::Step Http2Connection::say_farewell() {
    const bool all = pump();
    write_out();
    if (broken_) return Step::kGone;
    if (!all || output_waits() || !below_->flush()) return Step::kWait;
    flushed_ = true;
    below_->shutdown_write();
    phase_ = Phase::kLinger;
    phase_since_ = core_.now.mono;
    return Step::kGoOn;
}

// Whatever still comes is of no interest, only its end is.
Http2Connection::Step Http2Connection::linger(size_t& budget) {
    while (readable_) {
        if (budget == 0) return Step::kYield;
        const IoResult read = below_->read(core_.http2.input());
        if (read.status == IoStatus::kEnd || read.status == IoStatus::kError) return Step::kGone;
        if (read.status == IoStatus::kWouldBlock) readable_ = false;
        budget -= std::min(budget, read.bytes);
    }
    return Step::kWait;
}

// RFC 9113 section 6.8: first a warning, so that requests which are on their way are not lost; then
// the number of the last one that is served. A PING tells when the client has seen the warning.
void Http2Connection::drain() {
    if (draining_ || phase_ != Phase::kOpen) return;
    draining_ = true;
    goaway_at_ = core_.now.mono + kGoAwayDelay;
    nghttp2_submit_shutdown_notice(session_);
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
    mark_unsent();
    set_timer();
}

void Http2Connection::finish_drain() {
    if (goaway_at_ == kNever) return;
    goaway_at_ = kNever;
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                          nullptr, 0);
    mark_unsent();
}

Instant Http2Connection::due() const {
    const contract::HttpLimits& limits = core_.site->snapshot->limits;
    if (phase_ == Phase::kLinger) return phase_since_ + ClientConnection::kLinger;
    if (phase_ == Phase::kFarewell) return phase_since_ + limits.progress_timeout;
    Instant due = goaway_at_;
    if (!answered_.empty()) due = std::min(due, answered_.front().until);
    if (!greeted_) {
        due = std::min(due, phase_since_ + limits.head_timeout);
    } else if (stream_count_ == 0) {
        due = std::min(due, idle_since_ + limits.idle_timeout);
    }
    if (head_since_ != kNever) due = std::min(due, head_since_ + limits.head_timeout);
    if (output_waits() || !flushed_) due = std::min(due, progress_at_ + limits.progress_timeout);
    return due;
}

// As ClientConnection has it: set to an earlier deadline only.
void Http2Connection::set_timer() {
    const Instant deadline = due();
    if (deadline == kNever) return;
    if (!pending() || deadline < Timer::deadline()) core_.timers.set(*this, deadline);
}

void Http2Connection::on_timer(Now now) {
    core_.now = now;
    if (now.mono < due()) return set_timer();
    if (phase_ != Phase::kOpen) return settle(Step::kGone);
    if (goaway_at_ <= now.mono) {
        finish_drain();
        return run();
    }
    if (!answered_.empty() && answered_.front().until <= now.mono) {
        const bool may_end = pump();
        while (!answered_.empty() && answered_.front().until <= now.mono) {
            if (!may_end) {
                answered_.front().until = now.mono + ClientConnection::kLinger;
                break;
            }
            end_answered();
        }
        return run();
    }
    const bool unread = output_waits() || !flushed_;
    if (unread || !greeted_ || head_since_ != kNever) {
        core_.drops.add(DropReason::kClientTimeout);
        if (unread) return settle(Step::kGone);
    }
    terminate(NGHTTP2_NO_ERROR);
    run();
}

}  // namespace sluice::http
