#include "tests/sim/attacker.h"

#include <algorithm>

namespace sluice::sim {

using namespace std::chrono_literals;

void Attacker::Ring::put(const Datagram& datagram) {
    records[next] = datagram;
    next = (next + 1) % records.size();
    filled = std::min(filled + 1, records.size());
}

Attacker::Ring& Attacker::ring(MessageKind kind) {
    switch (kind) {
        case MessageKind::kInitiation:
            return initiations_;
        case MessageKind::kResponse:
            return responses_;
        case MessageKind::kCookie:
            return cookies_;
        default:
            return data_;
    }
}

const Datagram* Attacker::pick(MessageKind kind) {
    const Ring& from = ring(kind);
    if (from.filled == 0) return nullptr;
    return &from.records[dice_.below(from.filled)];
}

const Datagram* Attacker::pick_any() {
    switch (dice_.below(5)) {
        case 0:
            return pick(MessageKind::kInitiation);
        case 1:
            return pick(MessageKind::kResponse);
        default:
            return pick(MessageKind::kData);
    }
}

Endpoint Attacker::any_source(const Datagram& record) {
    switch (dice_.below(4)) {
        case 0:
            return record.from;
        case 1:
            return network_.attachment(any_node()).primary;
        default:
            return any_own_address();
    }
}

void Attacker::send(const Endpoint& from, const Endpoint& to, Bytes bytes, const Origin& origin,
                    Instant now) {
    network_.inject(from, to, bytes, origin, now + dice_.between(Duration(10us), Duration(50ms)));
}

void Attacker::overhear(const Datagram& datagram, const FaultPlan& plan, Instant now) {
    if (dice_.chance(0.02 * plan.weight(Fault::kRelay))) {
        coverage_.injected(Fault::kRelay);
        network_.inject(any_own_address(), datagram.to, datagram.bytes, datagram.origin, now);
    }
    if (datagram.origin.second_mac) {
        use_second_mac(datagram, plan, now);
    } else if (datagram.origin.kind == MessageKind::kInitiation &&
               dice_.chance(0.2 * plan.weight(Fault::kSiege))) {
        coverage_.injected(Fault::kSiege);
        // A second of load at once, and one around the retry, which can carry a cookie.
        flood(datagram.origin.target, now);
        flood(datagram.origin.target, now + 4900ms);
    }
    ring(datagram.origin.kind).put(datagram);
}

// Whoever shares an address with an honest node, behind one NAT, sees its cookie and has other
// ports.
void Attacker::use_second_mac(const Datagram& datagram, const FaultPlan& plan, Instant now) {
    if (plan.on(Fault::kMovedCookie)) {
        coverage_.injected(Fault::kMovedCookie);
        // Behind a wave of a flood, so that the cookie is asked for.
        flood(datagram.origin.target, now);
        Endpoint from = datagram.from;
        from.port = static_cast<uint16_t>(from.port ^ 1);
        network_.inject(from, datagram.to, datagram.bytes, datagram.origin, now + 50ms);
    }
    if (plan.on(Fault::kProvenFlood)) {
        coverage_.injected(Fault::kProvenFlood);
        for (int i = 0; i < 10; ++i) {
            network_.inject(datagram.from, datagram.to, datagram.bytes, datagram.origin,
                            now + 50ms + dice_.between(Duration(0), Duration(50ms)));
        }
    }
}

void Attacker::replay(MessageKind kind, Instant now) {
    const Datagram* record = pick(kind);
    if (record == nullptr) return;
    // Mostly to where it was meant for, sometimes to another node altogether.
    const Endpoint to = dice_.below(8) == 0 ? network_.attachment(any_node()).primary : record->to;
    // A node that moved gets it too: the attacker follows.
    const uint32_t target = record->origin.target;
    const bool follow = target != kNobody && dice_.below(2) == 0;
    send(any_source(*record), follow ? network_.attachment(target).primary : to, record->bytes,
         record->origin, now);
}

void Attacker::alter(const Datagram& record, Instant now) {
    Origin origin = record.origin;
    scratch_ = record.bytes;
    flip_bit(scratch_, origin, dice_.below(scratch_.size() * 8));
    send(any_source(record), record.to, scratch_, origin, now);
}

void Attacker::garbage(Instant now) {
    scratch_.resize(dice_.below(4) == 0 ? dice_.below(1500) : dice_.below(200));
    dice_.fill(scratch_);
    if (dice_.below(2) == 0 && scratch_.size() >= 4) {
        store_le32(scratch_.data(), static_cast<uint32_t>(dice_.between(0, 5)));
    }
    if (dice_.below(4) == 0) {
        // A length and type that fit together, and nothing else that does.
        static constexpr std::array<size_t, 4> kSizes{148, 92, 64, 32};
        const size_t kind = dice_.below(4);
        scratch_.resize(kSizes[kind]);
        store_le32(scratch_.data(), static_cast<uint32_t>(kind + 1));
    }
    const Endpoint from = any_own_address();
    send(from, network_.attachment(any_node()).primary, scratch_, Origin(), now);
}

void Attacker::forge_data(Instant now) {
    const Datagram* record = pick(MessageKind::kData);
    if (record == nullptr) return;
    scratch_ = record->bytes;
    const uint64_t counter = load_le64(&scratch_[8]);
    store_le64(&scratch_[8], dice_.below(2) == 0 ? counter + dice_.below(10000) : dice_.word());
    dice_.fill(MutableBytes(scratch_).subspan(16));
    send(any_source(*record), record->to, scratch_, Origin(), now);
}

void Attacker::forge_handshake(uint32_t target, Instant now) {
    const Datagram* initiation = pick(MessageKind::kInitiation);
    const bool response = initiation != nullptr && dice_.below(3) == 0;
    scratch_.resize(response ? 92 : 148);
    dice_.fill(scratch_);
    store_le32(scratch_.data(), response ? 2 : 1);
    if (response) {
        // Answers an initiation that really is open, to the node that sent it.
        std::copy_n(initiation->bytes.begin() + 4, 4, scratch_.begin() + 8);
        target = initiation->origin.node;
    }
    nodes_[target]->mac().write(scratch_);
    if (dice_.below(2) == 0) std::fill(scratch_.end() - 16, scratch_.end(), uint8_t{0});
    const Endpoint from = any_own_address();
    send(from, network_.attachment(target).primary, scratch_, Origin(), now);
}

void Attacker::forge_cookie(Instant now) {
    const Datagram* record = pick(MessageKind::kInitiation);
    if (record == nullptr) return;
    scratch_.resize(64);
    dice_.fill(scratch_);
    store_le32(scratch_.data(), 3);
    std::copy_n(record->bytes.begin() + 4, 4, scratch_.begin() + 4);
    send(record->to, record->from, scratch_, Origin(), now);
}

void Attacker::spoil_mac(Instant now) {
    const Datagram* record =
        pick(dice_.below(2) == 0 ? MessageKind::kInitiation : MessageKind::kResponse);
    if (record == nullptr) return;
    scratch_ = record->bytes;
    dice_.fill(MutableBytes(scratch_).last(32).first(16));
    Origin origin = record->origin;
    origin.intact = false;
    send(any_source(*record), record->to, scratch_, origin, now);
}

void Attacker::flood(uint32_t target, Instant now) {
    // More than 64 within 100 ms is what a node takes for load.
    for (uint64_t i = dice_.between(66, 80); i > 0; --i)
        forge_handshake(target, now);
}

void Attacker::strike(Fault fault, Instant now) {
    coverage_.injected(fault);
    switch (fault) {
        case Fault::kReplayData:
            return replay(MessageKind::kData, now);
        case Fault::kReplayInitiation:
            return replay(MessageKind::kInitiation, now);
        case Fault::kReplayResponse:
            return replay(MessageKind::kResponse, now);
        case Fault::kReplayCookie:
            return replay(MessageKind::kCookie, now);
        case Fault::kReflect:
            if (const Datagram* record = pick_any()) {
                send(record->to, record->from, record->bytes, record->origin, now);
            }
            return;
        case Fault::kAlter:
            if (const Datagram* record = pick_any()) alter(*record, now);
            return;
        case Fault::kGarbage:
            return garbage(now);
        case Fault::kForgedData:
            return forge_data(now);
        case Fault::kForgedHandshake:
            return forge_handshake(any_node(), now);
        case Fault::kForgedCookie:
            return forge_cookie(now);
        case Fault::kBadMac:
            return spoil_mac(now);
        default:
            return;
    }
}

}  // namespace sluice::sim
