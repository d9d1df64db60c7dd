// The bytes of a request and its response on their way.
#include "dataplane/http/exchange.h"

#include <algorithm>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/header_rules.h"
#include "dataplane/http/trailers.h"
#include "dataplane/http/upgrade.h"

namespace sluice::http {

namespace {

// Informational responses before the final one. Software sends one or two; a server that goes on
// and on would hold the client and us for ever.
constexpr uint8_t kInterimMax = 16;

}  // namespace

Exchange::Exchange(Core& core, ClientConnection& client)
    : core_(core),
      client_(client),
      site_(core.site),
      begun_at_(core.now.mono),
      moved_at_(core.now.mono) {}

Exchange::~Exchange() {
    end_try(RequestOutcome::kGivenUp);
    if (core_.access_log != nullptr) record();
}

void Exchange::note_response(uint16_t status) {
    status_ = status;
    response_at_ = core_.now.mono;
}

void Exchange::record() const {
    const bool answered = status_ != 0;
    const Notes none;
    const Notes& notes = notes_ != nullptr ? *notes_ : none;
    AccessRecord record;
    record.begun = core_.now.wall - (core_.now.mono - begun_at_);
    record.client = client_.facts().remote;
    record.peer = notes.peer;
    record.user = notes.user;
    record.tls = client_.stream().tls_facts();
    const ClientCertificate* const certificate =
        notes.certified ? client_.stream().client_certificate() : nullptr;
    if (certificate != nullptr) {
        record.certificate_subject = certificate->subject();
        record.certificate_serial = certificate->serial();
    }
    record.http_major = client_.facts().http_major;
    record.http_minor = record.http_major > 1 || client_old_ ? 0 : 1;
    record.method = notes.method;
    record.host = notes.host;
    record.path = notes.path;
    if (route_ != nullptr) record.route = route_->name;
    if (backend_ != nullptr) record.backend = backend_->config.name;
    if (picked_ != nullptr && tries_ > 0) record.server = picked_->config().url;
    record.tries = tries_;
    record.status = status_;
    record.upgraded = status_ == 101;
    record.cut_off = !over_ || result_ == Result::kAbort;
    if (answered) record.until_response = response_at_ - begun_at_;
    record.total = core_.now.mono - begun_at_;
    record.bytes_received = client_.upload().payload_taken();
    record.bytes_sent = down_.bytes_written();
    core_.access_log->record(record);
}

void Exchange::on_stream_ready() {
    server_readable_ = server_writable_ = true;
    client_.run();  // may destroy this
}

void Exchange::spend_turn(size_t& budget, size_t bytes) {
    budget -= std::min(budget, bytes);
}

Exchange::Result Exchange::pump(size_t& budget) {
    while (!over_) {
        bool moved = !in_tunnel() && server_ != nullptr && pump_upload(budget);
        if (!over_) moved = pump_download(budget) || moved;
        if (over_) break;
        if (!moved) {
            watch_client();
            if (over_) break;
            if (server_ != nullptr && !server_flushed_) server_flushed_ = server_->stream().flush();
            client_.upload().release_idle();
            down_.release_idle();
            return Result::kWaiting;
        }
        if (budget == 0) return Result::kYield;
    }
    return result_;
}

// One step of the request's way. True: something moved, so it is worth going on.
bool Exchange::pump_upload(size_t& budget) {
    if (upload_ != Upload::kGoing) return false;
    Relay& up = client_.upload();
    if (const auto fault = up.decode()) {
        // The server has been told that a body comes, and it cannot be had.
        core_.drops.add(DropReason::kHttpMalformed);
        keep_client_ = false;
        const wire::Http1FaultText text = text_of(*fault);
        give_up(text.status, text.sentence);
        return true;
    }
    if (!up.trailers_came().empty())
        pass_trailers(up, route_ != nullptr ? &route_->request_headers : nullptr);
    bool moved = false;
    if (server_writable_) {
        const size_t before = budget;
        const Relay::Wrote wrote = up.write(server_->stream(), budget);
        moved = budget != before;
        if (moved) {
            if (!connected_) picked_->connect_succeeded();
            connected_ = sent_any_ = true;
            server_flushed_ = false;
            moved_at_ = core_.now.mono;
        }
        if (wrote == Relay::Wrote::kBroken) {
            // It may have answered before it stopped listening.
            upload_ = Upload::kAbandoned;
            server_readable_ = true;
            return true;
        }
        if (wrote == Relay::Wrote::kBlocked) server_writable_ = false;
    }
    if (up.sink_complete()) {
        upload_ = Upload::kDone;
        return true;
    }
    return read_client() || moved;
}

bool Exchange::read_client() {
    Relay& up = client_.upload();
    if (up.has_payload() || up.source_complete() || !client_.readable) return false;
    up.open_conduit(client_.stream(), server_->stream());
    const Relay::Filled filled = up.fill(client_.stream(), core_.buffers, Relay::Room::kFixed);
    switch (filled.status) {
        case IoStatus::kOk:
            return true;
        case IoStatus::kWouldBlock:
            client_.readable = filled.full;
            return false;
        case IoStatus::kEnd:
            if (in_tunnel()) return up.source_ended();
            [[fallthrough]];
        case IoStatus::kError:
            abort();
            return true;
    }
    return false;
}

bool Exchange::pump_download(size_t& budget) {
    switch (download_) {
        case Download::kInquiry:
            return pump_inquiry(budget);
        case Download::kAwaiting:
            return server_ != nullptr && await_response(budget);
        case Download::kBody:
            return stream_body(budget);
        case Download::kTunnel:
            return pump_tunnel(budget);
        case Download::kOwnAnswer: {
            const bool moved = write_client(budget);
            if (!over_ && down_.sink_complete()) finish();
            return moved || over_;
        }
    }
    return false;
}

void Exchange::inquire(std::unique_ptr<Inquiry> inquiry) {
    inquiry_ = std::move(inquiry);
    download_ = Download::kInquiry;
    if (inquiry_->body_wanted() == 0 || !expects_continue_) return;
    // The client may be waiting for a word before it sends what the inquiry needs. It gets ours, so
    // no server has to be asked for one.
    expects_continue_ = false;
    wire::Http1HeadWriter writer(down_.lease_head(core_.buffers, BufferPool::kSmall));
    writer.status_line(100, "Continue");
    writer.end();
    down_.set_head(writer.size(), false);
}

bool Exchange::pump_inquiry(size_t& budget) {
    bool moved = false;
    if (down_.head_waits()) {
        moved = write_client(budget);
        if (over_ || down_.head_waits()) return moved;
    }
    moved = inquiry_->pump(budget) || moved;
    if (!inquiry_->decided()) return moved;
    download_ = Download::kAwaiting;
    inquiry_ended();
    return true;
}

bool Exchange::await_response(size_t& budget) {
    bool moved = false;
    if (down_.head_waits()) {  // an informational response
        moved = write_client(budget);
        if (over_ || down_.head_waits()) return moved;
    }
    switch (scanner_.scan(down_.raw(), wire::Http1Kind::kResponse, core_.head_limits)) {
        case wire::Http1HeadScanner::Result::kFault:
            server_misbehaved();
            return true;
        case wire::Http1HeadScanner::Result::kComplete:
            take_response_head(down_.raw().first(scanner_.head_size()));
            return true;
        case wire::Http1HeadScanner::Result::kMore:
            break;
    }
    if (!server_readable_) return moved;
    const Relay::Filled filled =
        down_.fill(server_->stream(), core_.buffers, Relay::Room::kMayGrow);
    switch (filled.status) {
        case IoStatus::kOk:
            spend_turn(budget, filled.bytes);
            // An answer to a request that was not asked: of whom, and whose will the next one be?
            if (!sent_any_) server_misbehaved();
            return true;
        case IoStatus::kWouldBlock:
            server_readable_ = false;
            return moved;
        case IoStatus::kEnd:
        case IoStatus::kError:
            server_failed();
            return true;
    }
    return moved;
}

void Exchange::take_response_head(Bytes head) {
    const auto response = wire::parse_response_head(head, core_.fields);
    if (!response) return server_misbehaved();
    const auto framing = frame_response(*response, to_head_);
    if (!framing) return server_misbehaved();
    const bool upgraded = response->status == 101;
    if (upgraded && !(wants_websocket_ && grants_websocket(*response))) return server_misbehaved();
    // Some servers say 408 before they close a connection that waited too long. It is no answer to
    // this request, which crossed it on the way (RFC 9110 section 15.5.9).
    if (response->status == 408 && may_repeat()) return repeat();
    const bool unavailable = response->status >= 502 && response->status <= 504;
    if (unavailable && retry_after(response->status, *framing, head.size())) return;
    const bool interim = response->status < 200 && !upgraded;
    if (interim && ++interim_count_ > kInterimMax) return server_misbehaved();
    if (interim && client_old_) {  // which knows no such thing
        down_.skip_raw(head.size());
        scanner_.reset();
        return;
    }

    ForwardedResponse forwarded{.framing = *framing, .chunked = false, .close = false, .date = {}};
    forwarded.upgrade = upgraded;
    if (!interim) {
        const bool no_length =
            framing->body.kind == BodyKind::kChunked || framing->body.kind == BodyKind::kUntilClose;
        forwarded.chunked = no_length && !client_old_;
        // A client that has not sent its whole request by now might send the rest, or might not:
        // either way the next request could not be found.
        if (wastes_server()) ++client_.wasted;
        keep_client_ = keep_client_ && client_.wasted < ClientConnection::kWastedMax &&
                       !core_.draining && client_.upload().source_complete() &&
                       (!no_length || forwarded.chunked);
        forwarded.close = !keep_client_;
        describe(forwarded);
    }
    wire::Http1HeadWriter writer(down_.lease_head(
        core_.buffers, head.size() + BufferPool::kHeadGrowth + added_size(forwarded)));
    write_response(*response, forwarded, writer);
    if (!writer.ok()) return server_misbehaved();
    down_.set_head(writer.size(), false);
    down_.skip_raw(head.size());
    scanner_.reset();
    if (interim) return;
    note_response(response->status);
    if (upgraded) return begin_tunnel();
    down_.begin_body(framing->body, forwarded.chunked);
    // A server that answered before it had the whole request may never read the rest of it, and
    // then takes it for the next request; so may one that got a body with a method that gives it no
    // meaning (RFC 9110 section 9.3.1). One that refused another protocol may have understood it.
    server_reusable_ = framing->reusable && upload_ == Upload::kDone && !wastes_server();
    download_ = Download::kBody;
    client_.upload().drop_head();
}

bool Exchange::stream_body(size_t& budget) {
    if (down_.decode()) {
        end_try(RequestOutcome::kBroke);
        abort();
        return true;
    }
    if (!down_.trailers_came().empty()) pass_trailers(down_, &route_->response_headers);
    const bool moved = write_client(budget);
    if (over_) return true;
    if (down_.sink_complete()) {
        finish();
        return true;
    }
    if (down_.has_payload() || down_.source_complete() || !server_readable_) return moved;
    down_.open_conduit(server_->stream(), client_.stream());
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
            if (down_.source_ended()) return true;
            [[fallthrough]];
        case IoStatus::kError:
            // The client must not take what it has for the whole.
            end_try(RequestOutcome::kBroke);
            abort();
            return true;
    }
    return moved;
}

