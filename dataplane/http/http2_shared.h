// What the HTTP/2 connections of one worker share: libnghttp2's settings, and memory that is used
// only within one call.
//
// Thread: the worker's. Ownership: Core's.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/http/http2_request_head.h"
#include "dataplane/http/object_pool.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

class Http2Connection;
class Http2Session;
class Http2Upstream;

struct Http2Shared {
    // Four TLS records: as much as a read gives at once (tls/stream.h).
    static constexpr size_t kInput = 64 * 1024;

    Http2Shared();
    ~Http2Shared();
    Http2Shared(const Http2Shared&) = delete;
    Http2Shared& operator=(const Http2Shared&) = delete;

    MutableBytes input() {
        if (!input_) input_ = std::make_unique_for_overwrite<uint8_t[]>(kInput);
        return {input_.get(), kInput};
    }

    struct Settings {
        nghttp2_session_callbacks* callbacks = nullptr;
        nghttp2_option* options = nullptr;
    };
    Settings clients;
    Settings servers;

    Http2RequestHead head;                 // that is being received
    std::string heads;                     // written from it, until their streams have read them
    std::string trailers;                  // that are being received
    std::vector<wire::Http1Field> fields;  // of a head that is being sent
    std::vector<nghttp2_nv> block;         // made of them

    ObjectPool<Http2Connection> connections;
    Http2Connection* first = nullptr;          // all connections
    Http2Connection* first_pending = nullptr;  // those that paused for fairness, oldest first
    Http2Connection* last_pending = nullptr;
    // Those that have something to send at the turn's end.
    Http2Session* first_unsent = nullptr;
    Http2Session* last_unsent = nullptr;
    size_t unsent = 0;
    size_t streams = 0;  // of clients, that have begun
    std::vector<std::unique_ptr<Http2Upstream>> upstreams;

  private:
    std::unique_ptr<uint8_t[]> input_;
};

}  // namespace sluice::http
