// One stream of HTTP/2, as a connection of HTTP/1.1 that carries one message each way. What is read
// from it is the peer's message in the form of HTTP/1.1, what is written to it is the other message
// in the same form, and leaves as frames.
//
//   read()    head | body, in chunks if its length is not known | trailers
//   write()   head: parsed by the session, which knows what it is; body: taken out of its framing
//             where it lies and copied once, behind its frame's header, into what goes to TLS
//
// Back-pressure: the peer may send what its window allows, and the window opens as bytes are read
// here; write() takes what the windows of the peer and the room in the session's output allow.
//
// Memory: bytes that came and were not read at once wait in buffers of the pool, at most a window
// of them. Ownership: whoever uses it as a ByteStream owns it; the session knows it and tells it
// when it is gone. Thread: the worker's. Source: RFC 9113 sections 5, 6.1, 6.9 and 8.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/http/body_framing.h"
#include "dataplane/http/buffer_pool.h"
#include "dataplane/wire/http1_chunked.h"

namespace sluice::http {

class ClientConnection;
class Http2Session;

class Http2Stream final : public ByteStream {
  public:
    Http2Stream(Http2Session& session, int32_t id);
    ~Http2Stream() override;
    Http2Stream(const Http2Stream&) = delete;
    Http2Stream& operator=(const Http2Stream&) = delete;

    void set_handler(StreamHandler* handler) override { handler_ = handler; }
    IoResult read(MutableBytes into) override;
    IoResult write(std::span<const Bytes> pieces) override;
    // The session sees to it that what it took is sent, and outlives the stream.
    bool flush() override { return true; }
    void shutdown_write() override;
    bool unprocessed() const override { return unprocessed_ && cut_; }
    const TlsFacts* tls_facts() const override;
    ClientCertificate* client_certificate() override;

    // --- For the session: what came ----------------------------------------------------------

    enum class BodyForm : uint8_t {
        kNone,
        kPlain,    // its length is in the head
        kChunked,  // it is read in chunks
        kTunnel,   // bytes of another protocol, up to the end
    };
    // The views below stay good until keep_input().
    void receive_head(Bytes head) { head_ = head; }
    void add_head(std::string_view head);  // behind those that wait; kept
    size_t head_waits() const { return head_.size(); }
    void receive(Bytes data);
    void receive_trailers(std::string_view lines) { trailers_ = lines; }
    void end_input() { input_ended_ = true; }
    // Copies what was received and not read.
    void keep_input();
    // The stream is over before its time: reads and writes fail from now on.
    void cut() { cut_ = true; }
    // The same, and the peer has done nothing of what it was asked (RFC 9113 section 8.7).
    void cut_unprocessed() { cut_ = unprocessed_ = true; }
    // What has come to its end can still be read.
    void lose_session();
    size_t unread() const { return buffered(); }

    // --- For the session: what goes ----------------------------------------------------------

    // The head that was written has been sent; this is what follows it.
    void begin_output(BodyFraming framing);
    void begin_tunnel_output();
    // Frames, as libnghttp2 asks for them.
    size_t payload() const { return payload_size_; }
    bool output_ended() const { return output_ == Output::kDone; }
    std::string_view trailers_out() const { return trailers_out_; }
    template <typename Append>
    void take_payload(size_t bytes, Append append);

    int32_t id() const { return id_; }  // 0: not yet
    void set_id(int32_t id) { id_ = id; }
    StreamHandler* handler() const { return handler_; }
    bool input_ended() const { return input_ended_; }
    bool is_cut() const { return cut_; }

    // For the session only.
    ClientConnection* client = nullptr;  // what runs over it
    Http2Stream* previous = nullptr;     // all streams of the session
    Http2Stream* next = nullptr;
    Http2Stream* next_ready = nullptr;  // those that something happened to
    Http2Stream* previous_waiting = nullptr;
    Http2Stream* next_waiting = nullptr;  // those that wait for room in the output
    size_t window = 0;                    // that the peer was given
    size_t consumed = 0;                  // since the window was last made larger
    bool ready = false;
    bool waiting = false;
    bool wants_window = false;
    bool to_head = false;   // the request's method is HEAD
    bool upgrades = false;  // the request asks for a tunnel
    bool started = false;
    bool closed = false;   // libnghttp2 has forgotten it
    bool refused = false;  // it was answered here
    BodyForm form = BodyForm::kNone;
    size_t head_at = 0;  // the head, in Http2Shared::heads
    size_t head_size = 0;

  private:
    enum class Output : uint8_t { kHead, kPlain, kChunked, kTunnel, kDone };
    // Payload of one write(): the pieces of a relay are a head, a chunk's prefix, its payload, its
    // suffix, so that few spans hold it. One more only ends the write early.
    static constexpr size_t kSpansMax = 8;

    size_t buffered() const;
    size_t take_input(MutableBytes into);
    IoResult read_plain(MutableBytes into);
    IoResult read_chunked(MutableBytes into);
    bool open_chunk();
    size_t write_some(Bytes piece);
    size_t write_head(Bytes piece);
    size_t write_chunked(Bytes piece);
    void add_payload(Bytes payload);

    Http2Session* session_;
    StreamHandler* handler_ = nullptr;
    int32_t id_;

    // What came: the head; then bytes that wait in buffers, then those that just came.
    Bytes head_;
    std::string kept_head_;
    std::array<Bytes, 4> fresh_;
    std::vector<Buffer> kept_;
    uint32_t kept_begin_ = 0;  // in the first of kept_
    uint32_t kept_end_ = 0;    // in the last one
    uint8_t fresh_count_ = 0;
    // The chunk that is being read: a line before it, its payload, a line behind it.
    std::string frame_;
    size_t frame_read_ = 0;
    size_t chunk_left_ = 0;
    bool chunk_open_ = false;
    bool last_chunk_made_ = false;
    std::string trailers_;
    bool input_ended_ = false;
    bool cut_ = false;
    bool unprocessed_ = false;
    bool failed_ = false;  // what was written makes no sense

    // What goes.
    Output output_ = Output::kHead;
    std::string head_out_;  // of a head that came in pieces
    uint64_t left_ = 0;
    size_t sendable_ = 0;
    wire::Http1ChunkedDecoder decoder_;
    std::array<Bytes, kSpansMax> spans_;
    uint8_t span_begin_ = 0;
    uint8_t span_end_ = 0;
    size_t payload_size_ = 0;
    std::string trailers_out_;
};

template <typename Append>
void Http2Stream::take_payload(size_t bytes, Append append) {
    payload_size_ -= bytes;
    while (bytes > 0) {
        Bytes& span = spans_[span_begin_];
        const size_t part = std::min(bytes, span.size());
        append(span.first(part));
        span = span.subspan(part);
        bytes -= part;
        if (span.empty()) ++span_begin_;
    }
}

}  // namespace sluice::http
