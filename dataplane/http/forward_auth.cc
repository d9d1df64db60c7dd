#include "dataplane/http/forward_auth.h"

#include <algorithm>

#include "dataplane/http/client_connection.h"
#include "dataplane/http/header_rules.h"

namespace sluice::http {

namespace {

// Services that are down are found out one after the other, and the client waits meanwhile.
constexpr uint8_t kTriesMax = 3;
// Informational responses before the answer; as many as servers may send.
constexpr uint8_t kInterimMax = 16;
// Most answers fit, so one read brings them.
constexpr size_t kReadSize = 4096;
// What chunks may add to a body that is collected: a few times what honest clients add.
constexpr size_t chunked_size(size_t body_max) {
    return body_max + body_max / 2 + 1024;
}

void spend(size_t& budget, size_t bytes) {
    budget -= std::min(budget, bytes);
}

bool has_name(const wire::Http1Field& field, std::string_view name) {
    return wire::equals_ignoring_case(field.name, name);
}

}  // namespace

std::string resolve_location(std::string_view location, std::string_view scheme,
                             std::string_view authority, std::string_view path) {
    const size_t end_of_scheme = location.find_first_of(":/?#");
    if (end_of_scheme != std::string_view::npos && end_of_scheme > 0 &&
        location[end_of_scheme] == ':')
        return std::string(location);
    std::string resolved = std::string(scheme) + ":";
    if (location.starts_with("//")) return resolved.append(location);
    resolved.append("//").append(authority);
    if (location.starts_with('/')) return resolved.append(location);
    const std::string_view base = path.substr(0, path.find('?'));
    if (location.empty() || location.front() == '?' || location.front() == '#')
        return resolved.append(base).append(location);
    return resolved.append(base.substr(0, base.rfind('/') + 1)).append(location);
}

ForwardAuth::ForwardAuth(Core& core, ClientConnection& client, std::shared_ptr<Site> site,
                         const contract::ForwardAuthConfig& config)
    : core_(core),
      client_(client),
      site_(std::move(site)),
      config_(config),
      backend_(site_->backends[config.backend]) {}

ForwardAuth::~ForwardAuth() {
    if (trying_) picked_->request_ended(RequestOutcome::kGivenUp, 0, core_.now);
}

std::optional<ForwardAuth::Refusal> ForwardAuth::ask(const wire::Http1RequestHead& head,
                                                     const RequestTarget& target,
                                                     const BodyFraming& body, size_t head_size) {
    const AuthQuestion question{
        .config = config_,
        .path = target.sent,
        .query = target.query,
        .authority = target.authority,
        .client_address = client_.address_text(),
        .encrypted = client_.facts().encrypted,
    };
    // The target and the host are in it a second time, as X-Forwarded-Uri and -Host.
    std::vector<uint8_t> storage(2 * head_size + config_.path.size() + config_.authority.size() +
                                 BufferPool::kHeadGrowth);
    wire::Http1HeadWriter writer(storage);
    write_question(head, question, writer);
    if (!writer.ok()) return Refusal{431, "the request's headers are too large"};
    question_.assign(as_text({storage.data(), writer.size()}));
    to_head_ = config_.preserve_method && head.method == "HEAD";
    head_size_ = head_size;
    request_body_ = body;
    deadline_ = core_.now.mono + config_.timeout;
    if (!config_.forward_body || body.kind == BodyKind::kNone) {
        complete_question(config_.preserve_method && head.method != "GET" && !to_head_);
        connect(false);
        return std::nullopt;
    }
    const uint64_t wanted =
        body.kind == BodyKind::kLength ? body.length : chunked_size(*config_.forward_body);
    // It has to be in one buffer with the head.
    const size_t room = core_.buffers.large() - std::min(core_.buffers.large(), head_size);
    if (body.kind == BodyKind::kLength && wanted > std::min<uint64_t>(*config_.forward_body, room))
        return Refusal{413, "the body is larger than the auth service takes"};
    body_wanted_ = std::min<uint64_t>(wanted, room);
    meaningless_body_ = !config_.preserve_method || is_odd_with_body(head.method);
    phase_ = Phase::kBody;
    deadline_ = core_.now.mono + site_->snapshot->limits.progress_timeout;
    return std::nullopt;
}

// `has_body`: Content-Length is said; what follows in question_ then is for the caller to add.
void ForwardAuth::complete_question(bool has_body) {
    question_ += has_body ? "Content-Length: 0\r\n\r\n" : "\r\n";
    phase_ = Phase::kHead;
}

void ForwardAuth::on_stream_ready() {
    readable_ = writable_ = true;
    client_.run();  // may destroy this
}

bool ForwardAuth::pump(size_t& budget) {
    if (decided()) return true;
    if (phase_ == Phase::kBody) return collect_body(budget);
    bool moved = send(budget);
    if (!decided()) moved = receive(budget) || moved;
    return moved;
}

// --- The client's body, where the service wants to see it ----------------------------------------

bool ForwardAuth::collect_body(size_t& budget) {
    Relay& up = client_.upload();
    bool moved = false;
    for (;;) {
        const Bytes raw = up.raw().subspan(head_size_);
        if (take_body(raw)) return true;
        if (raw.size() >= body_wanted_) {
            refuse(413, "the body is larger than the auth service takes");
            return true;
        }
        if (!client_.readable) return moved;
        const Relay::Filled filled =
            up.fill(client_.stream(), core_.buffers, Relay::Room::kMayGrow);
        if (filled.status == IoStatus::kWouldBlock) {
            if (filled.full) {
                refuse(413, "the body is larger than the auth service takes");
                return true;
            }
            client_.readable = false;
            return moved;
        }
        // An end is found again by whoever watches the client.
        if (filled.status != IoStatus::kOk) return moved;
        deadline_ = core_.now.mono + site_->snapshot->limits.progress_timeout;
        moved = true;
        spend(budget, filled.bytes);
        if (budget == 0) return true;
    }
}

bool ForwardAuth::take_body(Bytes raw) {
    using Result = wire::Http1ChunkedDecoder::Result;
    if (request_body_.kind == BodyKind::kLength) {
        if (raw.size() < request_body_.length) return false;
        body_ = as_text(raw.first(request_body_.length));
    } else {
        // From where the last call stopped: or else a client that sends chunks of one byte, one by
        // one, would have all of them taken apart again for each.
        for (bool more = true; more;) {
            if (body_decoded_ == raw.size()) return false;
            const wire::Http1ChunkedDecoder::Step step =
                body_decoder_.next(raw.subspan(body_decoded_));
            body_decoded_ += step.consumed;
            if (step.result == Result::kPayload) body_ += as_text(step.payload);
            if (step.result == Result::kFault) {
                core_.drops.add(DropReason::kHttpMalformed);
                refuse(400, "the body's chunks are malformed");
                return true;
            }
            more = step.result != Result::kEnd;
        }
        if (body_.size() > *config_.forward_body) {
            refuse(413, "the body is larger than the auth service takes");
            return true;
        }
    }
    question_ += "Content-Length: " + std::to_string(body_.size()) + "\r\n\r\n" + body_;
    body_.clear();
    phase_ = Phase::kHead;
    deadline_ = core_.now.mono + config_.timeout;
    connect(false);
    return true;
}

// --- The service -------------------------------------------------------------------------------

bool ForwardAuth::pick_server() {
    if (tries_++ >= kTriesMax) return false;
    picked_ = backend_.pick({}, core_.now);
    return picked_ != nullptr;
}

void ForwardAuth::connect(bool fresh) {
    server_.reset();
    sent_ = 0;
    received_.clear();
    scanner_.reset();
    while (fresh || pick_server()) {
        trying_ = true;
        picked_->request_began();
        // One that has said something unasked would answer this question with it, and who passes
        // must not depend on that.
        if (!fresh) server_ = picked_->take_idle(true);
        if (server_ == nullptr) {
            if (auto stream = core_.upstream.open(*picked_))
                server_ = std::make_unique<ServerConnection>(*picked_, std::move(stream));
        }
        if (server_ != nullptr) {
            server_->stream().set_handler(this);
            // One that waited has been read until kWouldBlock.
            readable_ = !server_->reused();
            writable_ = true;
            return;
        }
        trying_ = false;
        picked_->request_ended(RequestOutcome::kNotReached, 0, core_.now);
        fresh = false;
    }
    refuse(502, "the auth service cannot be reached");
}

// The connection broke before there was an answer.
void ForwardAuth::server_failed() {
    const bool stale = server_->reused() && received_.empty() && !repeated_;
    const bool unreached = sent_ == 0 && !server_->reused();
    server_.reset();
    trying_ = false;
    if (stale) {
        // It may have been closed in the moment in which we wrote to it.
        repeated_ = true;
        picked_->request_ended(RequestOutcome::kGivenUp, 0, core_.now);
        return connect(true);
    }
    picked_->request_ended(unreached ? RequestOutcome::kNotReached : RequestOutcome::kBroke, 0,
                           core_.now);
    if (unreached) return connect(false);
    refuse(502, "the auth service gave no whole answer");
}

bool ForwardAuth::send(size_t& budget) {
    bool moved = false;
    while (writable_ && sent_ < question_.size()) {
        const Bytes rest = as_bytes(question_).subspan(sent_);
        const IoResult wrote = server_->stream().write({&rest, 1});
        if (wrote.status == IoStatus::kOk) {
            if (sent_ == 0) picked_->connect_succeeded();
            sent_ += wrote.bytes;
            spend(budget, wrote.bytes);
            moved = true;
            continue;
        }
        writable_ = false;
        if (wrote.status == IoStatus::kWouldBlock) break;
        // It may have answered before it stopped listening.
        readable_ = true;
        if (received_.empty() && sent_ == 0) {
            server_failed();
            return true;
        }
    }
    if (!server_->stream().flush()) writable_ = false;
    return moved;
}

bool ForwardAuth::receive(size_t& budget) {
    bool moved = false;
    while (readable_ && !decided()) {
        const size_t before = received_.size();
        received_.resize(before + kReadSize);
        const IoResult read = server_->stream().read(
            {reinterpret_cast<uint8_t*>(received_.data()) + before, kReadSize});
        received_.resize(before + (read.status == IoStatus::kOk ? read.bytes : 0));
        if (read.status == IoStatus::kWouldBlock) {
            readable_ = false;
            break;
        }
        moved = true;
        spend(budget, std::max<size_t>(read.bytes, 1));
        if (read.status != IoStatus::kOk) {
            const bool ended = phase_ == Phase::kAnswer && read.status == IoStatus::kEnd &&
                               framing_.body.kind == BodyKind::kUntilClose;
            if (ended) {
                finish(true);
            } else {
                server_failed();
            }
            // A new connection has its own turn.
            return true;
        }
        // An answer to a question that was not asked is no answer to this one.
        if (sent_ == 0) {
            refuse(502, "the auth service's answer is not valid HTTP");
            return true;
        }
        if (phase_ == Phase::kHead) take_head(as_bytes(received_));
        if (!decided() && phase_ == Phase::kAnswer && take_answer_body()) finish(true);
        if (budget == 0) break;
    }
    return moved;
}

void ForwardAuth::take_head(Bytes bytes) {
    using Result = wire::Http1HeadScanner::Result;
    constexpr std::string_view kInvalid = "the auth service's answer is not valid HTTP";
    for (;;) {
        const Result scanned =
            scanner_.scan(as_bytes(received_), wire::Http1Kind::kResponse, core_.head_limits);
        if (scanned == Result::kMore) return;
        if (scanned == Result::kFault) return refuse(502, kInvalid);
        bytes = as_bytes(received_).first(scanner_.head_size());
        const auto response = wire::parse_response_head(bytes, core_.fields);
        if (!response || response->status == 101) return refuse(502, kInvalid);
        const auto framing = frame_response(*response, to_head_);
        if (!framing) return refuse(502, kInvalid);
        if (response->status < 200) {
            if (++interim_count_ > kInterimMax) return refuse(502, kInvalid);
            received_.erase(0, bytes.size());
            scanner_.reset();
            continue;
        }
        status_ = response->status;
        framing_ = *framing;
        // One that answers before it has the whole question may never read the rest, and one that
        // got a body with a method that gives it no meaning (RFC 9110 section 9.3.1) may not know
        // that it is one. Either would take the client's bytes for the next question, and its
        // answer would let somebody else pass.
        if (sent_ < question_.size() || meaningless_body_) framing_.reusable = false;
        judge(*response, bytes);
        looked_at_ = bytes.size();
        decoder_ = {};
        phase_ = Phase::kAnswer;
        return;
    }
}

void ForwardAuth::judge(const wire::Http1ResponseHead& response, Bytes head) {
    if (response.status >= 200 && response.status < 300) {
        judged_ = Verdict::kPass;
        return grant(response);
    }
    if (response.status == 401 && !config_.signin_url.empty()) {
        judged_ = Verdict::kSignIn;
        return;
    }
    judged_ = Verdict::kAnswer;
    answer_.head = as_text(head);
    const bool tls = picked_->config().kind == contract::ServerKind::kHttps;
    for (const wire::Http1Field& field : response.fields) {
        if (has_name(field, "location"))
            answer_.location = resolve_location(field.value, tls ? "https" : "http",
                                                config_.authority, config_.path);
    }
}

void ForwardAuth::grant(const wire::Http1ResponseHead& response) {
    const auto value_of = [&response](std::string_view name) {
        const auto found = std::ranges::find_if(
            response.fields, [name](const auto& field) { return has_name(field, name); });
        return found != response.fields.end() ? found->value : std::string_view();
    };
    for (const std::string& name : config_.response_headers) {
        for (const wire::Http1Field& field : response.fields) {
            if (has_name(field, name)) granted_.headers.emplace_back(field.name, field.value);
        }
    }
    for (const wire::Http1Field& field : response.fields) {
        if (has_name(field, "set-cookie") &&
            std::ranges::count(config_.response_cookies, cookie_name(field.value)) > 0)
            granted_.cookies.emplace_back(field.value);
    }
    for (const std::string_view name : {"x-auth-request-user", "remote-user"}) {
        if (granted_.user.empty()) granted_.user = value_of(name);
    }
    if (granted_.user.empty() && !config_.response_headers.empty())
        granted_.user = value_of(config_.response_headers.front());
}

// True: it is complete.
bool ForwardAuth::take_answer_body() {
    using Result = wire::Http1ChunkedDecoder::Result;
    bool complete = framing_.body.kind == BodyKind::kNone ||
                    (framing_.body.kind == BodyKind::kLength && framing_.body.length == 0);
    while (!complete && looked_at_ < received_.size()) {
        const Bytes raw = as_bytes(received_).subspan(looked_at_);
        Bytes payload = raw;
        size_t consumed = raw.size();
        if (framing_.body.kind == BodyKind::kLength) {
            payload =
                raw.first(std::min<uint64_t>(raw.size(), framing_.body.length - answer_size_));
            consumed = payload.size();
            complete = answer_size_ + consumed == framing_.body.length;
        } else if (framing_.body.kind == BodyKind::kChunked) {
            const wire::Http1ChunkedDecoder::Step step = decoder_.next(raw);
            if (step.result == Result::kFault) {
                refuse(502, "the auth service's answer is not valid HTTP");
                return false;
            }
            payload = step.result == Result::kPayload ? step.payload : Bytes();
            consumed = step.consumed;
            complete = step.result == Result::kEnd;
        }
        looked_at_ += consumed;
        answer_size_ += payload.size();
        if (judged_ == Verdict::kAnswer) answer_.body += as_text(payload);
        if (answer_size_ <= config_.answer_bytes_max) continue;
        if (judged_ == Verdict::kAnswer) {
            refuse(502, "the auth service's answer is too large");
        } else {
            finish(false);  // what else it says is of no interest, and too long to listen to
        }
        return false;
    }
    if (complete) return true;
    // Only what has not been looked at is still needed.
    received_.resize(0);
    looked_at_ = 0;
    return false;
}

void ForwardAuth::finish(bool whole) {
    trying_ = false;
    picked_->request_ended(RequestOutcome::kAnswered, status_, core_.now);
    const bool clean = whole && framing_.reusable && sent_ == question_.size() &&
                       looked_at_ == received_.size() && server_->is_silent();
    if (clean) picked_->give_back(std::move(server_), core_.now);
    server_.reset();
    verdict_ = judged_;
}

void ForwardAuth::refuse(uint16_t status, std::string_view sentence) {
    if (trying_) picked_->request_ended(RequestOutcome::kBroke, 0, core_.now);
    trying_ = false;
    server_.reset();
    refusal_ = {status, sentence};
    verdict_ = Verdict::kRefuse;
}

void ForwardAuth::on_deadline() {
    if (phase_ == Phase::kBody) {
        core_.drops.add(DropReason::kClientTimeout);
        return refuse(408, "the request's body did not arrive in time");
    }
    refuse(504, "the auth service did not answer in time");
}

}  // namespace sluice::http
