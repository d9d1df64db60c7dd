#include "dataplane/http/http2_session.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/http/http2_stream.h"

namespace sluice::http {

namespace {

constexpr size_t kFrameHeader = 9;           // RFC 9113 section 4.1
constexpr size_t kFramePayload = 16 * 1024;  // what libnghttp2 puts into one frame at most
// Frames of control are small; with less room than this it is better to write first.
constexpr size_t kPumpRoom = 1024;
// What may be queued between the look at the room and the payload: a head of the usual size.
constexpr size_t kHeadRoom = 4 * 1024;

// What a head may take when HPACK finds nothing to save: a few bytes for each field's lengths, and
// Huffman codes are only used where they are shorter.
size_t encoded_bound(size_t head_bytes) {
    return head_bytes * 2 + 256;
}

}  // namespace

Http2Session::Http2Session(Core& core, std::unique_ptr<ByteStream> stream)
    : core_(core), below_(std::move(stream)), progress_at_(core.now.mono) {}

Http2Session::~Http2Session() {
    leave_unsent();
    for (Http2Stream* stream = streams_; stream != nullptr; stream = stream->next)
        stream->lose_session();
    if (below_ != nullptr) below_->set_handler(nullptr);
    nghttp2_session_del(session_);
}

// --- Output ----------------------------------------------------------------------------------

size_t Http2Session::room() const {
    if (!overflow_.empty()) return 0;
    return (out_ ? out_.size() : core_.buffers.large()) - out_end_;
}

void Http2Session::append(Bytes bytes) {
    if (!output_waits()) progress_at_ = core_.now.mono;
    if (overflow_.empty() && bytes.size() <= room()) {
        if (!out_) out_ = core_.buffers.lease_large();
        std::memcpy(out_.data() + out_end_, bytes.data(), bytes.size());
        out_end_ += bytes.size();
    } else {
        overflow_ += as_text(bytes);
    }
    mark_unsent();
}

bool Http2Session::pump() {
    while (!broken_) {
        if (room() < kPumpRoom) {
            write_out();
            if (room() < kPumpRoom) return false;
        }
        const uint8_t* frames = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session_, &frames);
        if (size == 0) return true;
        if (size > 0) {
            append({frames, static_cast<size_t>(size)});
        } else {
            broken_ = true;
            mark_unsent();
        }
    }
    return false;
}

void Http2Session::write_out() {
    while (output_waits() && writable_ && !broken_) {
        const std::array<Bytes, 2> pieces = {
            Bytes(out_.data() + out_begin_, out_end_ - out_begin_),
            as_bytes(std::string_view(overflow_).substr(overflow_sent_))};
        const std::span<const Bytes> all(pieces);
        const IoResult written = below_->write(pieces[0].empty()   ? all.subspan(1)
                                               : pieces[1].empty() ? all.first(1)
                                                                   : all);
        if (written.status == IoStatus::kWouldBlock) {
            writable_ = false;
        } else if (written.status != IoStatus::kOk) {
            broken_ = true;
            mark_unsent();
        } else {
            progress_at_ = core_.now.mono;
            flushed_ = false;
            wrote_any_ = true;
            const size_t first = std::min(written.bytes, pieces[0].size());
            out_begin_ += first;
            overflow_sent_ += written.bytes - first;
        }
        if (overflow_sent_ == overflow_.size()) {
            overflow_.clear();
            overflow_sent_ = 0;
        }
        if (out_begin_ == out_end_) out_begin_ = out_end_ = 0;
    }
    if (!output_waits()) {
        out_.release();
        overflow_ = {};
    } else if (out_begin_ > 0) {
        std::memmove(out_.data(), out_.data() + out_begin_, out_end_ - out_begin_);
        out_end_ -= out_begin_;
        out_begin_ = 0;
    }
}

void Http2Session::settle_below() {
    if (!flushed_ && !broken_) flushed_ = below_->flush();
}

void Http2Session::mark_unsent() {
    if (unsent_) return;
    unsent_ = true;
    next_unsent_ = nullptr;
    Http2Shared& shared = core_.http2;
    (shared.last_unsent != nullptr ? shared.last_unsent->next_unsent_ : shared.first_unsent) = this;
    shared.last_unsent = this;
    ++shared.unsent;
}

void Http2Session::leave_unsent() {
    if (!unsent_) return;
    unsent_ = false;
    Http2Shared& shared = core_.http2;
    Http2Session* before = nullptr;
    for (Http2Session* each = shared.first_unsent; each != this; each = each->next_unsent_)
        before = each;
    (before != nullptr ? before->next_unsent_ : shared.first_unsent) = next_unsent_;
    if (shared.last_unsent == this) shared.last_unsent = before;
    --shared.unsent;
}

