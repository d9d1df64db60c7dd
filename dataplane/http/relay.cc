#include "dataplane/http/relay.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"

namespace sluice::http {

void Relay::make_room(BufferPool& buffers, Room room) {
    const uint32_t raw_size = raw_end_ - raw_begin_;
    if (keeps_body_ && payload_end_ > body_begin_) {
        if (raw_end_ < buffer_.size()) return;
        keeps_body_ = false;
    }
    if (raw_size == 0) {
        // Bytes that keep filling a small buffer are taken in large pieces from now on.
        const bool large = filled_last_time_ && room == Room::kFixed;
        const size_t wanted = large ? buffers.large() : BufferPool::kSmall;
        if (buffer_.size() != wanted)
            buffer_ = large ? buffers.lease_large() : buffers.lease_small();
    } else if (raw_begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + raw_begin_, raw_size);
    }
    payload_begin_ = payload_end_ = raw_begin_ = body_begin_ = 0;
    raw_end_ = raw_size;
    if (room == Room::kMayGrow && raw_end_ == buffer_.size() && buffer_.size() < buffers.large()) {
        Buffer larger = buffers.lease_large();
        std::memcpy(larger.data(), buffer_.data(), raw_end_);
        buffer_ = std::move(larger);
    }
}

Relay::Filled Relay::fill(ByteStream& source, BufferPool& buffers, Room room) {
    SLUICE_CHECK(!has_payload());
    if (conduit_ != nullptr) return fill_conduit();
    make_room(buffers, room);
    MutableBytes into = buffer_.span().subspan(raw_end_);
    // What is passed on should fill whole TLS records, its frame included.
    if (room == Room::kFixed) into = into.first(std::min(into.size(), BufferPool::kLargeMin));
    if (chunked_out_ && into.size() > 2 * kFrameMax) into = into.first(into.size() - kFrameMax);
    if (into.empty()) return {IoStatus::kWouldBlock, 0, true};
    const IoResult read = source.read(into);
    if (read.status == IoStatus::kOk) {
        SLUICE_CHECK(read.bytes > 0 && read.bytes <= into.size());
        raw_end_ += static_cast<uint32_t>(read.bytes);
        filled_last_time_ = read.bytes == into.size();
    }
    return {read.status, read.bytes, false};
}

void Relay::open_conduit(ByteStream& source, ByteStream& sink) {
    if (conduit_ != nullptr || kind_ != BodyKind::kLength || chunked_out_) return;
    if (left_ < kConduitMin || sink_waits() || raw_begin_ < raw_end_) return;
    conduit_ = sink.conduit_from(source, left_);
    if (conduit_ == nullptr) return;
    keeps_body_ = false;
    release_idle();
}

Relay::Filled Relay::fill_conduit() {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(left_, SIZE_MAX));
    const IoResult read = conduit_->fill(wanted);
    SLUICE_CHECK(read.bytes <= wanted);
    left_ -= read.bytes;
    payload_taken_ += read.bytes;
    source_complete_ = left_ == 0;
    // What is in a conduit cannot be sent to anybody else any more.
    body_sent_any_ = body_sent_any_ || read.bytes > 0;
    return {read.status, read.bytes, false};
}

Relay::Wrote Relay::drain_conduit(size_t& budget) {
    bool some = false;
    while (conduit_->held() > 0 && budget > 0) {
        const IoResult written = conduit_->drain();
        if (written.status == IoStatus::kWouldBlock) return Wrote::kBlocked;
        if (written.status != IoStatus::kOk) return Wrote::kBroken;
        some = true;
        bytes_written_ += written.bytes;
        budget -= std::min(budget, written.bytes);
    }
    if (source_complete_ && conduit_->held() == 0) conduit_.reset();
    return some ? Wrote::kSome : Wrote::kNothing;
}

void Relay::begin_body(BodyFraming framing, bool chunked_out) {
    kind_ = framing.kind;
    left_ = framing.length;
    body_max_ = UINT64_MAX;
    decoder_ = {};
    chunked_out_ = chunked_out;
    last_chunk_framed_ = false;
    body_sent_any_ = false;
    keeps_body_ = false;
    trailers_came_.clear();
    trailers_.clear();
    payload_begin_ = payload_end_ = raw_begin_;
    source_complete_ =
        kind_ == BodyKind::kNone || (kind_ == BodyKind::kLength && framing.length == 0);
}

