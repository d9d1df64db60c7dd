// Joins decrypted packets that follow each other in one TCP or UDP flow into one super-packet for
// the TUN device, so that the kernel walks its stack once for up to 64 KiB (the mirror of GRO).
// A packet is decrypted straight to the place where its payload will stay: buffer() gives room right
// behind the payload collected so far, less the length of the headers that the next packet of the
// flow will have; if it is the next packet, its headers are folded into the first and the bytes they
// covered are put back.
// What is joined is what the kernel's own GRO would join: same 5-tuple, same TOS, TTL and flow
// label, no options but equal TCP timestamps, contiguous sequence numbers, only ACK and PSH (PSH ends the packet), equal payload
// sizes but for the last; IPv4 with DF or, for non-fragments, consecutive IDs; never ICMP, never fragments. Inner checksums
// are not verified (the AEAD vouches for what the peer sent) and not recomputed: the super-packet
// carries a pseudo-header sum and VirtioHeader::kNeedsChecksum.
// Thread: one. Memory: fixed at construction; never allocates afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/tunnel/segmenter.h"

namespace sluice::tunnel {

class CoalescerOutput {
  public:
    // One packet or super-packet for the TUN device.
    virtual void on_packet(const Offload& offload, uint16_t header_length, Bytes packet) = 0;

  protected:
    ~CoalescerOutput() = default;
};

class Coalescer {
  public:
    struct Options {
        bool tcp = true;
        bool udp = true;
        unsigned flows_max = 8;  // super-packets being built at once; the oldest goes when full
    };
    explicit Coalescer(Options options);
    ~Coalescer();
    Coalescer(const Coalescer&) = delete;
    Coalescer& operator=(const Coalescer&) = delete;

    // Room for one inner packet of up to `size` bytes. Exactly one of commit() and abandon() follows.
    MutableBytes buffer(size_t size, CoalescerOutput& out);
    void commit(size_t size, CoalescerOutput& out);
    void abandon();
    // Gives out everything that is still being built: at the end of a batch, so that nothing waits.
    void flush(CoalescerOutput& out);

    uint64_t coalesced_packets() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::tunnel
