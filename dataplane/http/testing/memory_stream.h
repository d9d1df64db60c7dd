// Connections in memory, for the tests and fuzz targets of this room: the proxy holds a ByteStream,
// the test holds the far end.
//
// The streams are as unhelpful as the contract allows. They call their handler only after they said
// kWouldBlock and something changed since, they move as few bytes a call as they are told, they may
// hold back what they accepted until flush() is called, and they insist that bytes which were
// offered once are offered again.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/check.h"
#include "dataplane/base/random.h"

namespace sluice::http::testing {

class MemoryStream;

// Which streams are to be called, in which order.
class EventQueue {
  public:
    void post(MemoryStream* stream) {
        if (std::ranges::find(queue_, stream) == queue_.end()) queue_.push_back(stream);
    }
    void forget(MemoryStream* stream) { std::erase(queue_, stream); }
    bool empty() const { return queue_.empty(); }
    void run_one();

  private:
    std::deque<MemoryStream*> queue_;
};

// How a stream behaves.
struct StreamManner {
    size_t read_max = SIZE_MAX;   // bytes a call
    size_t write_max = SIZE_MAX;  // the same
    bool holds_back = false;      // accepts bytes and keeps them until flush()
    bool conduits = false;        // takes long bodies through conduits
    // Set: sizes up to the maxima are drawn, and now and then a call would block for no reason.
    Random* whims = nullptr;
};

// The far end of a MemoryStream. It lives on when the stream is gone.
struct FarEnd {
    std::string received;            // everything that came, in order
    size_t received_max = SIZE_MAX;  // the stream blocks when so much was received
    bool end_received = false;       // the stream's end, in an orderly way
    bool gone = false;               // the stream was destroyed
    bool connected = true;           // false: neither reads nor writes move yet
    MemoryStream* stream = nullptr;  // null when gone
    size_t conduits = 0;             // that were opened to it

    std::string to_stream;  // not yet read by it
    bool ended = false;
    bool broken = false;

    void send(std::string_view bytes);
    void end();    // orderly
    void reset();  // not orderly; what was not read yet is lost
    void allow(size_t received_max_now);
    void connect();  // lets a connection that hangs be established
    bool has_news() const { return taken_ < received.size(); }
    // What came since the last call.
    std::string take() {
        std::string fresh = received.substr(taken_);
        taken_ = received.size();
        return fresh;
    }

