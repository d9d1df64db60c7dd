// What libnghttp2 tells of a client's frames, and what is made of it. Nothing here calls a
// connection that runs over a stream: libnghttp2 may not be called back from within itself.
#include <array>
#include <charconv>

#include "dataplane/base/check.h"
#include "dataplane/http/client_connection.h"
#include "dataplane/http/header_names.h"
#include "dataplane/http/http2_connection.h"
#include "dataplane/http/http2_stream.h"
#include "dataplane/http/http2_upstream.h"

namespace sluice::http {

namespace {

// What only means something on a connection of HTTP/1.1 (RFC 9113 section 8.2.2).
bool is_about_connection(std::string_view name) {
    const HeaderName known = recognise(name).name;
    if (known == HeaderName::kConnection || known == HeaderName::kTransferEncoding) return true;
    return known == HeaderName::kHopByHop && !wire::equals_ignoring_case(name, "trailer") &&
           !name.starts_with("proxy-auth") && !name.starts_with("Proxy-Auth");
}

// A key for the handshake of HTTP/1.1, which HTTP/2 does without: 16 random bytes in Base64.
std::array<char, 24> websocket_key(Random& random) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::array<uint8_t, 18> bytes{};
    random.fill(std::span(bytes).first(16));
    std::array<char, 24> key{};
    for (size_t i = 0; i < 6; ++i) {
        const uint32_t three =
            uint32_t{bytes[3 * i]} << 16 | uint32_t{bytes[3 * i + 1]} << 8 | bytes[3 * i + 2];
        for (size_t j = 0; j < 4; ++j)
            key[4 * i + j] = kDigits[three >> (18 - 6 * j) & 63];
    }
    key[22] = key[23] = '=';
    return key;
}

}  // namespace

Http2Shared::Http2Shared()
    : clients{Http2Connection::make_callbacks(), Http2Connection::make_options()},
      servers{Http2Upstream::make_callbacks(), Http2Upstream::make_options()} {}

Http2Shared::~Http2Shared() {
    for (const Settings& each : {clients, servers}) {
        nghttp2_session_callbacks_del(each.callbacks);
        nghttp2_option_del(each.options);
    }
}

