// One direction of an exchange: bytes read from a source, taken out of its framing, put into the
// sink's framing, written to the sink.
//
// A new head waits in a buffer of its own; the body stays where it was read, and is written from
// there. Nothing is read while there is payload that the sink has not taken: that is the whole
// back-pressure.
//
//   buffer   [ sent | payload | (gap) | raw, not looked at yet | room ]
//
// A long body of known length, which needs no looking at, goes through a conduit instead of the
// buffer where the two streams have one: the same way from kernel to kernel.
//
// Memory: up to two buffers while bytes move, none otherwise. Thread: the worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/http/body_framing.h"
#include "dataplane/http/buffer_pool.h"
#include "dataplane/wire/http1_chunked.h"

namespace sluice::http {

class Relay {
  public:
    // --- The source's side -------------------------------------------------------------------

    enum class Room : uint8_t {
        kMayGrow,  // for heads: a small buffer that is full becomes a large one
        kFixed,
    };
    // Reads once. Precondition: no payload is left. kWouldBlock with `full`: there is no room.
    struct Filled {
        IoStatus status = IoStatus::kWouldBlock;
        size_t bytes = 0;
        bool full = false;
    };
    Filled fill(ByteStream& source, BufferPool& buffers, Room room);

    // Before fill(): from here on the body takes a conduit, if it is worth one and there is one.
    void open_conduit(ByteStream& source, ByteStream& sink);

    // What was read and not yet taken out of its framing.
    Bytes raw() const { return {buffer_.data() + raw_begin_, raw_end_ - raw_begin_}; }
    void skip_raw(size_t bytes) { raw_begin_ += static_cast<uint32_t>(bytes); }

    // What follows in raw() is a body. `chunked_out`: the sink gets it in chunks.
    void begin_body(BodyFraming framing, bool chunked_out);
    // A body in chunks that grows beyond this is a fault. Of one with a length, that is known
    // before.
    void limit_body(uint64_t bytes_max) { body_max_ = bytes_max; }
    // Takes raw bytes out of their framing, as far as they go.
    std::optional<wire::Http1Fault> decode();
    // The source's connection ended in an orderly way. False: in the middle of the body.
    bool source_ended();
    bool source_complete() const { return source_complete_; }  // the whole body was decoded
    // Takes some raw bytes as they are. Precondition: the body is one until the end.
    void take_raw(size_t bytes);
    // Trailers as they came, once the body is complete: whole lines. They are dropped unless others
    // are given in their place before the next write(): lines too, written by us.
    std::string_view trailers_came() const {
        return source_complete_ ? std::string_view(trailers_came_) : std::string_view();
    }
    void pass_trailers(std::string_view lines);

    // --- The sink's side ---------------------------------------------------------------------

    // Room for a head; its first `bytes` are sent before the body. Precondition: none is waiting.
    MutableBytes lease_head(BufferPool& buffers, size_t bytes_max);  // empty: too large
    // Room for a whole message of any size, which counts as a head.
    MutableBytes lease_message(BufferPool& buffers, size_t bytes_max);
    void set_head(size_t bytes,
                  bool keep);  // keep: until drop_head(), so that it can be sent again
    // What of the body is sent stays in the buffer for as long as the buffer has room, so that it
    // can be sent again. Until drop_head(). Precondition: nothing of it was taken yet.
    void keep_body() {
        keeps_body_ = true;
        body_begin_ = raw_begin_;
    }
    // All that was sent can be sent again.
    bool can_rewind() const { return keep_head_ && (!body_sent_any_ || keeps_body_); }
    // To another sink, from the head's beginning. Precondition: can_rewind().
    void rewind();
    // A head that waits to be sent from its beginning; its size must stay.
    MutableBytes waiting_head() { return head_.span().first(head_end_); }
    void rewind_head() {
        head_begin_ = 0;
        conduit_.reset();  // it leads to the old sink, and nothing has gone into it
    }
    void drop_head();
    bool head_waits() const { return head_begin_ < head_end_; }

    enum class Wrote : uint8_t { kSome, kNothing, kBlocked, kBroken };
    // Writes until there is nothing left, the sink is full, or `budget` is used up.
    Wrote write(ByteStream& sink, size_t& budget);
    bool body_sent_any() const { return body_sent_any_; }
    uint64_t bytes_written() const { return bytes_written_; }  // heads and framing included
    uint64_t payload_taken() const { return payload_taken_; }  // of the body, from the source
    bool has_payload() const {
        return payload_begin_ < payload_end_ || (conduit_ != nullptr && conduit_->held() > 0);
    }
    // Something is there that the sink has not taken.
    bool sink_waits() const { return head_waits() || frame_waits() || has_payload(); }
    // The message has been written to its end.
    bool sink_complete() const;

    // Forgets body and head; raw bytes stay: they are the next message.
    void end_message();
    // Gives back buffers that hold nothing.
    void release_idle();

  private:
    // The output's frame around some payload: a chunk's prefix, its payload, its suffix. Without
    // chunks only payload.
    bool frame_waits() const {
        return prefix_begin_ < prefix_end_ || frame_left_ > 0 || suffix_begin_ < suffix_end_;
    }
    Filled fill_conduit();
    Wrote drain_conduit(size_t& budget);
    void open_frame();
    void consume(size_t bytes);
    void take_payload(Bytes payload);
    void make_room(BufferPool& buffers, Room room);

    // Behind the last chunk's payload comes its CRLF and, if the body ends there, the last chunk
    // and the trailers.
    static constexpr std::string_view kSuffix = "\r\n0\r\n\r\n";
    std::string_view suffix() const {
        return trailers_.empty() ? kSuffix : std::string_view(trailers_);
    }
    // Less than one large buffer goes with one read and one write, and a conduit needs as many
    // calls.
    static constexpr uint64_t kConduitMin = BufferPool::kLargeMin;
    // What chunked framing adds to one read, so that payload and frame fill one TLS record.
    static constexpr size_t kFrameMax = 16;

    Buffer buffer_;
    uint32_t payload_begin_ = 0;
    uint32_t payload_end_ = 0;
    uint32_t raw_begin_ = 0;
    uint32_t raw_end_ = 0;
    uint32_t body_begin_ = 0;  // keeps_body_: where the payload began

    Buffer head_;
    uint32_t head_begin_ = 0;
    uint32_t head_end_ = 0;

    std::unique_ptr<Conduit> conduit_;
    wire::Http1ChunkedDecoder decoder_;
    // Allocated for the few messages that have trailers, 8 KiB at most.
    std::string trailers_came_;
    std::string trailers_;  // a suffix with them
    uint64_t left_ = 0;
    uint64_t body_max_ = UINT64_MAX;
    uint64_t bytes_written_ = 0;
    uint64_t payload_taken_ = 0;
    uint32_t frame_left_ = 0;
    std::array<char, wire::Http1ChunkPrefix::kSizeMax> prefix_{};
    uint8_t prefix_begin_ = 0;
    uint8_t prefix_end_ = 0;
    uint32_t suffix_begin_ = 0;
    uint32_t suffix_end_ = 0;
    BodyKind kind_ = BodyKind::kNone;
    bool chunked_out_ = false;
    bool source_complete_ = true;
    bool last_chunk_framed_ = false;
    bool body_sent_any_ = false;
    bool keep_head_ = false;
    bool keeps_body_ = false;
    bool filled_last_time_ = false;
};

}  // namespace sluice::http
