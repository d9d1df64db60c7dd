// One super-packet while it is being built: which packets may follow, and what the headers become.
// Private to the coalescer.
// Thread: one. Memory: borrowed; a flow owns nothing but a copy of its headers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/bytes.h"
#include "dataplane/tunnel/segmenter.h"
#include "dataplane/wire/transport_header.h"

namespace sluice::tunnel {

// A packet as the coalescer sees it: its bytes, and where its headers are if it is TCP or UDP.
struct Candidate {
    explicit Candidate(Bytes whole) : packet(whole), layout(wire::transport_layout(whole)) {}

    Bytes packet;
    std::optional<wire::TransportLayout> layout;

    bool is_tcp() const { return layout && layout->protocol == wire::kTransportTcp; }
    bool is_udp() const { return layout && layout->protocol == wire::kTransportUdp; }
    // By itself fit to be part of a super-packet.
    bool joinable() const;
    // PSH: nothing may be joined behind it.
    bool ends_flow() const;
};

class Flow {
  public:
    // Of a whole super-packet, headers included: what an IPv4 length field holds, and TUN takes.
    static constexpr size_t kPacketBytesMax = 65535;
    // IPv6 and the longest TCP header.
    static constexpr size_t kHeaderBytesMax = 100;
    // As many datagrams as Linux's own GRO joins (UDP_GRO_CNT_MAX): a receiver that reads whole
    // super-packets (UDP_GRO) sizes its buffers and arrays for that.
    static constexpr size_t kUdpSegmentsMax = 64;

    // `memory` outlives the flow.
    explicit Flow(uint8_t* memory) : memory_(memory) {}

    uint8_t* memory() { return memory_; }
    size_t used() const { return used_; }
    size_t header_size() const { return header_size_; }
    size_t packets() const { return packets_; }
    // Nothing can follow any more.
    bool ended() const { return ended_; }

    // `candidate` lies at the start of memory(), is joinable and does not end its flow.
    void start(const Candidate& candidate);
    // Same addresses, protocol and ports.
    bool same_flow(const Candidate& candidate) const;
    // Same addresses, as far as the packet has any.
    bool same_addresses(Bytes packet) const;
    // `candidate` is joinable and the next packet of this very super-packet.
    bool continued_by(const Candidate& candidate) const;
    // `candidate` continues the flow and its payload lies at memory() + used(); its headers may
    // have been overwritten, so what is needed of them comes in `ends`.
    void append(size_t payload_size, bool ends);
    // Writes the final headers. The packet is the first used() bytes of memory().
    Offload finish();

  private:
    bool ip_continued_by(const uint8_t* packet) const;
    bool tcp_continued_by(const uint8_t* transport, size_t header_bytes) const;

    uint8_t* memory_;
    size_t used_ = 0;
    size_t header_size_ = 0;
    size_t transport_at_ = 0;
    size_t segment_size_ = 0;
    size_t packets_ = 0;
    uint32_t next_sequence_ = 0;
    uint16_t next_id_ = 0;
    bool ipv4_ = false;
    bool tcp_ = false;
    bool ended_ = false;
    bool pushed_ = false;
    // The first packet's headers. In memory() they may be covered by the packet that is being
    // decrypted, as long as less payload than one header has been collected.
    std::array<uint8_t, kHeaderBytesMax> header_{};
};

}  // namespace sluice::tunnel
