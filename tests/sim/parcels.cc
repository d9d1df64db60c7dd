#include "tests/sim/parcels.h"

#include <algorithm>

#include "tests/sim/sim_node.h"

namespace sluice::sim {

uint64_t Parcels::add(const Parcel& parcel) {
    parcels_.push_back(parcel);
    return parcels_.size() - 1;
}

Bytes Parcels::build(uint64_t number) {
    const Parcel& parcel = parcels_[number];
    const MutableBytes packet = MutableBytes(buffer_).first(parcel.size);
    const auto host = static_cast<uint8_t>(1 + number % 200);
    // A forged source is one of the receiver's own network: no peer may ever use that.
    const uint32_t source_net = parcel.forged_source ? parcel.to : parcel.from;
    const IpAddress source = SimNode::inner_address(source_net, parcel.v4, host);
    const IpAddress destination = SimNode::inner_address(parcel.to, parcel.v4, host);
    std::fill(packet.begin(), packet.end(), uint8_t{0});
    size_t header = 0;
    if (parcel.v4) {
        header = 20;
        packet[0] = 0x45;
        store_be16(&packet[2], parcel.size);
        packet[8] = 64;
        packet[9] = 17;
        std::copy_n(source.bytes.begin(), 4, &packet[12]);
        std::copy_n(destination.bytes.begin(), 4, &packet[16]);
    } else {
        header = 40;
        packet[0] = 0x60;
        store_be16(&packet[4], static_cast<uint16_t>(parcel.size - 40));
        packet[6] = 17;
        packet[7] = 64;
        std::copy_n(source.bytes.begin(), 16, &packet[8]);
        std::copy_n(destination.bytes.begin(), 16, &packet[24]);
    }
    store_le64(&packet[header], number);
    uint64_t word = number * 0x9e3779b97f4a7c15u + 1;
    for (size_t at = header + 8; at < packet.size(); at += 8) {
        word ^= word << 13, word ^= word >> 7, word ^= word << 17;
        std::memcpy(&packet[at], &word, std::min<size_t>(8, packet.size() - at));
    }
    return packet;
}

std::optional<uint64_t> Parcels::number_of(Bytes packet) const {
    if (packet.size() < kSizeMin && (packet.size() < 28 || packet[0] >> 4 != 4)) return {};
    const uint64_t number = load_le64(&packet[packet[0] >> 4 == 4 ? 20 : 40]);
    if (number >= parcels_.size()) return {};
    return number;
}

}  // namespace sluice::sim