  private:
    size_t taken_ = 0;
};

class MemoryConduit final : public Conduit {
  public:
    MemoryConduit(ByteStream& source, ByteStream& sink) : source_(source), sink_(sink) {}
    IoResult fill(size_t bytes_max) override {
        SLUICE_CHECK(held_.empty() && bytes_max > 0);
        held_.resize(std::min<size_t>(bytes_max, 100'000));
        const IoResult result =
            source_.read({reinterpret_cast<uint8_t*>(held_.data()), held_.size()});
        held_.resize(result.bytes);
        return result;
    }
    IoResult drain() override {
        SLUICE_CHECK(!held_.empty());
        const Bytes piece = as_bytes(held_);
        const IoResult result = sink_.write({&piece, 1});
        held_.erase(0, result.bytes);
        return result;
    }
    size_t held() const override { return held_.size(); }

  private:
    ByteStream& source_;
    ByteStream& sink_;
    std::string held_;
};

class MemoryStream final : public ByteStream {
  public:
    MemoryStream(EventQueue& events, std::shared_ptr<FarEnd> far, StreamManner manner)
        : events_(events), far_(std::move(far)), manner_(manner) {
        far_->stream = this;
    }
    ~MemoryStream() override {
        events_.forget(this);
        far_->stream = nullptr;
        far_->gone = true;
    }

    void set_handler(StreamHandler* handler) override { handler_ = handler; }

    IoResult read(MutableBytes into) override {
        SLUICE_CHECK(!into.empty());
        if (far_->broken) return {IoStatus::kError, 0};
        if (!far_->connected || has_whim()) return block_read();
        const size_t size =
            drawn(std::min({into.size(), manner_.read_max, far_->to_stream.size()}));
        if (size == 0) return far_->ended ? IoResult{IoStatus::kEnd, 0} : block_read();
        std::copy_n(far_->to_stream.begin(), size, into.begin());
        far_->to_stream.erase(0, size);
        return {IoStatus::kOk, size};
    }

    IoResult write(std::span<const Bytes> pieces) override {
        std::string offered;
        for (const Bytes piece : pieces)
            offered += as_text(piece);
        SLUICE_CHECK(!offered.empty());
        SLUICE_CHECK(!end_sent_);
        // The contract: what was offered when the stream was full is what comes next.
        SLUICE_CHECK(offered.starts_with(refused_));
        if (far_->broken) return {IoStatus::kError, 0};
        const size_t held = held_.size() + far_->received.size();
        const size_t room = far_->received_max > held ? far_->received_max - held : 0;
        const size_t size = drawn(std::min({offered.size(), manner_.write_max, room}));
        if (!far_->connected || size == 0 || has_whim()) {
            refused_ = offered;
            write_blocked_ = true;
            if (room > 0 && far_->connected) events_.post(this);
            return {IoStatus::kWouldBlock, 0};
        }
        refused_.clear();
        held_ += offered.substr(0, size);
        if (!manner_.holds_back) flush();
        return {IoStatus::kOk, size};
    }

    bool flush() override {
        if (held_.empty()) return true;
        if (has_whim()) {
            events_.post(this);
            return false;
        }
        far_->received += held_;
        held_.clear();
        return true;
    }

    std::unique_ptr<Conduit> conduit_from(ByteStream& source, uint64_t bytes) override {
        SLUICE_CHECK(bytes > 0);
        if (!manner_.conduits || has_whim()) return nullptr;
        ++far_->conduits;
        return std::make_unique<MemoryConduit>(source, *this);
    }

    void shutdown_write() override {
        SLUICE_CHECK(held_.empty());
        end_sent_ = true;
        far_->end_received = true;
    }

    // Something changed at the far end.
    void changed() {
        if (read_blocked_ || write_blocked_) events_.post(this);
    }
    void call_handler() {
        read_blocked_ = write_blocked_ = false;
        if (handler_ != nullptr) handler_->on_stream_ready();
    }

  private:
    bool has_whim() { return manner_.whims != nullptr && manner_.whims->below(8) == 0; }
    size_t drawn(size_t most) {
        return manner_.whims == nullptr || most == 0 ? most : 1 + manner_.whims->below(most);
    }
    IoResult block_read() {
        read_blocked_ = true;
        // After a whim there is nobody else to call.
        if (far_->connected && (!far_->to_stream.empty() || far_->ended)) events_.post(this);
        return {IoStatus::kWouldBlock, 0};
    }

    EventQueue& events_;
    std::shared_ptr<FarEnd> far_;
    StreamManner manner_;
    StreamHandler* handler_ = nullptr;
    std::string refused_;
    std::string held_;
    bool read_blocked_ = false;
    bool write_blocked_ = false;
    bool end_sent_ = false;
};

inline void EventQueue::run_one() {
    MemoryStream* const stream = queue_.front();
    queue_.pop_front();
    stream->call_handler();  // may destroy it
}

inline void FarEnd::send(std::string_view bytes) {
    to_stream += bytes;
    if (stream != nullptr) stream->changed();
}
inline void FarEnd::end() {
    ended = true;
    if (stream != nullptr) stream->changed();
}
inline void FarEnd::reset() {
    broken = true;
    to_stream.clear();
    if (stream != nullptr) stream->changed();
}
inline void FarEnd::allow(size_t received_max_now) {
    received_max = received_max_now;
    if (stream != nullptr) stream->changed();
}
inline void FarEnd::connect() {
    connected = true;
    if (stream != nullptr) stream->changed();
}

}  // namespace sluice::http::testing
