#include "tests/sim/sim_network.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace sluice::sim {

using namespace std::chrono_literals;

void flip_bit(std::vector<uint8_t>& bytes, Origin& origin, uint64_t bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    const bool handshake =
        origin.kind == MessageKind::kInitiation || origin.kind == MessageKind::kResponse;
    if (!handshake || bit / 8 < bytes.size() - 16) {
        origin.intact = false;
    } else {
        origin.second_mac = false;
    }
}

Endpoint SimNetwork::new_address(bool v4) {
    const uint32_t number = ++addresses_;
    const auto high = static_cast<uint8_t>(number >> 8);
    const auto low = static_cast<uint8_t>(number);
    const auto port = static_cast<uint16_t>(dice_.between(1024, 65000));
    if (v4) {
        const std::array<uint8_t, 4> bytes{100, 64, high, low};
        return {IpAddress::v4(bytes.data()), port};
    }
    const std::array<uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,    0,
                                        0,    0,    0,    0,    0, 0, high, low};
    return {IpAddress::v6(bytes.data()), port};
}

Endpoint SimNetwork::attacker_address(uint32_t number) {
    const auto low = static_cast<uint8_t>(number);
    if (number % 2 == 0) {
        const std::array<uint8_t, 4> bytes{203, 0, 113, low};
        return {IpAddress::v4(bytes.data()), static_cast<uint16_t>(6000 + number)};
    }
    const std::array<uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8, 0xba, 0xd0, 0, 0,
                                        0,    0,    0,    0,    0,    0,    0, low};
    return {IpAddress::v6(bytes.data()), static_cast<uint16_t>(6000 + number)};
}

bool SimNetwork::is_attacker(const Endpoint& endpoint) {
    for (uint32_t number = 0; number < kAttackerAddresses; ++number) {
        if (attacker_address(number) == endpoint) return true;
    }
    return false;
}

uint32_t SimNetwork::attach(bool fixed, bool nat) {
    Attachment attachment;
    attachment.fixed = fixed;
    attachment.nat = nat && !fixed;
    attachment.primary = new_address(dice_.below(2) == 0);
    if (fixed) attachment.alternate = new_address(dice_.below(2) == 0);
    attachments_.push_back(attachment);
    links_.assign(attachments_.size() * attachments_.size(), Link());
    return static_cast<uint32_t>(attachments_.size() - 1);
}

void SimNetwork::roam(uint32_t node) {
    Attachment& attachment = attachments_[node];
    attachment.primary = new_address(dice_.below(2) == 0);
    // The new NAT has no mapping yet: nothing comes in before something went out.
    attachment.last_use = Instant::min();
}

void SimNetwork::rebind(uint32_t node) {
    uint16_t& port = attachments_[node].primary.port;
    port = static_cast<uint16_t>(port == 65535 ? 1024 : port + 1);
}

uint32_t SimNetwork::owner(const Endpoint& endpoint) const {
    for (uint32_t node = 0; node < attachments_.size(); ++node) {
        const Attachment& attachment = attachments_[node];
        if (attachment.primary == endpoint) return node;
        if (attachment.alternate.is_set() && attachment.alternate == endpoint) return node;
    }
    return kNobody;
}

bool SimNetwork::would_arrive(const Endpoint& endpoint, uint32_t node, Instant now) const {
    if (!endpoint.is_set() || owner(endpoint) != node) return false;
    const Attachment& attachment = attachments_[node];
    return !attachment.nat ||
           (attachment.last_use != Instant::min() && now - attachment.last_use <= kNatLifetime);
}

void SimNetwork::set_links(const FaultPlan& plan) {
    for (Link& link : links_)
        link.faults = plan.draw_link(dice_);
}

void SimNetwork::heal() {
    for (Link& link : links_) {
        link = Link();
        link.faults = healthy_link(dice_);
    }
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        if (!slots_[slot].used) continue;
        slots_[slot].link = kNobody;
        release(slot);
    }
}

void SimNetwork::clog(uint32_t from, uint32_t to, Instant until) {
    link(from, to).clogged_until = until;
}

void SimNetwork::cut(uint32_t from, uint32_t to, Instant until) {
    link(from, to).cut_until = until;
}

