// Connections of HTTP/2 to servers. Each carries the requests of many clients; each stream looks
// like a connection of HTTP/1.1 that takes one request and gives one response, so that whoever asks
// a server need not know what it speaks.
//
// A server has as many connections as its limit of streams makes necessary, and a new one after it
// said GOAWAY or broke. The answer always says "Connection: close": a stream is not kept.
//
// Internal to this room. Thread: the worker's. Memory: libnghttp2's state for each connection.
// Failure: streams of a connection that breaks fail when they are read. Source: RFC 9113.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/contract/snapshot.h"
#include "dataplane/http/http2_session.h"

namespace sluice::http {

class Server;

class Http2Upstream final : public Http2Session {
  public:
    // A stream for one request. Null: no connection could be begun.
    static std::unique_ptr<ByteStream> open(Core& core, Server& server);

    Http2Upstream(Core& core, std::unique_ptr<ByteStream> stream, const Server& server);
    ~Http2Upstream() override;

    void on_stream_ready() override;
    void end_turn() override;
    bool pump() override;
    bool send_head(Http2Stream& stream, Bytes head) override;
    void forget(Http2Stream& stream) override;

    static nghttp2_session_callbacks* make_callbacks();
    static nghttp2_option* make_options();

    // A server that says nothing for so long while it owes answers is asked with a PING, and is
    // dead if it does not say anything in the same time again: or else requests would keep going to
    // a connection whose other end has lost its power. Shorter costs packets, longer costs
    // requests.
    static constexpr Duration kSilence = std::chrono::seconds(10);
    // After it has refused a stream, requests go to another connection for so long, if there is one
    // or it is the first that refuses: a server that refuses because it has too much to do must not
    // get a connection for each request. Shorter, and the same request comes back to it; longer,
    // and a connection that is good again is not used.
    static constexpr Duration kRefusing = std::chrono::seconds(1);
    // A connection that does not stand after so long gets no more requests: another one may have
    // more luck. In one cluster connecting and a handshake take milliseconds.
    static constexpr Duration kSlowToStand = std::chrono::seconds(1);
    // Interim heads that wait for the client to take them, as bytes of heads that may be so large.
    static constexpr size_t kInterimHeadsMax = 2;

  private:
    static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                         size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags,
                         void* self);
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_data(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data,
                       size_t size, void* self);
    static int on_stream_close(nghttp2_session*, int32_t id, uint32_t error, void* self);

    void on_timer(Now now) override;
    bool takes_requests_for(const Server& server) const;
    bool refuses(Now now) const { return now.mono < refuses_until_; }
    bool is_slow_to_stand(Now now) const {
        return !established_ && now.mono >= begun_at_ + kSlowToStand;
    }
    void run();
    void receive();
    void deliver();
    void receive_headers(const nghttp2_frame& frame);
    void settle();
    Http2Stream* stream_at(int32_t id) const;
    Instant due() const;

    contract::ServerConfig config_;  // of the server, when it was connected to
    Duration idle_timeout_;
    std::string fields_;  // of the head that is being received
    std::string status_;
    size_t size_left_ = 0;
    bool has_length_ = false;
    bool established_ = false;  // it took something
    bool leaving_ = false;      // it takes no new requests
    bool asked_ = false;        // whether it is still there
    Instant refuses_until_ = Instant::min();
    Instant begun_at_;
    Instant heard_at_;
    Instant idle_since_;
};

}  // namespace sluice::http
