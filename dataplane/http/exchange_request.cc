// What the client asked for, and which answer or server that leads to.
#include <array>

#include "dataplane/http/answer.h"
#include "dataplane/http/auth.h"
#include "dataplane/http/client_connection.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/header_rules.h"
#include "dataplane/http/trailers.h"
#include "dataplane/http/upgrade.h"

namespace sluice::http {

using wire::Http1Fault;

namespace {

// Methods whose request may be sent twice without doing more than once (RFC 9110 section 9.2.2).
bool is_idempotent(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
           method == "DELETE";
}

}  // namespace

void Exchange::begin(Bytes head) {
    const auto request = wire::parse_request_head(head, core_.fields);
    if (!request) return refuse(request.error());
    to_head_ = request->method == "HEAD";
    client_old_ = request->minor_version == 0;
    idempotent_ = is_idempotent(request->method);
    // CONNECT would make a tunnel of us, TRACE would show our headers to whoever asks.
    if (request->method == "CONNECT" || request->method == "TRACE")
        return refuse(Http1Fault::kMethodUnsupported);
    const auto framing = frame_request(*request);
    if (!framing) return refuse(framing.error());
    const auto target = read_target(*request, core_.target);
    if (!target) return refuse(target.error());

    ++core_.requests;
    keep_client_ = !framing->close;
    expects_continue_ = framing->expects_continue;
    accepts_trailers_ = !client_old_ && accepts_trailers(*request);
    wants_websocket_ = asks_for_websocket(*request, framing->body);
    request_body_ = framing->body;
    head_size_ = static_cast<uint32_t>(head.size());
    if (core_.access_log != nullptr) {
        notes_ = std::make_unique<Notes>();
        notes_->method = request->method;
        notes_->host = target->authority.host;
        notes_->path = target->sent;
    }
    route(*request, *target);
}

std::optional<Exchange::Asked> Exchange::asked() {
    const auto request =
        wire::parse_request_head(client_.upload().raw().first(head_size_), core_.fields);
    if (!request) return std::nullopt;
    const auto target = read_target(*request, core_.target);
    if (!target) return std::nullopt;
    return Asked{*request, *target};
}

void Exchange::leave_head() {
    if (head_size_ == 0) return;
    client_.upload().skip_raw(head_size_);
    client_.upload().begin_body(request_body_, request_body_.kind == BodyKind::kChunked);
    head_size_ = 0;
}

void Exchange::route(const wire::Http1RequestHead& head, const RequestTarget& target) {
    const auto found = site_->routes.match(
        target.authority.host, target.path,
        {.method = head.method, .fields = head.fields, .client = client_.facts().remote.address});
    if (!found) {
        if (found.error() == RouteTable::Miss::kAmbiguous)
            return refuse(Http1Fault::kPathAmbiguous);
        return refuse(404, "no route leads from this host and path");
    }
    ++site_->route_requests[*found];
    const contract::RouteConfig& route = site_->snapshot->routes[*found];
    route_ = &route;
    const Caller caller = identify(client_.facts(), core_.peers);
    if (notes_ != nullptr && caller.peer != nullptr) notes_->peer = *caller.peer;
    if (!may_pass(route.auth, caller))
        return refuse(403, "only devices of the tunnel may use this address");
    backend_ = &site_->backends[route.backend];
    if (!pick_server()) return refuse(503, "no server takes requests for this address");
    if (picked_->config().kind == contract::ServerKind::kWelcome) {
        begin_try();
        end_try(RequestOutcome::kAnswered, 200);
        return welcome(target.authority.host, caller.peer);
    }
    forward(head, target, caller.peer);
}

void Exchange::forward(const wire::Http1RequestHead& head, const RequestTarget& target,
                       const std::string* peer) {
    const ForwardedRequest forwarded{
        .path = target.sent,
        .query = target.query,
        .authority = target.authority,
        .body = request_body_,
        .expects_continue = expects_continue_,
        .accepts_trailers = accepts_trailers_,
        .upgrade = wants_websocket_,
        .client_address = client_.address_text(),
        .encrypted = client_.facts().encrypted,
        .peer = peer != nullptr ? std::string_view(*peer) : std::string_view(),
    };
    Relay& up = client_.upload();
    wire::Http1HeadWriter writer(
        up.lease_head(core_.buffers, head_size_ + BufferPool::kHeadGrowth));
    write_request(head, forwarded, writer);
    if (!writer.ok()) return refuse(Http1Fault::kHeadTooLarge);
    up.set_head(writer.size(), true);
    leave_head();
    connect(false);
}

void Exchange::inquiry_ended() {
    inquiry_.reset();
    refuse(503, "it cannot be decided who may pass");
}

void Exchange::describe(ForwardedResponse& forwarded) {
    forwarded.date = core_.date.text(core_.now.wall);
}

void Exchange::welcome(std::string_view host, const std::string* peer) {
    std::array<uint8_t, 4096> body;
    const size_t size = write_welcome_body(
        host, peer != nullptr ? std::string_view(*peer) : std::string_view(), body);
    answer(200, "text/html; charset=utf-8", as_text({body.data(), size}));
}

void Exchange::refuse(Http1Fault fault) {
    // Where the next request would begin is anybody's guess now.
    keep_client_ = false;
    core_.drops.add(DropReason::kHttpMalformed);
    const wire::Http1FaultText text = text_of(fault);
    refuse(text.status, text.sentence);
}

void Exchange::refuse_slow_head() {
    keep_client_ = false;
    core_.drops.add(DropReason::kClientTimeout);
    refuse(408, "the request did not arrive in time");
}

void Exchange::refuse(uint16_t status, std::string_view sentence) {
    std::array<uint8_t, 512> body;
    const size_t size = write_refusal_body(status, sentence, body);
    answer(status, "text/plain; charset=utf-8", as_text({body.data(), size}));
}

void Exchange::answer(uint16_t status, std::string_view content_type, std::string_view body) {
    leave_head();
    inquiry_.reset();
    upload_ = Upload::kAbandoned;
    download_ = Download::kOwnAnswer;
    note_response(status);
    moved_at_ = core_.now.mono;
    // A body that was not read to its end would be taken for the next request. Even one that may be
    // here already: the answer must not depend on how the bytes happened to be split.
    keep_client_ = keep_client_ && client_.upload().source_complete() && !core_.draining;
    const size_t size = write_answer({.status = status,
                                      .content_type = content_type,
                                      .body = body,
                                      .close = !keep_client_,
                                      .head_only = to_head_,
                                      .date = core_.date.text(core_.now.wall)},
                                     down_.lease_head(core_.buffers, BufferPool::kSmall));
    if (size == 0) return abort();
    down_.set_head(size, false);
    down_.begin_body({BodyKind::kNone, 0}, false);
}

}  // namespace sluice::http
