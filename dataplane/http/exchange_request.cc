// What the client asked for, and which answer or server that leads to.
#include <algorithm>
#include <array>
#include <chrono>

#include "dataplane/base/check.h"
#include "dataplane/http/answer.h"
#include "dataplane/http/auth.h"
#include "dataplane/http/client_connection.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/header_rules.h"
#include "dataplane/http/sticky.h"
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
    const bool has_body = framing->body.kind == BodyKind::kChunked || framing->body.length > 0;
    odd_body_ = has_body && is_odd_with_body(request->method);
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
    // Servers of HTTP/2 may say that they did nothing of it, and then its method does not matter.
    const bool may_be_refused =
        picked_ != nullptr && picked_->protocol() == contract::UpstreamProtocol::kHttp2;
    if (idempotent_ || may_be_refused) client_.upload().keep_body();
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
    // Only to where something is: a link to us with a host of somebody's choice must not send
    // people on to it.
    if (const uint16_t port = client_.facts().redirect_to_https; port != 0)
        return redirect({.scheme = "https", .port = port}, target);
    ++site_->route_requests[*found];
    const contract::RouteConfig& route = site_->snapshot->routes[*found];
    route_ = &route;
    if (!take_turn(route)) return;
    const Caller caller = identify(client_.facts(), core_.peers);
    if (notes_ != nullptr && caller.peer != nullptr) notes_->peer = *caller.peer;
    const Access access = decide(route, *site_->snapshot, caller, &client_.stream(),
                                 target.authority.host, core_.now.wall);
    if (notes_ != nullptr) notes_->certified = access.certificate != nullptr;
    if (access.verdict == Access::Verdict::kRefuse) return refuse(access.status, access.sentence);
    if (request_body_.kind == BodyKind::kLength &&
        request_body_.length > route.body_bytes_max.value_or(UINT64_MAX)) {
        const wire::Http1FaultText text = text_of(Http1Fault::kBodyTooLarge);
        return refuse(text.status, text.sentence);
    }
    if (access.verdict == Access::Verdict::kAsk) {
        const contract::ForwardAuthConfig& config =
            site_->snapshot->forward_auths[*route.forward_auth];
        auto question = std::make_unique<ForwardAuth>(core_, client_, site_, config);
        const auto refused = question->ask(head, target, request_body_, head_size_);
        if (refused) return refuse(refused->status, refused->sentence);
        return inquire(std::move(question));
    }
    proceed(head, target, {caller.peer, access.certificate});
}

const RouteAction& Exchange::action() const {
    return site_->actions[static_cast<size_t>(route_ - site_->snapshot->routes.data())];
}

bool Exchange::take_turn(const contract::RouteConfig& route) {
    if (!route.rate_limit || core_.limits == nullptr) return true;
    const contract::RateLimit& limit = *route.rate_limit;
    SourceLimits& limits = *core_.limits;
    const uint64_t source =
        limits.hash.of(limit.each_client ? client_.facts().remote.address : IpAddress(),
                       limits.hash.of(as_bytes(route.name)));
    const Duration wait =
        limits.paces.take(source, Pace::of(limit.requests, limit.per, limit.burst), core_.now.mono);
    if (wait == Duration::zero()) return true;
    core_.drops.add(DropReason::kRequestRateLimited);
    std::array<uint8_t, 512> body;
    const size_t size = write_refusal_body(429, "more requests than this address takes", body);
    answer(429, "text/plain; charset=utf-8", as_text({body.data(), size}), {},
           static_cast<uint32_t>(std::chrono::ceil<std::chrono::seconds>(wait).count()));
    return false;
}

void Exchange::proceed(const wire::Http1RequestHead& head, const RequestTarget& target,
                       const Admitted& admitted) {
    if (route_->redirect) return redirect(*route_->redirect, target);
    backend_ = &site_->backends[route_->backend];
    if (const auto& sticky = backend_->config.sticky) {
        kept_ = backend_->sticky_server(cookie_value(head, sticky->name), core_.now);
        picked_ = kept_;
    }
    if (picked_ == nullptr && !pick_server())
        return refuse(503, "no server takes requests for this address");
    if (picked_->config().kind == contract::ServerKind::kWelcome) {
        begin_try();
        end_try(RequestOutcome::kAnswered, 200);
        return welcome(target.authority.host, admitted.peer);
    }
    forward(head, target, admitted);
}