// Payload is kept in one piece, so that many small chunks of the source become one of the sink.
void Relay::take_payload(Bytes payload) {
    const auto from = static_cast<uint32_t>(payload.data() - buffer_.data());
    if (!has_payload() && !keeps_body_) payload_begin_ = payload_end_ = from;
    if (payload_end_ != from)
        std::memmove(buffer_.data() + payload_end_, payload.data(), payload.size());
    payload_end_ += static_cast<uint32_t>(payload.size());
    payload_taken_ += payload.size();
}

std::optional<wire::Http1Fault> Relay::decode() {
    using Result = wire::Http1ChunkedDecoder::Result;
    while (!source_complete_ && raw_begin_ < raw_end_) {
        const Bytes input = raw();
        if (kind_ != BodyKind::kChunked) {
            const size_t size =
                kind_ == BodyKind::kLength ? std::min<uint64_t>(left_, input.size()) : input.size();
            take_payload(input.first(size));
            raw_begin_ += static_cast<uint32_t>(size);
            left_ -= kind_ == BodyKind::kLength ? size : 0;
            source_complete_ = kind_ == BodyKind::kLength && left_ == 0;
            continue;
        }
        const wire::Http1ChunkedDecoder::Step step = decoder_.next(input);
        if (step.result == Result::kFault) return decoder_.fault();
        if (step.result == Result::kPayload) take_payload(step.payload);
        if (payload_taken_ > body_max_) return wire::Http1Fault::kBodyTooLarge;
        if (step.result == Result::kTrailer && chunked_out_)
            trailers_came_.append(as_text(step.payload));
        raw_begin_ += static_cast<uint32_t>(step.consumed);
        source_complete_ = step.result == Result::kEnd;
    }
    return std::nullopt;
}

void Relay::take_raw(size_t bytes) {
    if (bytes == 0) return;
    take_payload(raw().first(bytes));
    raw_begin_ += static_cast<uint32_t>(bytes);
}

void Relay::pass_trailers(std::string_view lines) {
    SLUICE_CHECK(source_complete_ && !last_chunk_framed_);
    trailers_came_ = {};
    if (lines.empty()) return;
    trailers_.reserve(kSuffix.size() + lines.size());
    trailers_.append(kSuffix.substr(0, kSuffix.size() - 2)).append(lines).append("\r\n");
}

bool Relay::source_ended() {
    if (kind_ == BodyKind::kUntilClose) source_complete_ = true;
    return source_complete_;
}

MutableBytes Relay::lease_head(BufferPool& buffers, size_t bytes_max) {
    SLUICE_CHECK(!head_waits());
    head_ = buffers.lease_for(bytes_max);
    head_begin_ = head_end_ = 0;
    return head_.span();
}

MutableBytes Relay::lease_message(BufferPool& buffers, size_t bytes_max) {
    SLUICE_CHECK(!head_waits());
    head_ = buffers.lease_any(bytes_max);
    head_begin_ = head_end_ = 0;
    return head_.span();
}

void Relay::set_head(size_t bytes, bool keep) {
    head_begin_ = 0;
    head_end_ = static_cast<uint32_t>(bytes);
    keep_head_ = keep;
}

void Relay::rewind() {
    SLUICE_CHECK(can_rewind());
    rewind_head();
    if (!keeps_body_) return;
    payload_begin_ = body_begin_;
    prefix_begin_ = prefix_end_ = 0;
    suffix_begin_ = suffix_end_ = 0;
    frame_left_ = 0;
    last_chunk_framed_ = body_sent_any_ = false;
}

void Relay::drop_head() {
    keep_head_ = keeps_body_ = false;
    if (head_waits()) return;
    head_begin_ = head_end_ = 0;
    head_.release();
}