uint32_t SimNetwork::take_slot() {
    uint32_t slot;
    if (free_.empty()) {
        slot = static_cast<uint32_t>(slots_.size());
        slots_.emplace_back();
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    slots_[slot].used = true;
    return slot;
}

void SimNetwork::release(uint32_t slot) {
    Slot& taken = slots_[slot];
    SLUICE_CHECK(taken.used);
    if (taken.link != kNobody) --links_[taken.link].in_flight;
    taken.link = kNobody;
    taken.used = false;
    ++taken.flight;
    free_.push_back(slot);
}

Endpoint SimNetwork::transmit(uint32_t node, const Endpoint& to, uint8_t tos, Bytes bytes,
                              const Origin& origin, Instant now) {
    Attachment& attachment = attachments_[node];
    if (attachment.nat) {
        const bool open = attachment.last_use != Instant::min();
        if (open && now - attachment.last_use > kNatLifetime) {
            coverage_.done(Deed::kNatExpired);
            rebind(node);
        }
        attachment.last_use = now;
    }
    const Endpoint from = attachment.primary;
    const uint32_t receiver = owner(to);
    if (receiver == kNobody || receiver == node) return from;

    Link& way = link(node, receiver);
    const auto index = static_cast<uint32_t>(&way - links_.data());
    if (now < way.cut_until) {
        coverage_.injected(Fault::kPartition);
        return from;
    }
    if (bytes.size() > way.faults.largest) {
        coverage_.injected(Fault::kBlackHole);
        return from;
    }
    if (dice_.chance(way.faults.loss)) {
        coverage_.injected(Fault::kLoss);
        return from;
    }
    scratch_.from = from;
    scratch_.to = to;
    scratch_.tos = tos;
    scratch_.origin = origin;
    scratch_.bytes.assign(bytes.begin(), bytes.end());
    const bool twice = dice_.chance(way.faults.duplicate);
    send_copy(way, index, scratch_, now);
    if (twice) {
        coverage_.injected(Fault::kDuplicate);
        send_copy(way, index, scratch_, now);
    }
    return from;
}

void SimNetwork::send_copy(Link& way, uint32_t link_index, const Datagram& datagram, Instant now) {
    if (way.faults.capacity > 0 && way.in_flight >= way.faults.capacity) {
        coverage_.injected(Fault::kCapacity);
        return;
    }
    Instant arrives = now + way.faults.delay_least;
    if (way.faults.delay_mean > Duration::zero()) {
        arrives += dice_.about(way.faults.delay_mean);
        coverage_.injected(Fault::kReorder);
    }
    if (arrives < way.clogged_until) {
        arrives = way.clogged_until;
        coverage_.injected(Fault::kClog);
    }
    const uint32_t slot = take_slot();
    Slot& taken = slots_[slot];
    taken.datagram = datagram;
    taken.link = link_index;
    ++way.in_flight;
    damage(way, taken.datagram);
    events_.push(arrives, EventKind::kArrival, slot, taken.flight);
}

void SimNetwork::damage(const Link& way, Datagram& datagram) {
    std::vector<uint8_t>& bytes = datagram.bytes;
    if (dice_.chance(way.faults.corrupt)) {
        coverage_.injected(Fault::kCorrupt);
        flip_bit(bytes, datagram.origin, dice_.below(bytes.size() * 8));
    }
    if (dice_.chance(way.faults.truncate)) {
        coverage_.injected(Fault::kTruncate);
        bytes.resize(dice_.below(bytes.size()));
        datagram.origin.intact = false;
    }
}

void SimNetwork::inject(const Endpoint& from, const Endpoint& to, Bytes bytes, const Origin& origin,
                        Instant arrives) {
    const uint32_t slot = take_slot();
    Slot& taken = slots_[slot];
    taken.datagram.from = from;
    taken.datagram.to = to;
    taken.datagram.tos = 0;
    taken.datagram.origin = origin;
    taken.datagram.bytes.assign(bytes.begin(), bytes.end());
    taken.link = kNobody;
    events_.push(arrives, EventKind::kArrival, slot, taken.flight);
}

std::optional<uint32_t> SimNetwork::arrive(uint32_t slot, Instant now) {
    const Datagram& datagram = slots_[slot].datagram;
    const uint32_t node = owner(datagram.to);
    if (node == kNobody) return {};
    if (!would_arrive(datagram.to, node, now)) {
        coverage_.done(Deed::kNatClosed);
        return {};
    }
    attachments_[node].last_use = now;
    return node;
}

}  // namespace sluice::sim