void Exchange::redirect(const contract::Redirect& redirect, const RequestTarget& target) {
    const auto location = redirect_location(redirect, target, client_.facts().encrypted);
    if (!location) return refuse(Http1Fault::kHostMissing);
    this->redirect(redirect.status, *location);
}

void Exchange::redirect(uint16_t status, std::string_view location) {
    std::array<uint8_t, 512> body;
    const size_t size = write_refusal_body(status, "what you ask for is elsewhere", body);
    answer(status, "text/plain; charset=utf-8", as_text({body.data(), size}), location);
}

void Exchange::forward(const wire::Http1RequestHead& head, const RequestTarget& target,
                       const Admitted& admitted) {
    const RouteAction& action = this->action();
    // Which route it is has been decided; the second reading's place is free.
    const auto path = action.rewrite(target, core_.target.generous_path);
    if (!path) return refuse(path.error());
    ForwardedRequest forwarded{
        .path_prefix = path->prefix,
        .path = path->path,
        .query = target.query,
        .authority = target.authority,
        .body = request_body_,
        .expects_continue = expects_continue_,
        .accepts_trailers = accepts_trailers_,
        .upgrade = wants_websocket_,
        .client_address = client_.address_text(),
        .encrypted = client_.facts().encrypted,
        .peer = admitted.peer != nullptr ? std::string_view(*admitted.peer) : std::string_view(),
        .node = site_->snapshot->node_name,
        .stripped_prefix = path->stripped,
        .reserved = action.reserved,
    };
    if (!backend_->config.pass_host) {
        forwarded.host = picked_->config().host;
        for (const contract::ServerConfig& server : backend_->config.servers)
            forwarded.host_room = std::max(forwarded.host_room, server.host.size());
    }
    if (!route_->request_headers.empty()) forwarded.edits = &route_->request_headers;
    if (admitted.certificate != nullptr) {
        forwarded.certificate_pem = admitted.certificate->forwarded_pem();
        forwarded.certificate_info = admitted.certificate->forwarded_info();
    }
    if (granted_ != nullptr) forwarded.granted = granted_->headers;
    Relay& up = client_.upload();
    wire::Http1HeadWriter writer(
        up.lease_head(core_.buffers, head_size_ + BufferPool::kHeadGrowth + added_size(forwarded)));
    write_request(head, forwarded, writer);
    if (!writer.ok()) return refuse(Http1Fault::kHeadTooLarge);
    up.set_head(writer.size(), true);
    leave_head();
    if (route_->body_bytes_max) up.limit_body(*route_->body_bytes_max);
    connect(false);
}

void Exchange::name_server() {
    if (backend_->config.pass_host) return;
    const MutableBytes head = client_.upload().waiting_head();
    // The second line, which write_request() padded for the longest name of them.
    const auto line = std::ranges::find(head, uint8_t{'\n'});
    constexpr std::string_view kName = "Host: ";
    const size_t begin = static_cast<size_t>(line - head.begin()) + 1 + kName.size();
    SLUICE_CHECK(begin < head.size());
    const MutableBytes value = head.subspan(begin);
    const size_t room =
        static_cast<size_t>(std::ranges::find(value, uint8_t{'\r'}) - value.begin());
    const std::string& host = picked_->config().host;
    SLUICE_CHECK(host.size() <= room);
    std::ranges::fill(value.first(room), uint8_t{' '});
    std::ranges::copy(host, value.begin());
}

