#include "dataplane/http/http2_upstream.h"

#include <algorithm>
#include <array>

#include "dataplane/base/check.h"
#include "dataplane/http/header_names.h"
#include "dataplane/http/http2_stream.h"
#include "dataplane/http/upstream_pool.h"

namespace sluice::http {

namespace {

// Where it is and how it is recognised; what else the configuration says of a server may change
// without a new connection.
bool same_place(const contract::ServerConfig& a, const contract::ServerConfig& b) {
    return a.kind == b.kind && a.address == b.address && a.unix_path == b.unix_path &&
           a.tls == b.tls && a.url == b.url;
}

}  // namespace

std::unique_ptr<ByteStream> Http2Upstream::open(Core& core, Server& server) {
    Http2Upstream* found = nullptr;
    Http2Upstream* refusing = nullptr;
    size_t refusing_count = 0;
    for (const auto& each : core.http2.upstreams) {
        if (!each->takes_requests_for(server) || each->is_slow_to_stand(core.now)) continue;
        if (each->refuses(core.now)) {
            refusing = each.get();
            ++refusing_count;
        } else {
            found = each.get();
        }
    }
    if (found == nullptr && refusing_count > 1) found = refusing;
    if (found == nullptr) {
        auto below = core.upstream.connect(server);
        if (below == nullptr) return nullptr;
        core.http2.upstreams.push_back(
            std::make_unique<Http2Upstream>(core, std::move(below), server));
        found = core.http2.upstreams.back().get();
    }
    // Until now it owed no answer, and its silence said nothing.
    if (found->stream_count_ == 0) {
        found->heard_at_ = core.now.mono;
        found->asked_ = false;
    }
    auto stream = std::make_unique<Http2Stream>(*found, 0);
    found->link(*stream);
    return stream;
}

Http2Upstream::Http2Upstream(Core& core, std::unique_ptr<ByteStream> stream, const Server& server)
    : Http2Session(core, std::move(stream)),
      config_(server.config()),
      idle_timeout_(server.idle_timeout()),
      begun_at_(core.now.mono),
      heard_at_(core.now.mono),
      idle_since_(core.now.mono) {
    below_->set_handler(this);
    SLUICE_CHECK(nghttp2_session_client_new2(&session_, core_.http2.servers.callbacks, this,
                                             core_.http2.servers.options) == 0);
    const std::array<nghttp2_settings_entry, 2> settings = {{
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         static_cast<uint32_t>(core.head_limits.head_bytes_max)},
    }};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                          static_cast<int32_t>(kConnectionWindow));
    mark_unsent();
}

Http2Upstream::~Http2Upstream() {
    while (streams_ != nullptr) {
        Http2Stream& stream = *streams_;
        unlink(stream);
        // Of one without a number nothing was sent. Without a connection that is not said: then the
        // server is not there.
        if (established_ && stream.id() <= 0) stream.cut_unprocessed();
        stream.lose_session();
        if (stream.handler() != nullptr) stream.handler()->on_stream_ready();
    }
}