void Relay::open_frame() {
    if (frame_waits()) return;
    frame_left_ = payload_end_ - payload_begin_;
    if (!chunked_out_) return;
    prefix_begin_ = prefix_end_ = 0;
    suffix_begin_ = suffix_end_ = 0;
    if (frame_left_ > 0) {
        const wire::Http1ChunkPrefix prefix(frame_left_);
        std::ranges::copy(prefix.text(), prefix_.begin());
        prefix_end_ = static_cast<uint8_t>(prefix.text().size());
        suffix_end_ = wire::kHttp1ChunkSuffix.size();
        if (source_complete_) suffix_end_ = static_cast<uint32_t>(suffix().size());
        last_chunk_framed_ = source_complete_;
    } else if (source_complete_ && !last_chunk_framed_) {
        suffix_begin_ = wire::kHttp1ChunkSuffix.size();
        suffix_end_ = static_cast<uint32_t>(suffix().size());
        last_chunk_framed_ = true;
    }
}

Relay::Wrote Relay::write(ByteStream& sink, size_t& budget) {
    // Nothing else is left to write before what a conduit holds; see open_conduit().
    if (conduit_ != nullptr) return drain_conduit(budget);
    bool some = false;
    for (;;) {
        open_frame();
        std::array<Bytes, 4> pieces;
        size_t count = 0;
        size_t size = 0;
        const auto add = [&](Bytes piece) {
            if (piece.empty()) return;
            pieces[count++] = piece;
            size += piece.size();
        };
        add({head_.data() + head_begin_, head_end_ - head_begin_});
        add(as_bytes({prefix_.data() + prefix_begin_, size_t{prefix_end_} - prefix_begin_}));
        add({buffer_.data() + payload_begin_, frame_left_});
        add(as_bytes(suffix().substr(suffix_begin_, suffix_end_ - suffix_begin_)));
        if (count == 0 || budget == 0) return some ? Wrote::kSome : Wrote::kNothing;
        const IoResult written = sink.write({pieces.data(), count});
        if (written.status != IoStatus::kOk) {
            if (written.status != IoStatus::kWouldBlock) return Wrote::kBroken;
            return Wrote::kBlocked;
        }
        SLUICE_CHECK(written.bytes > 0 && written.bytes <= size);
        some = true;
        consume(written.bytes);
        budget -= std::min(budget, written.bytes);
    }
}

void Relay::consume(size_t bytes) {
    bytes_written_ += bytes;
    const auto take = [&bytes](auto& begin, auto end) {
        const size_t taken = std::min<size_t>(bytes, end - begin);
        begin = static_cast<std::remove_reference_t<decltype(begin)>>(begin + taken);
        bytes -= taken;
        return taken;
    };
    take(head_begin_, head_end_);
    if (!head_waits() && !keep_head_) drop_head();
    body_sent_any_ = body_sent_any_ || bytes > 0;
    take(prefix_begin_, prefix_end_);
    const auto payload = static_cast<uint32_t>(take(payload_begin_, payload_begin_ + frame_left_));
    frame_left_ -= payload;
    take(suffix_begin_, suffix_end_);
    SLUICE_CHECK(bytes == 0);
}

bool Relay::sink_complete() const {
    return source_complete_ && !sink_waits() && (!chunked_out_ || last_chunk_framed_);
}

void Relay::end_message() {
    conduit_.reset();
    head_begin_ = head_end_ = 0;
    keep_head_ = keeps_body_ = false;
    head_.release();
    payload_begin_ = payload_end_ = raw_begin_;
    prefix_begin_ = prefix_end_ = 0;
    suffix_begin_ = suffix_end_ = 0;
    frame_left_ = 0;
    trailers_came_ = {};
    trailers_ = {};
    kind_ = BodyKind::kNone;
    source_complete_ = true;
    chunked_out_ = false;
    last_chunk_framed_ = false;
    body_sent_any_ = false;
    bytes_written_ = payload_taken_ = 0;
    filled_last_time_ = false;
}

void Relay::release_idle() {
    if (has_payload() || raw_begin_ < raw_end_) return;
    if (keeps_body_ && payload_end_ > body_begin_) return;
    payload_begin_ = payload_end_ = raw_begin_ = raw_end_ = body_begin_ = 0;
    buffer_.release();
}

}  // namespace sluice::http