void Exchange::pass_trailers(Relay& relay, const contract::HeaderEdits* edits) const {
    TrailerRules rules{.edits = edits, .reserved = {}};
    if (route_ != nullptr) rules.reserved = action().reserved;
    relay.pass_trailers(write_trailers(relay.trailers_came(), rules));
}

bool Exchange::write_client(size_t& budget) {
    if (!client_.writable) return false;
    const size_t before = budget;
    const Relay::Wrote wrote = down_.write(client_.stream(), budget);
    const bool moved = budget != before;
    if (moved) {
        client_.flushed = false;
        moved_at_ = core_.now.mono;
    }
    if (wrote == Relay::Wrote::kBlocked) client_.writable = false;
    if (wrote == Relay::Wrote::kBroken) {
        abort();
        return true;
    }
    return moved;
}

// While the server works the client has nothing to say, but it may hang up, and then the server's
// work is for nobody. What it does say is its next request, and stays in the buffer.
void Exchange::watch_client() {
    Relay& up = client_.upload();
    if (download_ == Download::kOwnAnswer || in_tunnel() || !up.source_complete() ||
        up.has_payload())
        return;
    const size_t wanted = inquiry_ != nullptr ? inquiry_->body_wanted() : 0;
    while (client_.readable) {
        const bool more = wanted > 0 && up.raw().size() < head_size_ + wanted;
        const Relay::Filled filled = up.fill(client_.stream(), core_.buffers,
                                             more ? Relay::Room::kMayGrow : Relay::Room::kFixed);
        if (filled.status == IoStatus::kOk) continue;
        if (filled.status != IoStatus::kWouldBlock) return abort();
        if (filled.full) return;
        client_.readable = false;
    }
}

