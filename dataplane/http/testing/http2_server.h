// A server of HTTP/2 in memory: libnghttp2's server side, told by the test what to answer.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/http/testing/http2_message.h"
#include "dataplane/http/testing/world.h"

namespace sluice::http::testing {

struct Http2Request {
    Http2Fields head;
    Http2Fields trailers;
    std::string body;
    bool ended = false;
    bool reset = false;

    std::string value(const std::string& name) const { return value_in(head, name); }
};

class Http2Server {
  public:
    // Behind the connection that the proxy has made; it says its settings at once.
    Http2Server(World& world, std::shared_ptr<FarEnd> far,
                std::vector<nghttp2_settings_entry> settings = {})
        : world_(world), far_(std::move(far)) {
        nghttp2_session_callbacks* callbacks = nullptr;
        SLUICE_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        SLUICE_CHECK(nghttp2_session_server_new(&session_, callbacks, this) == 0);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_submit_settings(session_, 0, settings.data(), settings.size());
        pump();
    }
    ~Http2Server() { nghttp2_session_del(session_); }
    Http2Server(const Http2Server&) = delete;
    Http2Server& operator=(const Http2Server&) = delete;

    void head(int32_t id, const Http2Fields& fields, bool ended = false) {
        const auto block = block_of(fields);
        nghttp2_data_provider data{{}, on_wanted};
        nghttp2_submit_response(session_, id, block.data(), block.size(), ended ? nullptr : &data);
        pump();
    }
    void interim(int32_t id, const Http2Fields& fields) {
        const auto block = block_of(fields);
        nghttp2_submit_headers(session_, 0, id, nullptr, block.data(), block.size(), nullptr);
        pump();
    }
    void body(int32_t id, std::string_view bytes, bool ended = false,
              const Http2Fields& trailers = {}) {
        Http2Outgoing& answer = answers_[id];
        answer.bytes += bytes;
        answer.ended = ended;
        answer.trailers = trailers;
        nghttp2_session_resume_data(session_, id);
        pump();
    }
    void reset(int32_t id, uint32_t error) {
        nghttp2_submit_rst_stream(session_, 0, id, error);
        pump();
    }
    void go_away(int32_t last) {
        nghttp2_submit_goaway(session_, 0, last, NGHTTP2_NO_ERROR, nullptr, 0);
        pump();
    }
    void pump() {
        for (;;) {
            const uint8_t* bytes = nullptr;
            const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
            if (size > 0) {
                world_.send(far_, as_text({bytes, static_cast<size_t>(size)}));
                continue;
            }
            const std::string came = far_->take();
            if (came.empty()) return;
            SLUICE_CHECK(nghttp2_session_mem_recv(session_, as_bytes(came).data(), came.size()) ==
                         static_cast<ssize_t>(came.size()));
        }
    }
    std::map<int32_t, Http2Request> requests;

  private:
    static ssize_t on_wanted(nghttp2_session* session, int32_t id, uint8_t* into, size_t size,
                             uint32_t* flags, nghttp2_data_source*, void* self) {
        return static_cast<Http2Server*>(self)->answers_[id].give(session, id, into, size, flags);
    }
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                         size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                         void* self) {
        Http2Request& request = static_cast<Http2Server*>(self)->requests[frame->hd.stream_id];
        (frame->headers.cat == NGHTTP2_HCAT_REQUEST ? request.head : request.trailers)
            .emplace_back(as_text({name, name_size}), as_text({value, value_size}));
        return 0;
    }
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
        auto& server = *static_cast<Http2Server*>(self);
        const int32_t id = frame->hd.stream_id;
        if (frame->hd.type == NGHTTP2_RST_STREAM) server.requests[id].reset = true;
        const bool message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
        if (message && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            server.requests[id].ended = true;
        return 0;
    }
    static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                       void* self) {
        static_cast<Http2Server*>(self)->requests[id].body += as_text({data, size});
        return 0;
    }

    World& world_;
    std::shared_ptr<FarEnd> far_;
    nghttp2_session* session_ = nullptr;
    std::map<int32_t, Http2Outgoing> answers_;
};

}  // namespace sluice::http::testing
