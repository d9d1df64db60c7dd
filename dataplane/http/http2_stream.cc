#include "dataplane/http/http2_stream.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/http/http2_session.h"

namespace sluice::http {

Http2Stream::Http2Stream(Http2Session& session, int32_t id) : session_(&session), id_(id) {}

Http2Stream::~Http2Stream() {
    if (session_ != nullptr) session_->forget(*this);
}

const TlsFacts* Http2Stream::tls_facts() const {
    return session_ == nullptr ? nullptr : session_->below().tls_facts();
}

ClientCertificate* Http2Stream::client_certificate() {
    return session_ == nullptr ? nullptr : session_->below().client_certificate();
}

// --- What came -------------------------------------------------------------------------------

void Http2Stream::receive(Bytes data) {
    if (data.empty()) return;
    if (fresh_count_ == fresh_.size()) keep_input();
    fresh_[fresh_count_++] = data;
}

void Http2Stream::keep_input() {
    if (!head_.empty() &&
        as_text(head_).data() != kept_head_.data() + kept_head_.size() - head_.size()) {
        kept_head_.assign(as_text(head_));
        head_ = as_bytes(kept_head_);
    }
    for (size_t i = 0; i < fresh_count_; ++i) {
        Bytes data = fresh_[i];
        while (!data.empty()) {
            if (kept_.empty() || kept_end_ == kept_.back().size()) {
                kept_.push_back(session_->buffers().lease_small());
                kept_end_ = 0;
                if (kept_.size() == 1) kept_begin_ = 0;
            }
            const size_t part = std::min<size_t>(data.size(), kept_.back().size() - kept_end_);
            std::memcpy(kept_.back().data() + kept_end_, data.data(), part);
            kept_end_ += static_cast<uint32_t>(part);
            data = data.subspan(part);
        }
    }
    fresh_count_ = 0;
}

void Http2Stream::add_head(std::string_view head) {
    std::string rest(as_text(head_));
    kept_head_ = std::move(rest.append(head));
    head_ = as_bytes(kept_head_);
}

void Http2Stream::lose_session() {
    if (session_ == nullptr) return;
    if (input_ended_ && !cut_) {
        keep_input();
    } else {
        cut_ = true;
        fresh_count_ = 0;
    }
    session_ = nullptr;
}

size_t Http2Stream::buffered() const {
    size_t size = 0;
    for (size_t i = 0; i < fresh_count_; ++i)
        size += fresh_[i].size();
    if (kept_.empty()) return size;
    return size + kept_.size() * BufferPool::kSmall - kept_begin_ -
           (BufferPool::kSmall - kept_end_);
}

// Moves payload out, and opens the window for as much.
size_t Http2Stream::take_input(MutableBytes into) {
    size_t taken = 0;
    while (taken < into.size() && !kept_.empty()) {
        const size_t end = kept_.size() == 1 ? kept_end_ : kept_.front().size();
        const size_t part = std::min(into.size() - taken, end - kept_begin_);
        std::memcpy(into.data() + taken, kept_.front().data() + kept_begin_, part);
        taken += part;
        kept_begin_ += static_cast<uint32_t>(part);
        if (kept_begin_ < end) break;
        kept_.erase(kept_.begin());
        kept_begin_ = 0;
    }
    size_t used = 0;
    while (taken < into.size() && used < fresh_count_) {
        Bytes& data = fresh_[used];
        const size_t part = std::min(into.size() - taken, data.size());
        std::memcpy(into.data() + taken, data.data(), part);
        taken += part;
        data = data.subspan(part);
        if (data.empty()) ++used;
    }
    std::move(fresh_.begin() + static_cast<ptrdiff_t>(used), fresh_.begin() + fresh_count_,
              fresh_.begin());
    fresh_count_ = static_cast<uint8_t>(fresh_count_ - used);
    if (taken > 0 && session_ != nullptr) session_->consumed(*this, taken);
    return taken;
}

IoResult Http2Stream::read(MutableBytes into) {
    if (cut_ || failed_) return {IoStatus::kError, 0};
    if (!head_.empty()) {
        const size_t size = std::min(into.size(), head_.size());
        std::memcpy(into.data(), head_.data(), size);
        head_ = head_.subspan(size);
        if (head_.empty()) kept_head_ = {};
        return {IoStatus::kOk, size};
    }
    return form == BodyForm::kChunked ? read_chunked(into) : read_plain(into);
}

IoResult Http2Stream::read_plain(MutableBytes into) {
    const size_t size = take_input(into);
    if (size > 0) return {IoStatus::kOk, size};
    // The end of a request is not the end of its stream: the client waits for the answer. Behind
    // both there is nothing more.
    const bool over = form == BodyForm::kTunnel || output_ == Output::kDone;
    return {input_ended_ && over ? IoStatus::kEnd : IoStatus::kWouldBlock, 0};
}

// All that is there becomes one chunk.
bool Http2Stream::open_chunk() {
    frame_read_ = 0;
    frame_.clear();
    const size_t size = buffered();
    if (size > 0) {
        char digits[16];
        const auto end = std::to_chars(digits, digits + sizeof digits, size, 16);
        frame_.assign(digits, end.ptr);
        frame_ += "\r\n";
        chunk_left_ = size;
        chunk_open_ = true;
        return true;
    }
    if (!input_ended_ || last_chunk_made_) return false;
    frame_ = "0\r\n";
    frame_ += trailers_;
    frame_ += "\r\n";
    last_chunk_made_ = true;
    return true;
}

IoResult Http2Stream::read_chunked(MutableBytes into) {
    size_t done = 0;
    while (done < into.size()) {
        if (frame_read_ < frame_.size()) {
            const size_t part = std::min(into.size() - done, frame_.size() - frame_read_);
            std::memcpy(into.data() + done, frame_.data() + frame_read_, part);
            done += part;
            frame_read_ += part;
        } else if (chunk_left_ > 0) {
            const size_t part =
                take_input(into.subspan(done, std::min(into.size() - done, chunk_left_)));
            done += part;
            chunk_left_ -= part;
        } else if (chunk_open_) {
            frame_ = "\r\n";
            frame_read_ = 0;
            chunk_open_ = false;
        } else if (!open_chunk()) {
            break;
        }
    }
    if (done > 0) return {IoStatus::kOk, done};
    const bool over = input_ended_ && output_ == Output::kDone;
    return {over ? IoStatus::kEnd : IoStatus::kWouldBlock, 0};
}

// --- What goes -------------------------------------------------------------------------------

void Http2Stream::begin_output(BodyFraming framing) {
    decoder_ = {};
    left_ = framing.length;
    switch (framing.kind) {
        case BodyKind::kNone:
            output_ = Output::kDone;
            break;
        case BodyKind::kLength:
            output_ = framing.length == 0 ? Output::kDone : Output::kPlain;
            break;
        case BodyKind::kChunked:
            output_ = Output::kChunked;
            break;
        case BodyKind::kUntilClose:
            output_ = Output::kTunnel;
            break;
    }
}

void Http2Stream::begin_tunnel_output() {
    output_ = Output::kTunnel;
    form = BodyForm::kTunnel;
}

void Http2Stream::add_payload(Bytes payload) {
    spans_[span_end_++] = payload;
    payload_size_ += payload.size();
    sendable_ -= payload.size();
}

IoResult Http2Stream::write(std::span<const Bytes> pieces) {
    if (cut_ || closed || session_ == nullptr || failed_) return {IoStatus::kError, 0};
    if (!session_->pump()) {
        session_->await_room(*this);
        return {IoStatus::kWouldBlock, 0};
    }
    sendable_ = session_->sendable(*this);
    span_begin_ = span_end_ = 0;
    size_t taken = 0;
    for (Bytes piece : pieces) {
        size_t used = 0;
        while (!piece.empty()) {
            const size_t part = write_some(piece);
            if (part == 0) break;
            used += part;
            piece = piece.subspan(part);
        }
        taken += used;
        if (!piece.empty() || failed_) break;
    }
    if (failed_) {
        session_->abandon(*this);
        return {IoStatus::kError, 0};
    }
    if (taken > 0) {
        session_->send(*this);
        // What is left although there was room will never go: the connection has said its last
        // word.
        if (payload_size_ > 0) {
            payload_size_ = 0;
            span_begin_ = span_end_ = 0;
            return {IoStatus::kError, 0};
        }
        return {IoStatus::kOk, taken};
    }
    session_->await_room(*this);
    return {IoStatus::kWouldBlock, 0};
}

// What it takes of a piece; 0: nothing now.
size_t Http2Stream::write_some(Bytes piece) {
    if (output_ == Output::kHead) return write_head(piece);
    if (span_end_ == kSpansMax) return 0;
    switch (output_) {
        case Output::kPlain:
        case Output::kTunnel: {
            size_t size = std::min(piece.size(), sendable_);
            if (output_ == Output::kPlain) size = std::min<uint64_t>(size, left_);
            if (size == 0) return 0;
            add_payload(piece.first(size));
            if (output_ == Output::kPlain) {
                left_ -= size;
                if (left_ == 0) output_ = Output::kDone;
            }
            return size;
        }
        case Output::kChunked:
            return write_chunked(piece);
        default:
            failed_ = true;  // more than the head announced
            return 0;
    }
}

size_t Http2Stream::write_chunked(Bytes piece) {
    using Result = wire::Http1ChunkedDecoder::Result;
    wire::Http1ChunkedDecoder trial = decoder_;
    wire::Http1ChunkedDecoder::Step step = trial.next(piece);
    if (step.result == Result::kPayload && step.payload.size() > sendable_) {
        // As far as the windows allow, and the frame of the chunk before it.
        const auto before = static_cast<size_t>(step.payload.data() - piece.data());
        if (before + sendable_ == 0) return 0;
        trial = decoder_;
        step = trial.next(piece.first(before + sendable_));
    }
    decoder_ = trial;
    switch (step.result) {
        case Result::kPayload:
            add_payload(step.payload);
            break;
        case Result::kTrailer:
            trailers_out_ += as_text(step.payload);
            break;
        case Result::kEnd:
            output_ = Output::kDone;
            break;
        case Result::kMore:
            break;
        case Result::kFault:
            failed_ = true;
            return 0;
    }
    return step.consumed;
}

// A head in one piece is read where it lies.
size_t Http2Stream::write_head(Bytes piece) {
    constexpr std::string_view kHeadEnd = "\r\n\r\n";
    const size_t known = head_out_.size();
    std::string_view text = as_text(piece);
    if (known > 0) {
        head_out_ += text;
        text = head_out_;
    }
    const size_t end = text.find(kHeadEnd, known > 3 ? known - 3 : 0);
    if (end == std::string_view::npos) {
        if (known == 0) head_out_ = text;
        return piece.size();
    }
    const size_t size = end + kHeadEnd.size();
    const Bytes head = as_bytes(text.substr(0, size));
    if (!session_->has_room(head.size())) {
        head_out_.resize(known);
        sendable_ = 0;
        return 0;
    }
    if (!session_->send_head(*this, head)) failed_ = true;
    head_out_ = {};
    sendable_ = session_->sendable(*this);
    return size - known;
}

void Http2Stream::shutdown_write() {
    if (session_ == nullptr || cut_ || output_ == Output::kDone) return;
    if (output_ != Output::kTunnel) return;  // the destructor says that it was not the whole
    output_ = Output::kDone;
    session_->send(*this);
}

}  // namespace sluice::http