nghttp2_session_callbacks* Http2Connection::make_callbacks() {
    nghttp2_session_callbacks* made = nullptr;
    SLUICE_CHECK(nghttp2_session_callbacks_new(&made) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, on_invalid_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(made, on_send_data);
    return made;
}

nghttp2_option* Http2Connection::make_options() {
    nghttp2_option* made = nullptr;
    SLUICE_CHECK(nghttp2_option_new(&made) == 0);
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_no_closed_streams(made, 1);
    // Answers to PING and SETTINGS that nobody takes. Its own limit is 1000.
    nghttp2_option_set_max_outbound_ack(made, kQueueMax);
    // Heads that we send were bounded when they were received, and got a little longer here.
    nghttp2_option_set_max_send_header_block_length(made, 1024 * 1024);
    return made;
}

// One thing was asked of us that brings nobody further.
bool Http2Connection::tolerate() {
    if (patience_.spend(core_.now.mono)) return true;
    provoked_ = true;
    return false;
}

Http2Stream* Http2Connection::stream_at(int32_t id) const {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

// --- What comes ------------------------------------------------------------------------------

int Http2Connection::on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    switch (header->type) {
        case NGHTTP2_DATA:
            if (header->length > 0 || (header->flags & NGHTTP2_FLAG_END_STREAM) != 0) return 0;
            break;
        case NGHTTP2_HEADERS:
            connection.head_since_ = connection.core_.now.mono;
            return 0;
        case NGHTTP2_CONTINUATION:
        case NGHTTP2_GOAWAY:
            return 0;
        default:
            break;
    }
    return connection.tolerate() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Http2Connection::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    connection.receiving_trailers_ = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    if (connection.receiving_trailers_) {
        connection.core_.http2.trailers.clear();
        return 0;
    }
    const contract::HttpLimits& limits = connection.core_.site->snapshot->limits;
    // Each stream is a connection to the rest of this room, and all together are no more than
    // there may be connections.
    if (connection.core_.http2.streams + connection.new_streams_ >= limits.connections_max) {
        connection.core_.drops.add(DropReason::kConnectionLimit);
        nghttp2_submit_rst_stream(connection.session_, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    ++connection.new_streams_;
    connection.begin_stream(frame->hd.stream_id);
    connection.core_.http2.head.begin(limits.head_bytes_max, limits.header_count_max);
    return 0;
}

void Http2Connection::begin_stream(int32_t id) {
    auto* const stream = new Http2Stream(*this, id);
    link(*stream);
    nghttp2_session_set_stream_user_data(session_, id, stream);
}

int Http2Connection::on_header(nghttp2_session* session, const nghttp2_frame* frame,
                               const uint8_t* name, size_t name_size, const uint8_t* value,
                               size_t value_size, uint8_t, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    const std::string_view field = as_text({name, name_size});
    const std::string_view content = as_text({value, value_size});
    bool good = true;
    if (!connection.receiving_trailers_) {
        good = connection.core_.http2.head.add(field, content);
    } else {
        std::string& lines = connection.core_.http2.trailers;
        good = wire::is_http1_token(field) && wire::is_http1_field_value(content) &&
               lines.size() + field.size() + content.size() + 4 <=
                   wire::Http1ChunkedDecoder::kTrailerTotalMax;
        if (good) lines.append(field).append(": ").append(content).append("\r\n");
    }
    if (good) return 0;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int Http2Connection::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
            connection.receive_headers(*frame);
            return 0;
        case NGHTTP2_DATA:
            // Nothing but padding.
            if (!ended && frame->hd.length > 0 && frame->hd.length <= frame->data.padlen + 1 &&
                !connection.tolerate())
                return NGHTTP2_ERR_CALLBACK_FAILURE;
            if (Http2Stream* const stream = connection.stream_at(frame->hd.stream_id);
                stream != nullptr && ended) {
                stream->end_input();
                connection.post(*stream);
            }
            return 0;
        case NGHTTP2_SETTINGS:
            if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) return 0;
            connection.greeted_ = true;
            connection.window_opened(nullptr);
            return 0;
        case NGHTTP2_WINDOW_UPDATE:
            if (frame->hd.stream_id == 0) {
                connection.window_opened(nullptr);
            } else if (Http2Stream* const stream = connection.stream_at(frame->hd.stream_id)) {
                connection.window_opened(stream);
            }
            return 0;
        case NGHTTP2_PING:
            if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) connection.finish_drain();
            return 0;
        default:
            return 0;
    }
}

void Http2Connection::receive_headers(const nghttp2_frame& frame) {
    head_since_ = kNever;
    Http2Stream* const stream = stream_at(frame.hd.stream_id);
    if (stream == nullptr) return;
    const bool ended = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!receiving_trailers_) {
        end_request_head(*stream, ended);
    } else {
        stream->receive_trailers(core_.http2.trailers);
    }
    if (ended) stream->end_input();
    post(*stream);
}

void Http2Connection::end_request_head(Http2Stream& stream, bool ended) {
    const Http2RequestHead& head = core_.http2.head;
    if (head.too_large()) return refuse(stream);
    stream.to_head = head.to_head();
    stream.upgrades = head.upgrades();
    std::array<char, 24> key{};
    if (stream.upgrades) key = websocket_key(core_.random);
    std::string& heads = core_.http2.heads;
    stream.head_at = heads.size();
    head.write(ended, {key.data(), key.size()}, heads);
    stream.head_size = heads.size() - stream.head_at;
    stream.form = stream.upgrades     ? Http2Stream::BodyForm::kTunnel
                  : ended             ? Http2Stream::BodyForm::kNone
                  : head.has_length() ? Http2Stream::BodyForm::kPlain
                                      : Http2Stream::BodyForm::kChunked;
}

