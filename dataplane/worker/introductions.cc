#include "dataplane/worker/introductions.h"

#include <iterator>
#include <utility>

namespace sluice::worker {

using Outcome = wire::ProxyHeader::Outcome;

void Introductions::begin(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts,
                          Instant deadline) {
    Waiting& waiting = waiting_.emplace_back(*this, std::move(stream), facts);
    waiting.place = std::prev(waiting_.end());
    timers_.set(waiting, deadline);
    // Bytes may have come already, and then nobody would call.
    waiting.on_stream_ready();
}

Introductions::Waiting::Waiting(Introductions& owner, std::unique_ptr<ByteStream> stream,
                                const http::ClientFacts& facts)
    : owner_(owner), stream_(std::move(stream)), facts_(facts) {
    facts_.through_tunnel = false;
    stream_->set_handler(this);
}

Introductions::Waiting::~Waiting() {
    if (stream_ != nullptr) stream_->set_handler(nullptr);
}

void Introductions::Waiting::on_stream_ready() {
    wire::ProxyHeader header;
    if (read_header(header)) end(header);
}

bool Introductions::Waiting::read_header(wire::ProxyHeader& header) {
    for (;;) {
        header = wire::parse_proxy_header(bytes_);
        if (header.outcome != Outcome::kMore) return true;
        // What is wanted is a part of the header for sure, so nothing of what follows is taken.
        const size_t have = bytes_.size();
        bytes_.resize(have + header.wanted);
        const IoResult got = stream_->read(MutableBytes(bytes_).subspan(have));
        bytes_.resize(have + (got.status == IoStatus::kOk ? got.bytes : 0));
        if (got.status == IoStatus::kWouldBlock) return false;
        if (got.status != IoStatus::kOk) return true;
    }
}

// Destroys this.
void Introductions::Waiting::end(const wire::ProxyHeader& header) {
    Introductions& owner = owner_;
    if (header.outcome == Outcome::kMissing) {
        owner.drops_.add(DropReason::kProxyHeaderMissing);
    } else if (header.outcome != Outcome::kComplete && !bytes_.empty()) {
        owner.drops_.add(DropReason::kProxyHeaderMalformed);
    }
    if (header.outcome != Outcome::kComplete) {
        owner.waiting_.erase(place);
        return;
    }
    const bool for_client = header.client.is_set();
    if (for_client) {
        facts_.remote = header.client;
        facts_.local = header.server;
    }
    std::unique_ptr<ByteStream> stream = std::move(stream_);
    stream->set_handler(nullptr);
    http::ClientFacts facts = std::move(facts_);
    owner.waiting_.erase(place);
    owner.host_.on_introduced(std::move(stream), std::move(facts), for_client);
}

void Introductions::Waiting::on_timer(Now) {
    owner_.drops_.add(DropReason::kClientTimeout);
    owner_.waiting_.erase(place);
}

}  // namespace sluice::worker