bool Http2Session::end_turn_of_all(Core& core) {
    Http2Shared& shared = core.http2;
    for (size_t left = shared.unsent; left > 0 && shared.first_unsent != nullptr; --left) {
        // It stays in the list meanwhile, so that it is not marked again for what it does itself.
        Http2Session* const session = shared.first_unsent;
        session->end_turn();
        if (shared.first_unsent == session) session->leave_unsent();
    }
    return shared.first_unsent != nullptr;
}

// RFC 9113 section 8.2.1: the message is malformed. Left to itself, libnghttp2 would drop the field
// and go on.
int Http2Session::on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame,
                                    const uint8_t*, size_t, const uint8_t*, size_t, uint8_t,
                                    void*) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

nghttp2_nv Http2Session::pair(std::string_view name, std::string_view value) {
    return {.name = const_cast<uint8_t*>(as_bytes(name).data()),
            .value = const_cast<uint8_t*>(as_bytes(value).data()),
            .namelen = name.size(),
            .valuelen = value.size(),
            .flags = NGHTTP2_NV_FLAG_NONE};
}

// --- Streams ---------------------------------------------------------------------------------

void Http2Session::link(Http2Stream& stream) {
    stream.next = streams_;
    if (streams_ != nullptr) streams_->previous = &stream;
    streams_ = &stream;
    stream.window = kStreamWindow;
    ++stream_count_;
}

void Http2Session::unlink(Http2Stream& stream) {
    (stream.previous != nullptr ? stream.previous->next : streams_) = stream.next;
    if (stream.next != nullptr) stream.next->previous = stream.previous;
    --stream_count_;
    leave_waiting(stream);
    if (!stream.ready) return;
    Http2Stream* before = nullptr;
    for (Http2Stream* each = first_ready_; each != &stream; each = each->next_ready)
        before = each;
    (before != nullptr ? before->next_ready : first_ready_) = stream.next_ready;
    if (last_ready_ == &stream) last_ready_ = before;
}

void Http2Session::post(Http2Stream& stream) {
    if (stream.ready) return;
    stream.ready = true;
    stream.next_ready = nullptr;
    (last_ready_ != nullptr ? last_ready_->next_ready : first_ready_) = &stream;
    last_ready_ = &stream;
}

Http2Stream* Http2Session::take_ready() {
    Http2Stream* const stream = first_ready_;
    if (stream == nullptr) return nullptr;
    first_ready_ = stream->next_ready;
    if (first_ready_ == nullptr) last_ready_ = nullptr;
    stream->ready = false;
    return stream;
}

void Http2Session::give_back_window(const Http2Stream& stream) {
    if (stream.unread() == 0) return;
    nghttp2_session_consume_connection(session_, stream.unread());
    mark_unsent();
}

void Http2Session::abandon(Http2Stream& stream) {
    if (!stream.closed)
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id(), NGHTTP2_INTERNAL_ERROR);
    stream.cut();
    mark_unsent();
}

void Http2Session::await_room(Http2Stream& stream) {
    if (stream.id() > 0 &&
        (nghttp2_session_get_remote_window_size(session_) <= 0 ||
         nghttp2_session_get_stream_remote_window_size(session_, stream.id()) <= 0)) {
        stream.wants_window = true;
        return;
    }
    if (stream.waiting) return;
    stream.waiting = true;
    stream.previous_waiting = last_waiting_;
    stream.next_waiting = nullptr;
    (last_waiting_ != nullptr ? last_waiting_->next_waiting : first_waiting_) = &stream;
    last_waiting_ = &stream;
    mark_unsent();
}

void Http2Session::leave_waiting(Http2Stream& stream) {
    if (!stream.waiting) return;
    stream.waiting = false;
    (stream.previous_waiting != nullptr ? stream.previous_waiting->next_waiting : first_waiting_) =
        stream.next_waiting;
    (stream.next_waiting != nullptr ? stream.next_waiting->previous_waiting : last_waiting_) =
        stream.previous_waiting;
}

void Http2Session::serve_waiting() {
    // Those that wait again go behind the last of this round.
    Http2Stream* const last = last_waiting_;
    for (bool done = last == nullptr; !done && first_waiting_ != nullptr;) {
        if (!pump() || room() < 2 * kHeadRoom) return;
        Http2Stream& stream = *first_waiting_;
        done = &stream == last;
        leave_waiting(stream);
        if (stream.handler() != nullptr) stream.handler()->on_stream_ready();
    }
}