// Larger than we said we would take: nothing of it was kept that could be answered by rules.
void Http2Connection::refuse(Http2Stream& stream) {
    core_.drops.add(DropReason::kHttpMalformed);
    const std::array<nghttp2_nv, 3> block = {pair(":status", "431"), pair("content-length", "0"),
                                             pair("date", core_.date.text(core_.now.wall))};
    nghttp2_submit_response(session_, stream.id(), block.data(), block.size(), nullptr);
    stream.begin_output({BodyKind::kNone, 0});
    stream.cut();  // for whoever would run over it
    stream.refused = true;
}

int Http2Connection::on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    connection.core_.drops.add(DropReason::kHttpMalformed);
    return connection.tolerate() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Http2Connection::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data,
                             size_t size, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    Http2Stream* const stream = connection.stream_at(id);
    if (stream == nullptr || stream->is_cut()) {
        nghttp2_session_consume_connection(session, size);
        return 0;
    }
    stream->receive({data, size});
    connection.post(*stream);
    return 0;
}

int Http2Connection::on_stream_close(nghttp2_session*, int32_t id, uint32_t, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    Http2Stream* const stream = connection.stream_at(id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    if (stream->output_ended() && stream->input_ended()) return 0;
    stream->cut();
    connection.post(*stream);
    return 0;
}

int Http2Connection::on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    auto& connection = *static_cast<Http2Connection*>(self);
    switch (frame->hd.type) {
        case NGHTTP2_DATA:
            connection.patience_.earn();
            return 0;
        case NGHTTP2_RST_STREAM:
            // A client that makes us reset its streams works us as one that resets them itself.
            if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
                frame->rst_stream.error_code != NGHTTP2_INTERNAL_ERROR)
                connection.tolerate();
            return 0;
        case NGHTTP2_GOAWAY:
            if (frame->goaway.error_code != NGHTTP2_NO_ERROR && connection.phase_ == Phase::kOpen)
                connection.core_.drops.add(DropReason::kHttpMalformed);
            return 0;
        default:
            return 0;
    }
}

// --- What goes -------------------------------------------------------------------------------

bool Http2Connection::send_head(Http2Stream& stream, Bytes head) {
    if (stream.closed) return true;
    std::vector<wire::Http1Field>& fields = core_.http2.fields;
    fields.resize(core_.fields.size() + 16);  // our own come to those that the server may send
    const auto response = wire::parse_response_head(head, fields);
    if (!response) return false;
    const auto framing = frame_response(*response, stream.to_head);
    if (!framing) return false;
    const bool switched = response->status == 101;
    // On such a stream any 2xx means that the tunnel stands (RFC 8441 section 5).
    const bool confused = stream.upgrades && response->status >= 200 && response->status < 300;
    if (switched && !stream.upgrades) return false;

    std::array<char, 3> status{};
    std::to_chars(status.data(), status.data() + status.size(),
                  switched   ? 200
                  : confused ? 502
                             : response->status);
    std::vector<nghttp2_nv>& block = core_.http2.block;
    block.clear();
    block.push_back(pair(":status", {status.data(), status.size()}));
    for (const wire::Http1Field& field : response->fields) {
        if (is_about_connection(field.name)) continue;
        if (switched && (wire::equals_ignoring_case(field.name, "sec-websocket-accept") ||
                         wire::equals_ignoring_case(field.name, "content-length")))
            continue;
        block.push_back(pair(field.name, field.value));
    }
    if (response->status < 200 && !switched) {
        return nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id(), nullptr,
                                      block.data(), block.size(), nullptr) == 0;
    }
    if (switched) {
        stream.begin_tunnel_output();
    } else {
        stream.begin_output(framing->body);
    }
    const nghttp2_data_provider data = data_of(stream);
    return nghttp2_submit_response(session_, stream.id(), block.data(), block.size(),
                                   stream.output_ended() ? nullptr : &data) == 0;
}

}  // namespace sluice::http