void Exchange::inquiry_ended() {
    // Nothing but forward-auth inquires.
    const auto inquiry = std::move(inquiry_);
    auto& question = static_cast<ForwardAuth&>(*inquiry);
    switch (question.verdict()) {
        case ForwardAuth::Verdict::kUndecided:
            break;
        case ForwardAuth::Verdict::kPass: {
            granted_ = std::make_unique<Granted>(question.take_granted());
            if (notes_ != nullptr) notes_->user = granted_->user;
            const auto request = asked();
            if (!request) break;
            return proceed(request->head, request->target, {});
        }
        case ForwardAuth::Verdict::kAnswer:
            return pass_on(question.answer());
        case ForwardAuth::Verdict::kSignIn:
            return redirect(302, question.config().signin_url);
        case ForwardAuth::Verdict::kRefuse:
            return refuse(question.refusal().status, question.refusal().sentence);
    }
    refuse(503, "it cannot be decided who may pass");
}

void Exchange::describe(ForwardedResponse& forwarded) {
    forwarded.date = core_.date.text(core_.now.wall);
    if (!route_->response_headers.empty()) forwarded.edits = &route_->response_headers;
    if (granted_ != nullptr) forwarded.cookies = granted_->cookies;
    if (backend_ != nullptr && backend_->config.sticky && picked_ != kept_) {
        cookies_.assign(forwarded.cookies.begin(), forwarded.cookies.end());
        cookies_.push_back(sticky_cookie(*backend_->config.sticky, picked_->sticky_token()));
        forwarded.cookies = cookies_;
    }
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

void Exchange::begin_own_answer(uint16_t status) {
    leave_head();
    inquiry_.reset();
    upload_ = Upload::kAbandoned;
    download_ = Download::kOwnAnswer;
    note_response(status);
    moved_at_ = core_.now.mono;
    // A body that was not read to its end would be taken for the next request. Even one that may be
    // here already: the answer must not depend on how the bytes happened to be split.
    keep_client_ = keep_client_ && client_.upload().source_complete() && !core_.draining;
}

void Exchange::answer(uint16_t status, std::string_view content_type, std::string_view body,
                      std::string_view location, uint32_t retry_after_s) {
    begin_own_answer(status);
    // A location may be as long as the request that it answers.
    const size_t room = BufferPool::kSmall + location.size();
    const size_t size = write_answer({.status = status,
                                      .content_type = content_type,
                                      .body = body,
                                      .close = !keep_client_,
                                      .head_only = to_head_,
                                      .date = core_.date.text(core_.now.wall),
                                      .location = location,
                                      .retry_after_s = retry_after_s},
                                     down_.lease_head(core_.buffers, room));
    if (size == 0) return abort();
    down_.set_head(size, false);
    down_.begin_body({BodyKind::kNone, 0}, false);
}

// The auth service's own answer, as if it were the server.
void Exchange::pass_on(const AuthAnswer& answer) {
    const auto response = wire::parse_response_head(as_bytes(answer.head), core_.fields);
    if (!response) return refuse(502, "the auth service's answer is not valid HTTP");
    begin_own_answer(response->status);
    const bool has_body = response->status != 204 && response->status != 304;
    const bool sends_body = has_body && !to_head_;
    const ForwardedResponse forwarded{
        .framing = {.body = {sends_body ? BodyKind::kLength : BodyKind::kNone, answer.body.size()},
                    .has_length_only = has_body && !sends_body,
                    .length_only = answer.body.size()},
        .close = !keep_client_,
        .date = core_.date.text(core_.now.wall),
        .location = answer.location,
    };
    const MutableBytes into =
        down_.lease_message(core_.buffers, answer.head.size() + answer.location.size() +
                                               BufferPool::kHeadGrowth + answer.body.size());
    wire::Http1HeadWriter writer(into);
    write_response(*response, forwarded, writer);
    if (!writer.ok() || into.size() - writer.size() < answer.body.size()) return abort();
    const size_t body_size = sends_body ? answer.body.size() : 0;
    std::copy_n(answer.body.begin(), body_size,
                into.begin() + static_cast<ptrdiff_t>(writer.size()));
    down_.set_head(writer.size() + body_size, false);
    down_.begin_body({BodyKind::kNone, 0}, false);
}

}  // namespace sluice::http