bool Http2Upstream::takes_requests_for(const Server& server) const {
    return !leaving_ && !broken_ && same_place(config_, server.config()) &&
           stream_count_ < nghttp2_session_get_remote_settings(
                               session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
           nghttp2_session_check_request_allowed(session_) != 0;
}

Http2Stream* Http2Upstream::stream_at(int32_t id) const {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

// --- What happens when -----------------------------------------------------------------------

// Nothing of a request is taken before the connection stands: so that another server can be asked
// if it never does.
bool Http2Upstream::pump() {
    const bool room = Http2Session::pump();
    if (established_ || broken_) return room;
    write_out();
    if (!wrote_any_) return false;
    const TlsFacts* const tls = below_->tls_facts();
    established_ = true;
    if (tls != nullptr && tls->alpn != "h2") broken_ = true;
    return room && !broken_;
}

void Http2Upstream::on_stream_ready() {
    readable_ = writable_ = true;
    run();
}

void Http2Upstream::run() {
    mark_unsent();
    pump();
    if (!broken_) receive();
    if (!broken_) serve_waiting();
    settle();
}

void Http2Upstream::receive() {
    while (readable_ && !broken_) {
        const MutableBytes input = core_.http2.input();
        const IoResult read = below_->read(input);
        if (read.status == IoStatus::kWouldBlock) {
            readable_ = false;
        } else if (read.status != IoStatus::kOk) {
            broken_ = true;
        } else {
            heard_at_ = core_.now.mono;
            asked_ = false;
            if (nghttp2_session_mem_recv(session_, input.data(), read.bytes) < 0) broken_ = true;
            deliver();
        }
    }
    deliver();
}

void Http2Upstream::deliver() {
    while (Http2Stream* const stream = take_ready()) {
        current_ = stream;
        if (stream->handler() != nullptr) stream->handler()->on_stream_ready();
        if (current_ != nullptr) current_->keep_input();
        current_ = nullptr;
    }
}

void Http2Upstream::end_turn() {
    pump();
    write_out();
    receive();  // what lies below calls only after it was read until it was empty
    serve_waiting();
    pump();
    write_out();
    settle_below();
    deliver();
    settle();
}

// May destroy it.
void Http2Upstream::settle() {
    const bool over = nghttp2_session_want_read(session_) == 0 &&
                      nghttp2_session_want_write(session_) == 0 && !output_waits();
    if (broken_ || over || (leaving_ && stream_count_ == 0 && !output_waits())) {
        auto& all = core_.http2.upstreams;
        const auto own = std::ranges::find(all, this, [](const auto& each) { return each.get(); });
        const std::unique_ptr<Http2Upstream> last = std::move(*own);
        all.erase(own);
        return;
    }
    const Instant deadline = due();
    if (!pending() || deadline < Timer::deadline()) core_.timers.set(*this, deadline);
}

Instant Http2Upstream::due() const {
    if (stream_count_ == 0) return idle_since_ + idle_timeout_;
    return heard_at_ + (asked_ ? 2 * kSilence : kSilence);
}

void Http2Upstream::on_timer(Now now) {
    core_.now = now;
    if (now.mono >= due()) {
        if (stream_count_ == 0 || asked_ || !established_) {
            leaving_ = true;
            if (stream_count_ > 0 && established_) broken_ = true;
        } else {
            asked_ = true;
            nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
            mark_unsent();
        }
    }
    if (leaving_ && stream_count_ > 0 && !broken_) return;  // its exchanges have their own time
    settle();
}

void Http2Upstream::forget(Http2Stream& stream) {
    give_back_window(stream);
    unlink(stream);
    if (current_ == &stream) current_ = nullptr;
    if (stream_count_ == 0) {
        idle_since_ = core_.now.mono;
        if (!pending()) core_.timers.set(*this, due());
    }
    if (stream.id() <= 0 || stream.closed) return;
    nghttp2_session_set_stream_user_data(session_, stream.id(), nullptr);
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id(), NGHTTP2_CANCEL);
    mark_unsent();
}

// --- What goes -------------------------------------------------------------------------------

bool Http2Upstream::send_head(Http2Stream& stream, Bytes head) {
    std::vector<wire::Http1Field>& fields = core_.http2.fields;
    fields.resize(core_.fields.size() + 64);  // our own come to those of the client
    const auto request = wire::parse_request_head(head, fields);
    if (!request) return false;
    const auto framing = frame_request(*request);
    if (!framing) return false;
    std::string_view host;
    std::vector<nghttp2_nv>& block = core_.http2.block;
    block.assign(4, nghttp2_nv{});
    for (const wire::Http1Field& field : request->fields) {
        switch (recognise(field.name).name) {
            case HeaderName::kHost:
                host = field.value;
                continue;
            case HeaderName::kConnection:
            case HeaderName::kTransferEncoding:
                continue;
            case HeaderName::kHopByHop:
                if (wire::equals_ignoring_case(field.name, "te")) break;
                if (wire::equals_ignoring_case(field.name, "trailer")) break;
                continue;
            default:
                break;
        }
        block.push_back(pair(field.name, field.value));
    }
    block[0] = pair(":method", request->method);
    block[1] = pair(":scheme", config_.kind == contract::ServerKind::kHttps ? "https" : "http");
    block[2] = pair(":authority", host);
    block[3] = pair(":path", request->target);
    stream.to_head = request->method == "HEAD";
    stream.begin_output(framing->body);
    const nghttp2_data_provider data = data_of(stream);
    const int32_t id = nghttp2_submit_request(session_, nullptr, block.data(), block.size(),
                                              stream.output_ended() ? nullptr : &data, &stream);
    if (id <= 0) return false;
    stream.set_id(id);
    return true;
}

// --- What comes ------------------------------------------------------------------------------

nghttp2_session_callbacks* Http2Upstream::make_callbacks() {
    nghttp2_session_callbacks* made = nullptr;
    SLUICE_CHECK(nghttp2_session_callbacks_new(&made) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(made, on_send_data);
    return made;
}

nghttp2_option* Http2Upstream::make_options() {
    nghttp2_option* made = nullptr;
    SLUICE_CHECK(nghttp2_option_new(&made) == 0);
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_max_send_header_block_length(made, 1024 * 1024);
    return made;
}

int Http2Upstream::on_begin_headers(nghttp2_session*, const nghttp2_frame*, void* self) {
    auto& upstream = *static_cast<Http2Upstream*>(self);
    upstream.fields_.clear();
    upstream.status_.clear();
    upstream.has_length_ = false;
    upstream.size_left_ = upstream.core_.head_limits.head_bytes_max;
    return 0;
}

int Http2Upstream::on_header(nghttp2_session* session, const nghttp2_frame* frame,
                             const uint8_t* name, size_t name_size, const uint8_t* value,
                             size_t value_size, uint8_t, void* self) {
    auto& upstream = *static_cast<Http2Upstream*>(self);
    const std::string_view field = as_text({name, name_size});
    const std::string_view content = as_text({value, value_size});
    const size_t size = field.size() + content.size() + 4;
    bool good = size <= upstream.size_left_ && wire::is_http1_field_value(content);
    if (good && field == ":status") {
        upstream.status_ = content;
    } else if (good) {
        upstream.size_left_ -= size;
        good = wire::is_http1_token(field);
        upstream.has_length_ = upstream.has_length_ || field == "content-length";
        upstream.fields_.append(field).append(": ").append(content).append("\r\n");
    }
    if (good) return 0;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void Http2Upstream::receive_headers(const nghttp2_frame& frame) {
    Http2Stream* const stream = stream_at(frame.hd.stream_id);
    if (stream == nullptr) return;
    const bool ended = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (status_.empty()) {
        stream->receive_trailers(fields_);
    } else {
        std::string head = "HTTP/1.1 " + status_ + " \r\n" + fields_;
        if (status_[0] != '1') {
            const bool no_body = stream->to_head || status_ == "204" || status_ == "304";
            if (ended && !has_length_ && !no_body) head += "content-length: 0\r\n";
            if (!ended && !has_length_ && !no_body) head += "transfer-encoding: chunked\r\n";
            head += "connection: close\r\n";
            stream->form = ended || no_body ? Http2Stream::BodyForm::kNone
                           : has_length_    ? Http2Stream::BodyForm::kPlain
                                            : Http2Stream::BodyForm::kChunked;
        }
        head += "\r\n";
        if (stream->head_waits() + head.size() >
            kInterimHeadsMax * core_.head_limits.head_bytes_max + BufferPool::kHeadGrowth) {
            nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id(),
                                      NGHTTP2_ENHANCE_YOUR_CALM);
            stream->cut();
            post(*stream);
            return;
        }
        stream->add_head(head);
    }
    if (ended) stream->end_input();
    post(*stream);
}

int Http2Upstream::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    auto& upstream = *static_cast<Http2Upstream*>(self);
    switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
            upstream.receive_headers(*frame);
            return 0;
        case NGHTTP2_DATA:
            if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
            if (Http2Stream* const stream = upstream.stream_at(frame->hd.stream_id)) {
                stream->end_input();
                upstream.post(*stream);
            }
            return 0;
        case NGHTTP2_SETTINGS:
            upstream.window_opened(nullptr);
            return 0;
        case NGHTTP2_WINDOW_UPDATE:
            if (frame->hd.stream_id == 0) {
                upstream.window_opened(nullptr);
            } else if (Http2Stream* const stream = upstream.stream_at(frame->hd.stream_id)) {
                upstream.window_opened(stream);
            }
            return 0;
        case NGHTTP2_GOAWAY:
            upstream.leaving_ = true;
            return 0;
        default:
            return 0;
    }
}

int Http2Upstream::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data,
                           size_t size, void* self) {
    auto& upstream = *static_cast<Http2Upstream*>(self);
    Http2Stream* const stream = upstream.stream_at(id);
    if (stream == nullptr) {
        nghttp2_session_consume_connection(session, size);
        return 0;
    }
    stream->receive({data, size});
    upstream.post(*stream);
    return 0;
}

// libnghttp2 closes streams above the last one of a GOAWAY as refused ones.
int Http2Upstream::on_stream_close(nghttp2_session*, int32_t id, uint32_t error, void* self) {
    auto& upstream = *static_cast<Http2Upstream*>(self);
    const bool refused = error == NGHTTP2_REFUSED_STREAM;
    if (refused) upstream.refuses_until_ = upstream.core_.now.mono + kRefusing;
    Http2Stream* const stream = upstream.stream_at(id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    if (refused) {
        stream->cut_unprocessed();
    } else if (!stream->input_ended()) {
        stream->cut();
    }
    upstream.post(*stream);
    return 0;
}

}  // namespace sluice::http
