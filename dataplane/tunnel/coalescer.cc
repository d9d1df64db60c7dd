#include "dataplane/tunnel/coalescer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/tunnel/flow.h"

namespace sluice::tunnel {

namespace {

// A whole super-packet, and behind its last packet WireGuard's padding (at most 15 bytes) and the
// 16 bytes of a tag, which a decryption may need room for. No UDP datagram brings more.
constexpr size_t kBufferBytes = Flow::kPacketBytesMax + 1 + 32;

}  // namespace

struct Coalescer::Impl {
    explicit Impl(Options chosen)
        : options(chosen),
          memory(std::make_unique_for_overwrite<uint8_t[]>((chosen.flows_max + size_t{1}) *
                                                           kBufferBytes)) {
        open.reserve(options.flows_max);
        idle.reserve(options.flows_max + size_t{1});
        flows.reserve(options.flows_max + size_t{1});
        for (size_t i = 0; i <= options.flows_max; ++i) {
            idle.push_back(&flows.emplace_back(memory.get() + i * kBufferBytes));
        }
    }

    // The flow that has no packets yet and whose memory takes a packet that continues none. The one
    // used last, because its memory is warm.
    Flow& spare() { return *idle.back(); }

    void uncover();
    bool wanted(const Candidate& candidate) const;
    void place(const Candidate& candidate, CoalescerOutput& out);
    void join(Flow& flow, size_t payload_size, bool ends, CoalescerOutput& out);
    void emit(Flow& flow, CoalescerOutput& out);
    Flow* find(const Candidate& candidate);

    Options options;
    uint64_t coalesced_tcp = 0;
    uint64_t coalesced_udp = 0;
    std::unique_ptr<uint8_t[]> memory;
    std::vector<Flow> flows;  // one more than may be open, so that there is always a spare one
    std::vector<Flow*> open;  // by age, oldest first
    std::vector<Flow*> idle;

    // The flow that was continued last: the next packet is expected to continue it, too.
    Flow* expected = nullptr;

    // The buffer that was given out: in the memory of `over`, over the end of what it has
    // collected, or, if `over` is null, in the spare one's.
    bool lent = false;
    Flow* over = nullptr;
    MutableBytes room;
    std::array<uint8_t, Flow::kHeaderBytesMax> covered;
};

// Puts back the bytes of a super-packet that the headers of the packet behind it have overwritten.
void Coalescer::Impl::uncover() {
    std::memcpy(over->memory() + over->used() - over->header_size(), covered.data(),
                over->header_size());
}

bool Coalescer::Impl::wanted(const Candidate& candidate) const {
    return options.flows_max > 0 && (candidate.is_tcp() ? options.tcp : options.udp) &&
           candidate.joinable();
}

Flow* Coalescer::Impl::find(const Candidate& candidate) {
    const auto found =
        std::ranges::find_if(open, [&](const Flow* flow) { return flow->same_flow(candidate); });
    return found == open.end() ? nullptr : *found;
}

void Coalescer::Impl::emit(Flow& flow, CoalescerOutput& out) {
    const size_t packets = flow.packets();
    const Offload offload = flow.finish();
    if (packets > 1) {
        (offload.gso_type == Offload::kGsoUdpL4 ? coalesced_udp : coalesced_tcp) += packets;
    }
    out.on_packet(offload, static_cast<uint16_t>(flow.header_size()), {flow.memory(), flow.used()});
    open.erase(std::ranges::find(open, &flow));
    idle.push_back(&flow);
    if (expected == &flow) expected = nullptr;
}

void Coalescer::Impl::join(Flow& flow, size_t payload_size, bool ends, CoalescerOutput& out) {
    flow.append(payload_size, ends);
    expected = &flow;
    if (flow.ended()) emit(flow, out);
}

// A packet that is not where it would continue the expected flow: it lies in the spare memory.
void Coalescer::Impl::place(const Candidate& candidate, CoalescerOutput& out) {
    Flow& home = spare();
    if (!candidate.layout) {
        for (size_t i = 0; i < open.size();) {
            if (open[i]->same_addresses(candidate.packet)) {
                emit(*open[i], out);
            } else {
                ++i;
            }
        }
    } else if (Flow* flow = find(candidate)) {
        if (flow->continued_by(candidate)) {
            const Bytes payload = candidate.packet.subspan(flow->header_size());
            std::memcpy(flow->memory() + flow->used(), payload.data(), payload.size());
            join(*flow, payload.size(), candidate.ends_flow(), out);
            return;
        }
        emit(*flow, out);
    }
    if (!wanted(candidate) || candidate.ends_flow()) {
        const size_t headers = candidate.layout ? candidate.layout->payload_offset : 0;
        out.on_packet({}, static_cast<uint16_t>(headers), candidate.packet);
        return;
    }
    if (open.size() == options.flows_max) emit(*open.front(), out);
    idle.erase(std::ranges::find(idle, &home));
    open.push_back(&home);
    home.start(candidate);
    expected = &home;
}

Coalescer::Coalescer(Options options) : impl_(std::make_unique<Impl>(options)) {}
Coalescer::~Coalescer() = default;

MutableBytes Coalescer::buffer(size_t size, CoalescerOutput&) {
    Impl& impl = *impl_;
    SLUICE_CHECK(!impl.lent);
    if (size > kBufferBytes) return {};
    impl.lent = true;
    Flow* flow = impl.expected;
    if (flow != nullptr && flow->used() - flow->header_size() + size <= kBufferBytes) {
        uint8_t* at = flow->memory() + flow->used() - flow->header_size();
        std::memcpy(impl.covered.data(), at, flow->header_size());
        impl.over = flow;
        impl.room = {at, size};
    } else {
        impl.over = nullptr;
        impl.room = {impl.spare().memory(), size};
    }
    return impl.room;
}

void Coalescer::commit(size_t size, CoalescerOutput& out) {
    Impl& impl = *impl_;
    SLUICE_CHECK(impl.lent && size <= impl.room.size());
    impl.lent = false;
    const Candidate here(impl.room.first(size));
    Flow* flow = impl.over;
    if (flow == nullptr) {
        impl.place(here, out);
        return;
    }
    if (flow->continued_by(here)) {
        const bool ends = here.ends_flow();
        impl.uncover();
        impl.join(*flow, here.layout->payload_size, ends, out);
        return;
    }
    // Not the expected one. It has to move before anything can be put back or given out.
    uint8_t* moved = impl.spare().memory();
    std::memcpy(moved, here.packet.data(), size);
    impl.uncover();
    impl.place(Candidate({moved, size}), out);
}

void Coalescer::abandon() {
    Impl& impl = *impl_;
    SLUICE_CHECK(impl.lent);
    impl.lent = false;
    if (impl.over != nullptr) impl.uncover();
}

void Coalescer::flush(CoalescerOutput& out) {
    Impl& impl = *impl_;
    SLUICE_CHECK(!impl.lent);
    while (!impl.open.empty())
        impl.emit(*impl.open.front(), out);
}

void Coalescer::set_joining(bool tcp, bool udp) {
    SLUICE_CHECK(!impl_->lent && impl_->open.empty());
    impl_->options.tcp = tcp;
    impl_->options.udp = udp;
}

uint64_t Coalescer::coalesced_tcp() const {
    return impl_->coalesced_tcp;
}

uint64_t Coalescer::coalesced_udp() const {
    return impl_->coalesced_udp;
}

}  // namespace sluice::tunnel
