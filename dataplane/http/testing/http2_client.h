// A client of HTTP/2 in memory: libnghttp2's client side, and a place to put frames made by hand.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/http/testing/http2_message.h"
#include "dataplane/http/testing/world.h"

namespace sluice::http::testing {

// A frame made by hand (RFC 9113 section 4.1).
inline std::string http2_frame(uint8_t type, uint8_t flags, uint32_t stream,
                               std::string_view payload) {
    const auto size = static_cast<uint32_t>(payload.size());
    const uint8_t header[9] = {static_cast<uint8_t>(size >> 16),
                               static_cast<uint8_t>(size >> 8),
                               static_cast<uint8_t>(size),
                               type,
                               flags,
                               static_cast<uint8_t>(stream >> 24),
                               static_cast<uint8_t>(stream >> 16),
                               static_cast<uint8_t>(stream >> 8),
                               static_cast<uint8_t>(stream)};
    return std::string(as_text(header)) + std::string(payload);
}

struct Http2Answer {
    std::vector<Http2Fields> interim;
    Http2Fields head;
    std::string body;
    Http2Fields trailers;
    bool ended = false;
    bool final_seen = false;        // the head that is not informational came
    std::optional<uint32_t> reset;  // error code

    std::string value(const std::string& name) const { return value_in(head, name); }
    std::string status() const { return value(":status"); }
};

class Http2Client {
  public:
    explicit Http2Client(World& world, ClientFacts facts = World::elsewhere(),
                         std::vector<nghttp2_settings_entry> settings = {})
        : world_(world), far_(world.client(std::move(facts))) {
        nghttp2_session_callbacks* callbacks = nullptr;
        SLUICE_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_option* options = nullptr;
        SLUICE_CHECK(nghttp2_option_new(&options) == 0);
        nghttp2_option_set_no_auto_window_update(options, 1);
        SLUICE_CHECK(nghttp2_session_client_new2(&session_, callbacks, this, options) == 0);
        nghttp2_option_del(options);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_submit_settings(session_, 0, settings.data(), settings.size());
        pump();
    }
    ~Http2Client() { nghttp2_session_del(session_); }
    Http2Client(const Http2Client&) = delete;
    Http2Client& operator=(const Http2Client&) = delete;

    static Http2Fields get(const std::string& path = "/", const std::string& method = "GET") {
        return {{":method", method},
                {":scheme", "https"},
                {":authority", "site.test"},
                {":path", path}};
    }

    // Begins a request; `ended`: it has no body.
    int32_t request(const Http2Fields& fields, bool ended = true) {
        const std::vector<nghttp2_nv> block = block_of(fields);
        nghttp2_data_provider data{{}, on_wanted};
        const int32_t id = nghttp2_submit_request(session_, nullptr, block.data(), block.size(),
                                                  ended ? nullptr : &data, nullptr);
        SLUICE_CHECK(id > 0);
        pump();
        return id;
    }
    void body(int32_t id, std::string_view bytes, bool ended = false) {
        Http2Outgoing& upload = uploads_[id];
        upload.bytes += bytes;
        upload.ended = ended;
        nghttp2_session_resume_data(session_, id);
        pump();
    }
    void trailers(int32_t id, const Http2Fields& fields) {
        Http2Outgoing& upload = uploads_[id];
        upload.ended = true;
        upload.trailers = fields;
        nghttp2_session_resume_data(session_, id);
        pump();
    }
    void reset(int32_t id, uint32_t error = NGHTTP2_CANCEL) {
        nghttp2_submit_rst_stream(session_, 0, id, error);
        pump();
    }
    void ping() {
        nghttp2_submit_ping(session_, 0, nullptr);
        pump();
    }
    // Opens the windows for everything that came.
    void consume() {
        for (auto& [id, bytes] : unconsumed_) {
            nghttp2_session_consume(session_, id, bytes);
            bytes = 0;
        }
        pump();
    }
    // Bytes behind the back of the client's own state machine.
    void raw(std::string_view bytes) {
        world_.send(far_, bytes);
        receive();
    }
    // Exchanges bytes until nothing moves any more.
    void pump() {
        for (;;) {
            const uint8_t* bytes = nullptr;
            const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
            if (size > 0) {
                world_.send(far_, as_text({bytes, static_cast<size_t>(size)}));
            } else if (!receive()) {
                return;
            }
        }
    }

    FarEnd& far() { return *far_; }
    nghttp2_session* session() { return session_; }
    std::map<int32_t, Http2Answer> answers;
    std::vector<std::pair<int32_t, uint32_t>> goaways;  // last stream, error
    size_t pings_answered = 0;
    size_t frames_of_data = 0;

  private:
    bool receive() {
        const std::string bytes = far_->take();
        if (bytes.empty()) return false;
        const ssize_t taken =
            nghttp2_session_mem_recv(session_, as_bytes(bytes).data(), bytes.size());
        SLUICE_CHECK(taken == static_cast<ssize_t>(bytes.size()));  // what we send is right
        return true;
    }
    static ssize_t on_wanted(nghttp2_session* session, int32_t id, uint8_t* into, size_t size,
                             uint32_t* flags, nghttp2_data_source*, void* self) {
        return static_cast<Http2Client*>(self)->uploads_[id].give(session, id, into, size, flags);
    }
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                         size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                         void* self) {
        Http2Answer& answer = static_cast<Http2Client*>(self)->answers[frame->hd.stream_id];
        const std::string field(as_text({name, name_size}));
        const std::string content(as_text({value, value_size}));
        if (field == ":status" && !answer.head.empty()) {
            answer.interim.push_back(std::move(answer.head));
            answer.head.clear();
        }
        const bool behind = !answer.head.empty() && frame->headers.cat == NGHTTP2_HCAT_HEADERS &&
                            answer.status()[0] != '1';
        (behind && field != ":status" && answer.final_seen ? answer.trailers : answer.head)
            .emplace_back(field, content);
        return 0;
    }
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
        auto& client = *static_cast<Http2Client*>(self);
        const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        switch (frame->hd.type) {
            case NGHTTP2_HEADERS: {
                Http2Answer& answer = client.answers[frame->hd.stream_id];
                if (answer.status()[0] != '1') answer.final_seen = true;
                answer.ended = ended;
                break;
            }
            case NGHTTP2_DATA:
                ++client.frames_of_data;
                client.answers[frame->hd.stream_id].ended = ended;
                break;
            case NGHTTP2_RST_STREAM:
                client.answers[frame->hd.stream_id].reset = frame->rst_stream.error_code;
                break;
            case NGHTTP2_GOAWAY:
                client.goaways.emplace_back(frame->goaway.last_stream_id, frame->goaway.error_code);
                break;
            case NGHTTP2_PING:
                client.pings_answered += (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 ? 1 : 0;
                break;
            default:
                break;
        }
        return 0;
    }
    static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                       void* self) {
        auto& client = *static_cast<Http2Client*>(self);
        client.answers[id].body += as_text({data, size});
        client.unconsumed_[id] += size;
        return 0;
    }

    World& world_;
    std::shared_ptr<FarEnd> far_;
    nghttp2_session* session_ = nullptr;
    std::map<int32_t, Http2Outgoing> uploads_;
    std::map<int32_t, size_t> unconsumed_;
};

}  // namespace sluice::http::testing