void Http2Session::window_opened(Http2Stream* stream) {
    const auto wake = [this](Http2Stream& each) {
        if (!each.wants_window) return;
        each.wants_window = false;
        post(each);
    };
    if (stream != nullptr) return wake(*stream);
    for (Http2Stream* each = streams_; each != nullptr; each = each->next)
        wake(*each);
}

size_t Http2Session::sendable(const Http2Stream& stream) {
    if (stream.closed || broken_) return 0;
    const int32_t window =
        std::min(nghttp2_session_get_remote_window_size(session_),
                 nghttp2_session_get_stream_remote_window_size(session_, stream.id()));
    if (window <= 0) return 0;
    if (room() < kFramePayload + 2 * kHeadRoom) write_out();
    const size_t free = room();
    const size_t frames = free / kFramePayload + 1;
    const size_t taken = kHeadRoom + frames * kFrameHeader;
    return free > taken ? std::min(static_cast<size_t>(window), free - taken) : 0;
}

bool Http2Session::has_room(size_t head_bytes) {
    if (encoded_bound(head_bytes) <= kHeadRoom || encoded_bound(head_bytes) <= room()) return true;
    write_out();
    return !output_waits();
}

void Http2Session::send(Http2Stream& stream) {
    if (stream.closed || broken_) return stream.cut();
    nghttp2_session_resume_data(session_, stream.id());
    pump();
    if (stream.payload() > 0) abandon(stream);
}

void Http2Session::consumed(Http2Stream& stream, size_t bytes) {
    // A whole window was taken: the receiver keeps up, and may be worth more.
    const auto grow = [this](int32_t id, size_t& window, size_t& since, size_t most) {
        if (since < window || window >= most) return;
        since = 0;
        window = std::min(window * 2, most);
        nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, id,
                                              static_cast<int32_t>(window));
    };
    if (stream.closed) {
        nghttp2_session_consume_connection(session_, bytes);
    } else {
        nghttp2_session_consume(session_, stream.id(), bytes);
        stream.consumed += bytes;
        if (!stream.input_ended())
            grow(stream.id(), stream.window, stream.consumed, kStreamWindowMax);
    }
    consumed_ += bytes;
    grow(0, window_, consumed_, kConnectionWindowMax);
    if (nghttp2_session_want_write(session_) != 0) mark_unsent();
}

// --- What libnghttp2 asks for ----------------------------------------------------------------

// The lines as the chunked coding had them, checked by its decoder.
void Http2Session::submit_trailers(nghttp2_session* session, const Http2Stream& stream) {
    std::vector<nghttp2_nv> block;
    std::string_view rest = stream.trailers_out();
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find("\r\n"));
        rest.remove_prefix(std::min(rest.size(), line.size() + 2));
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
            value.remove_prefix(1);
        while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
            value.remove_suffix(1);
        block.push_back({.name = const_cast<uint8_t*>(as_bytes(line).data()),
                         .value = const_cast<uint8_t*>(as_bytes(value).data()),
                         .namelen = colon,
                         .valuelen = value.size(),
                         .flags = NGHTTP2_NV_FLAG_NONE});
    }
    nghttp2_submit_trailer(session, stream.id(), block.data(), block.size());
}

nghttp2_data_provider Http2Session::data_of(Http2Stream& stream) {
    return {.source = {.ptr = &stream}, .read_callback = on_data_wanted};
}

ssize_t Http2Session::on_data_wanted(nghttp2_session* session, int32_t id, uint8_t*, size_t size,
                                     uint32_t* flags, nghttp2_data_source*, void*) {
    auto* const stream =
        static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (stream == nullptr) {  // it ended while its last frame could not be sent
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    const size_t payload = std::min(size, stream->payload());
    if (payload == stream->payload() && stream->output_ended()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!stream->trailers_out().empty()) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(session, *stream);
        }
    } else if (payload == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(payload);
}

int Http2Session::on_send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header,
                               size_t size, nghttp2_data_source*, void* self) {
    auto& session = *static_cast<Http2Session*>(self);
    session.append({header, kFrameHeader});
    SLUICE_CHECK(frame->data.padlen == 0);
    if (size == 0) return 0;
    auto* const stream = static_cast<Http2Stream*>(
        nghttp2_session_get_stream_user_data(session.session_, frame->hd.stream_id));
    SLUICE_CHECK(stream != nullptr);  // it was there when it was asked how much it has
    stream->take_payload(size, [&session](Bytes part) { session.append(part); });
    return 0;
}

}  // namespace sluice::http
