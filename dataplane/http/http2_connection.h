// A client's connection of HTTP/2: each of its streams is a ClientConnection of its own, that
// carries one request.
//
// Not its job: what a request may do; frames, HPACK and the states of streams (libnghttp2).
// What a client may ask without use is bounded by one account (http2_patience.h), what it may hold
// by HttpLimits. README.md has what is answered with which error.
//
// Internal to this room. Thread: the worker's. Memory: from Core's pool.
// Source: RFC 9113, RFC 8441, RFC 9218 (no priorities of RFC 7540).
#pragma once

#include <memory>
#include <vector>

#include "dataplane/http/http2_patience.h"
#include "dataplane/http/http2_session.h"
#include "dataplane/http/proxy.h"

namespace sluice::http {

class Http2Connection final : public Http2Session {
  public:
    // How a client begins (RFC 9113 section 3.4).
    static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    // `begun`: what was read of the stream already.
    static void start(Core& core, std::unique_ptr<ByteStream> stream, const ClientFacts& facts,
                      Bytes begun);
    Http2Connection(Core& core, std::unique_ptr<ByteStream> stream, const ClientFacts& facts);
    ~Http2Connection() override;

    // Goes on as far as it can. May destroy the connection, as may every call below.
    void run();
    void on_stream_ready() override;
    void end_turn() override;
    // No new requests; it ends after those in progress.
    void drain();

    bool send_head(Http2Stream& stream, Bytes head) override;
    void forget(Http2Stream& stream) override;

    // libnghttp2's settings for all connections; see http2_shared.h.
    static nghttp2_session_callbacks* make_callbacks();
    static nghttp2_option* make_options();

    // Place in Core's list of all connections.
    Http2Connection* previous = nullptr;
    Http2Connection* next = nullptr;
    Http2Connection* next_pending() const { return next_pending_; }

    // A client that leaves so many frames of ours unread is not listened to until it reads.
    static constexpr size_t kQueueMax = 500;
    // How long clients may still open streams after they were told to stop: longer than any way
    // there and back (RFC 9113 section 6.8).
    static constexpr Duration kGoAwayDelay = std::chrono::seconds(1);
    // Streams that are left open because the client still sends although it has its answer. More
    // of them, and the oldest ends sooner; each could hold a window of data on its way.
    static constexpr size_t kAnsweredMax = 32;

  private:
    enum class Phase : uint8_t {
        kOpen,
        kFarewell,  // what was written goes out, then the end
        kLinger,    // the client's end is awaited
    };
    enum class Step : uint8_t { kGoOn, kWait, kYield, kGone };

    static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                         size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags,
                         void* self);
    static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* self);
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int error,
                                void* self);
    static int on_data(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data,
                       size_t size, void* self);
    static int on_stream_close(nghttp2_session*, int32_t id, uint32_t error, void* self);
    static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* self);

    void on_timer(Now now) override;
    Step step(size_t& budget);
    Step receive(size_t& budget);
    Step say_farewell();
    Step linger(size_t& budget);
    void feed(Bytes input);
    void deliver(size_t& budget);
    void start_stream(Http2Stream& stream);
    void begin_stream(int32_t id);
    void end_request_head(Http2Stream& stream, bool ended);
    void receive_headers(const nghttp2_frame& frame);
    Http2Stream* stream_at(int32_t id) const;
    void refuse(Http2Stream& stream);
    bool tolerate();
    void terminate(uint32_t error);
    void break_streams();
    void begin_farewell();
    void finish_drain();
    void leave_open(int32_t id);
    void end_answered();
    void settle(Step result);
    Instant due() const;
    void set_timer();
    void join_pending();
    void leave_pending();

    struct Answered {
        int32_t id;
        Instant until;
    };

    ClientFacts facts_;
    Http2Patience patience_;
    Http2Connection* previous_pending_ = nullptr;
    Http2Connection* next_pending_ = nullptr;
    Instant phase_since_;
    Instant idle_since_;
    Instant head_since_ = kNever;     // when a header block began that is not complete
    Instant goaway_at_ = kNever;      // when the last word of a drain is due
    std::vector<Answered> answered_;  // oldest first; some may have ended
    size_t new_streams_ = 0;          // that one read has begun
    Phase phase_ = Phase::kOpen;
    bool greeted_ = false;  // the client's SETTINGS came
    bool said_end_ = false;
    bool draining_ = false;
    bool provoked_ = false;  // its account is empty
    bool receiving_trailers_ = false;
    bool pending_turn_ = false;
};

}  // namespace sluice::http
