#include "dataplane/worker/tun_writer.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "dataplane/tunnel/segmenter.h"

namespace sluice::worker {

namespace {

constexpr size_t kPacketBytesMax = 65535;

}  // namespace

TunWriter::TunWriter(const contract::OffloadConfig& config, DropCounters& drops)
    : drops_(drops), cut_(std::make_unique_for_overwrite<uint8_t[]>(kPacketBytesMax)) {
    tcp_.wanted = config.tcp_coalescing != contract::Wanted::kOff;
    udp_.wanted = config.udp_coalescing != contract::Wanted::kOff;
}

tunnel::Coalescer::Options TunWriter::coalescer_options() const {
    return {.tcp = tcp_.wanted, .udp = udp_.wanted};
}

void TunWriter::write(io::TunPort& tun, const tunnel::Offload& offload, uint16_t header_length,
                      Bytes packet) {
    if (write_whole(tun, offload, header_length, packet)) return;
    if (offload.gso_type == tunnel::Offload::kGsoNone) {
        drops_.add(DropReason::kTunWriteFailed);
    } else if (write_cut(tun, offload, packet) > 0) {
        Joining& joining = offload.gso_type == tunnel::Offload::kGsoUdpL4 ? udp_ : tcp_;
        joining.refused.add();
        joining.rest = kBatchesWithoutJoining;
        was_refused_ = true;
    }
}

bool TunWriter::write_whole(io::TunPort& tun, const tunnel::Offload& offload,
                            uint16_t header_length, Bytes packet) {
    const io::VirtioHeader header{.flags = offload.flags,
                                  .gso_type = offload.gso_type,
                                  .header_length = header_length,
                                  .gso_size = offload.gso_size,
                                  .checksum_start = offload.checksum_start,
                                  .checksum_offset = offload.checksum_offset};
    const Bytes pieces[] = {packet};
    return tun.write(header, pieces);
}

size_t TunWriter::write_cut(io::TunPort& tun, const tunnel::Offload& offload, Bytes packet) {
    const MutableBytes copy(cut_.get(), std::min(packet.size(), kPacketBytesMax));
    std::memcpy(copy.data(), packet.data(), copy.size());
    tunnel::Segmenter segmenter(offload, copy);
    if (segmenter.malformed()) drops_.add(DropReason::kTunWriteFailed);
    size_t taken = 0;
    while (const auto segment = segmenter.next()) {
        const Bytes pieces[] = {*segment};
        if (tun.write({}, pieces)) {
            ++taken;
        } else {
            drops_.add(DropReason::kTunWriteFailed);
        }
    }
    return taken;
}

void TunWriter::end_batch(tunnel::Coalescer& coalescer) {
    if (!was_refused_ && !is_resting_) return;
    // The batch that was refused is not one of those that rest.
    if (!was_refused_) {
        for (Joining* joining : {&tcp_, &udp_})
            joining->rest -= joining->rest > 0 ? 1 : 0;
    }
    was_refused_ = false;
    coalescer.set_joining(tcp_.may(), udp_.may());
    is_resting_ = tcp_.rest > 0 || udp_.rest > 0;
}

void TunWriter::report(const tunnel::Coalescer& coalescer,
                       std::vector<contract::OffloadReport>& offloads) const {
    offloads.push_back(report_of("tcp_coalescing", tcp_, coalescer.coalesced_tcp()));
    offloads.push_back(report_of("udp_coalescing", udp_, coalescer.coalesced_udp()));
}

contract::OffloadReport TunWriter::report_of(std::string_view name, const Joining& joining,
                                             uint64_t uses) {
    contract::OffloadReport report{.name = std::string(name),
                                   .state = joining.may() ? "on" : "off",
                                   .reason = {},
                                   .uses = uses};
    if (!joining.wanted) {
        report.reason = "switched off";
    } else if (joining.refused.value() > 0) {
        report.reason = std::to_string(joining.refused.value()) +
                        " joined packets were refused by the kernel and written one by one; ";
        report.reason += joining.may() ? "it is tried again" : "it rests";
    }
    return report;
}

}  // namespace sluice::worker
