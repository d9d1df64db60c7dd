// Writes inner packets to the TUN device, and finds out when the kernel does not take the joined
// ones: some stable kernels (6.6.44 and others that took the same change) refuse super-packets that
// are in order. A refused one is cut again and written packet by packet, so nothing is lost; if the
// kernel takes those, it is the joining that it refuses, and that rests for a while, for TCP and
// for UDP apart.
//
// Thread: the worker's. Memory: fixed at construction; what is only used after a refusal is never
// touched before.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/io/tun.h"
#include "dataplane/tunnel/coalescer.h"

namespace sluice::worker {

class TunWriter {
  public:
    // Batches without joining after a refusal. A peer could send what some kernel refuses, so
    // giving up for good would let it slow down everybody; a refused super-packet in a thousand
    // batches costs nothing that could be measured.
    static constexpr uint32_t kBatchesWithoutJoining = 1000;

    // `drops` outlives the writer.
    TunWriter(const contract::OffloadConfig& config, DropCounters& drops);

    // What the configuration wants of the coalescer.
    tunnel::Coalescer::Options coalescer_options() const;

    // As the coalescer gives it out.
    void write(io::TunPort& tun, const tunnel::Offload& offload, uint16_t header_length,
               Bytes packet);
    // After a flush of the coalescer: tells it what it may join from now on.
    void end_batch(tunnel::Coalescer& coalescer);

    // "tcp_coalescing" and "udp_coalescing".
    void report(const tunnel::Coalescer& coalescer,
                std::vector<contract::OffloadReport>& offloads) const;

  private:
    struct Joining {
        bool wanted = true;
        uint32_t rest = 0;  // batches until it is tried again; 0: it is on
        Counter refused;    // super-packets
        bool may() const { return wanted && rest == 0; }
    };

    bool write_whole(io::TunPort& tun, const tunnel::Offload& offload, uint16_t header_length,
                     Bytes packet);
    // How many of its packets the kernel took.
    size_t write_cut(io::TunPort& tun, const tunnel::Offload& offload, Bytes packet);
    static contract::OffloadReport report_of(std::string_view name, const Joining& joining,
                                             uint64_t uses);

    DropCounters& drops_;
    Joining tcp_;
    Joining udp_;
    bool is_resting_ = false;  // the coalescer was told to join less than it is configured to
    bool was_refused_ = false;
    std::unique_ptr<uint8_t[]> cut_;
};

}  // namespace sluice::worker