void Exchange::finish() {
    release_server();
    keep_client_ = keep_client_ && !client_.stream().worn_out();
    over_ = true;
    result_ = keep_client_ ? Result::kKeepAlive : Result::kClose;
}

void Exchange::abort() {
    end_server();
    over_ = true;
    result_ = Result::kAbort;
}

Instant Exchange::deadline() const {
    const contract::HttpLimits& limits = site_->snapshot->limits;
    if (in_tunnel()) return tunnel_deadline();
    const Instant progress = moved_at_ + limits.progress_timeout;
    if (download_ == Download::kOwnAnswer || down_.head_waits()) return progress;
    if (download_ == Download::kInquiry) return inquiry_->deadline();
    if (download_ == Download::kBody) {
        // Servers that send events as they happen may be silent for long; clients have no reason
        // not to read.
        if (down_.sink_waits()) return progress;
        return moved_at_ + std::max(limits.progress_timeout, backend_->config.response_timeout);
    }
    if (!connected_) return attempt_at_ + backend_->config.connect_timeout;
    if (upload_ == Upload::kGoing) return progress;
    return moved_at_ + backend_->config.response_timeout;
}

void Exchange::on_deadline() {
    if (in_tunnel()) return on_tunnel_deadline();
    if (download_ == Download::kOwnAnswer || down_.sink_waits()) {
        core_.drops.add(DropReason::kClientTimeout);
        return abort();
    }
    if (download_ == Download::kInquiry) return inquiry_->on_deadline();
    if (download_ == Download::kBody) {
        end_try(RequestOutcome::kBroke);
        return abort();
    }
    if (!connected_) {
        if (!next_server()) return give_up(504, "the server did not take the connection in time");
        client_.upload().rewind_head();
        return connect(false);
    }
    if (upload_ == Upload::kGoing && !client_.upload().sink_waits()) {
        core_.drops.add(DropReason::kClientTimeout);
        keep_client_ = false;
        return give_up(408, "the request's body did not arrive in time");
    }
    end_try(RequestOutcome::kBroke);
    give_up(504, "the server did not answer in time");
}

}  // namespace sluice::http
