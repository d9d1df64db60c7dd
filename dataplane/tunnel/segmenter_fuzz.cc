// Any offload header with any packet: nothing outside the packet is touched, and what is given out
// is well formed. Input: ten bytes of virtio header as Linux lays it out, then the packet.
#include <cstdlib>
#include <memory>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/tunnel/naive_packets.h"
#include "dataplane/tunnel/segmenter.h"

using namespace sluice;
using namespace sluice::tunnel;

namespace {

// A segment's own length field says what its size is, and its IPv4 header checksum is right.
void check_segment(const naive::Packet& segment, size_t headers, size_t gso_size) {
    SLUICE_CHECK(segment.size() >= headers && segment.size() <= headers + gso_size);
    if (segment[0] >> 4 == 4) {
        SLUICE_CHECK(naive::get(segment, 2, 2) == segment.size());
        SLUICE_CHECK(naive::sum_of(segment, 0, (segment[0] & 15u) * 4) == 0xffff);
    } else {
        SLUICE_CHECK(naive::get(segment, 4, 2) + 40 == segment.size());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 10 || size > 10 + 65575) return 0;
    const Offload offload{.flags = data[0],
                          .gso_type = data[1],
                          .gso_size = load_native<uint16_t>(data + 4),
                          .checksum_start = load_native<uint16_t>(data + 6),
                          .checksum_offset = load_native<uint16_t>(data + 8)};
    const naive::Packet packet(data + 10, data + size);
    const auto exact = std::make_unique<uint8_t[]>(packet.size());
    std::copy(packet.begin(), packet.end(), exact.get());

    Segmenter segmenter(offload, {exact.get(), packet.size()});
    std::vector<naive::Packet> segments;
    while (const auto segment = segmenter.next()) {
        SLUICE_CHECK(segment->data() >= exact.get() &&
                     segment->data() + segment->size() <= exact.get() + packet.size());
        segments.emplace_back(segment->begin(), segment->end());
        std::fill(segment->begin(), segment->end(), uint8_t{0xee});
        SLUICE_CHECK(segments.size() <= packet.size() + 1);
    }
    if (segmenter.malformed()) {
        SLUICE_CHECK(segments.empty());
        return 0;
    }
    SLUICE_CHECK(!segments.empty());
    if (offload.gso_type == Offload::kGsoNone) {
        // At most the checksum field has changed, and the sum over what it covers is right.
        SLUICE_CHECK(segments.size() == 1 && segments[0].size() == packet.size());
        const bool needed = (offload.flags & Offload::kNeedsChecksum) != 0;
        const size_t field = size_t{offload.checksum_start} + offload.checksum_offset;
        for (size_t i = 0; i < packet.size(); ++i) {
            SLUICE_CHECK(segments[0][i] == packet[i] || (needed && (i == field || i == field + 1)));
        }
        return 0;
    }
    // The model agrees on everything but the transport checksum, which stands on what the kernel
    // left in the field; where that was the pseudo-header's sum, the checksum is right, too.
    const std::vector<naive::Packet> expected = naive::segments_of(
        {offload.flags, static_cast<uint8_t>(offload.gso_type & 0x7f), offload.gso_size, 0, 0},
        packet);
    SLUICE_CHECK(segments.size() == expected.size());
    const naive::Shape shape = naive::shape_of(packet);
    const size_t field = naive::checksum_at(shape);
    const bool honest =
        naive::get(packet, field, 2) % 0xffff == naive::pseudo_sum(packet, shape) % 0xffff;
    const size_t headers =
        shape.transport + (shape.protocol == 6 ? (packet[shape.transport + 12] >> 4) * 4u : 8u);
    for (size_t i = 0; i < segments.size(); ++i) {
        check_segment(segments[i], headers, offload.gso_size);
        if (!honest) naive::put(segments[i], field, 2, naive::get(expected[i], field, 2));
        SLUICE_CHECK(segments[i] == expected[i]);
    }
    return 0;
}
