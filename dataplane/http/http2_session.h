// What a connection of HTTP/2 is for either side: libnghttp2's state machine over a stream of
// bytes, the streams over it, and what is on its way out.
//
// Output is collected and leaves at the end of a turn of the worker's loop, or when there is enough
// of it: so many answers share one TLS record and one system call, and a large one fills records.
// A frame's payload is copied once, from where it was read to behind its header; TLS takes it from
// there.
//
// Windows (RFC 9113 section 5.2): small at first, doubled each time when the receiver has taken a
// whole window and left nothing behind, so that a fast upload gets what it can use and one that
// nobody reads pins little.
//
// Internal to this room. Thread: the worker's. Memory: libnghttp2's own (some 10 KB), one large
// buffer of the pool while there is output; an answer's head larger than that is kept besides.
// Failure: broken() is true; the connection goes at the next safe place.
// Source: RFC 9113, RFC 7541 (libnghttp2).
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/http/buffer_pool.h"
#include "dataplane/http/core.h"

namespace sluice::http {

class Http2Stream;

class Http2Session : public StreamHandler, public Timer {
  public:
    Http2Session(Core& core, std::unique_ptr<ByteStream> stream);
    ~Http2Session() override;

    // --- For its streams ---------------------------------------------------------------------

    ByteStream& below() { return *below_; }
    BufferPool& buffers() { return core_.buffers; }
    // Moves libnghttp2's frames to the output. False: there is no room for them, or it is broken.
    virtual bool pump();
    // How much payload may be sent on a stream now: by the peer's windows, and by our room.
    size_t sendable(const Http2Stream& stream);
    // A head of this size fits.
    bool has_room(size_t head_bytes);
    // Calls the stream's handler when a write may be taken again.
    void await_room(Http2Stream& stream);
    // Sends a head that was written as HTTP/1.1. False: it makes no sense.
    virtual bool send_head(Http2Stream& stream, Bytes head) = 0;
    // Sends what the stream has, and its end.
    void send(Http2Stream& stream);
    void consumed(Http2Stream& stream, size_t bytes);
    // Resets a stream whose sender cannot go on.
    void abandon(Http2Stream& stream);
    // The stream is being destroyed.
    virtual void forget(Http2Stream& stream) = 0;

    // At the end of a turn. May destroy it.
    virtual void end_turn() = 0;
    // For all that have something to send. True: some are left for the next turn.
    static bool end_turn_of_all(Core& core);

    // 64 KiB is what a stream begins with by the RFC. 1 MiB a stream and 2 MiB a connection carry
    // 10 Gbit/s over 1 ms; smaller, and a fast upload waits for the network's way; larger, and one
    // connection that uploads to a server that does not read pins as much more.
    static constexpr size_t kStreamWindow = 65535;
    static constexpr size_t kStreamWindowMax = 1024 * 1024;
    static constexpr size_t kConnectionWindow = 512 * 1024;
    static constexpr size_t kConnectionWindowMax = 2 * 1024 * 1024;

  protected:
    // libnghttp2's callbacks for both sides.
    static ssize_t on_data_wanted(nghttp2_session* session, int32_t id, uint8_t* buffer,
                                  size_t size, uint32_t* flags, nghttp2_data_source* source,
                                  void* self);
    static int on_send_data(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* header,
                            size_t size, nghttp2_data_source* source, void* self);
    static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame,
                                 const uint8_t* name, size_t name_size, const uint8_t* value,
                                 size_t value_size, uint8_t flags, void* self);
    // libnghttp2 copies both, and makes the name lower case as it does.
    static nghttp2_nv pair(std::string_view name, std::string_view value);
    static nghttp2_data_provider data_of(Http2Stream& stream);
    static void submit_trailers(nghttp2_session* session, const Http2Stream& stream);

    void link(Http2Stream& stream);
    void unlink(Http2Stream& stream);
    void post(Http2Stream& stream);  // something happened to it
    Http2Stream* take_ready();
    bool any_ready() const { return first_ready_ != nullptr; }
    // What came on it and was not read no longer counts against the connection's window.
    void give_back_window(const Http2Stream& stream);
    void leave_waiting(Http2Stream& stream);
    // The peer opened a window: of one stream, or (null) of all.
    void window_opened(Http2Stream* stream);
    // Lets streams write that waited for room; oldest first, as long as there is some.
    void serve_waiting();
    // Moves the output down, as far as it goes.
    void write_out();
    bool output_waits() const { return out_begin_ < out_end_ || !overflow_.empty(); }
    void mark_unsent();
    void leave_unsent();
    // Flushes what lies below.
    void settle_below();

    Core& core_;
    std::unique_ptr<ByteStream> below_;
    nghttp2_session* session_ = nullptr;
    Http2Stream* streams_ = nullptr;
    Http2Stream* current_ = nullptr;  // whose handler is being called; null when it went meanwhile
    size_t stream_count_ = 0;
    Instant progress_at_;  // when output moved last, or began to wait
    bool readable_ = true;
    bool writable_ = true;
    bool flushed_ = true;
    bool broken_ = false;
    bool wrote_any_ = false;

  private:
    size_t room() const;
    void append(Bytes bytes);

    Buffer out_;
    size_t out_begin_ = 0;
    size_t out_end_ = 0;
    std::string overflow_;  // behind out_
    size_t overflow_sent_ = 0;
    Http2Stream* first_ready_ = nullptr;
    Http2Stream* last_ready_ = nullptr;
    Http2Stream* first_waiting_ = nullptr;
    Http2Stream* last_waiting_ = nullptr;
    size_t window_ = kConnectionWindow;
    size_t consumed_ = 0;  // since the window was last made larger
    Http2Session* next_unsent_ = nullptr;
    bool unsent_ = false;
};

}  // namespace sluice::http
