// Joins decrypted packets that follow each other in one TCP or UDP flow into one super-packet for
// the TUN device, so that the kernel walks its stack once for up to 64 KiB (the mirror of GRO).
// A packet is decrypted straight to the place where its payload will stay: buffer() gives room
// right behind the payload collected so far, less the length of the headers that the next packet of
// the flow will have; if it is the next packet, its headers are folded into the first and the bytes
// they covered are put back. A packet that is not what was expected costs one copy.
//
// What is joined is what the kernel's own GRO would join, and a little less: same 5-tuple, same
// TOS, TTL and flow label, no IP options or extension headers, equal TCP options (in practice:
// equal timestamps), equal acknowledgment and window, contiguous sequence numbers, only ACK and PSH
// (PSH ends the super-packet), equal payload sizes but for the last; IPv4 with DF or, for
// non-fragments, consecutive IDs; UDP only with a checksum; never ICMP, never fragments. With DF
// the ID means nothing (RFC 6864 section 4), and who cuts the super-packet again counts up from the
// first ID; everything else comes out byte for byte. Inner checksums are not verified (the AEAD
// vouches for what the peer sent) and not recomputed: the super-packet carries a pseudo-header sum
// and Offload::kNeedsChecksum. A packet that stayed alone keeps its own checksum, and the kernel
// verifies it.
//
// Order: the packets of one flow come out in the order they came in. A packet whose flow cannot be
// told (a fragment, ICMP) comes after everything that came before it between the same addresses.
// Thread: one. Memory: fixed at construction; never allocates afterwards.
// Source: linux/net/ipv4/tcp_offload.c and udp_offload.c as reference.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/tunnel/segmenter.h"

namespace sluice::tunnel {

class CoalescerOutput {
  public:
    // One packet or super-packet for the TUN device. The bytes are the coalescer's again when the
    // call returns. May not call the coalescer. `header_length`: of all headers; 0 if unknown,
    // which only happens with an empty offload.
    virtual void on_packet(const Offload& offload, uint16_t header_length, Bytes packet) = 0;

  protected:
    ~CoalescerOutput() = default;
};

class Coalescer {
  public:
    struct Options {
        bool tcp = true;
        bool udp = true;
        // Super-packets being built at once; the oldest goes when full. Each costs 64 KiB. Eight
        // because Linux's GRO holds eight packets a bucket; with fewer, parallel downloads of one
        // batch push each other out. 0: nothing is joined.
        unsigned flows_max = 8;
    };
    explicit Coalescer(Options options);
    ~Coalescer();
    Coalescer(const Coalescer&) = delete;
    Coalescer& operator=(const Coalescer&) = delete;

    // Room for one inner packet of up to `size` bytes. Exactly one of commit() and abandon()
    // follows. Empty, and then neither follows, if `size` is more than one datagram can bring.
    MutableBytes buffer(size_t size, CoalescerOutput& out);
    // The first `size` bytes of the buffer are one packet.
    void commit(size_t size, CoalescerOutput& out);
    // The buffer may have been written, but holds nothing.
    void abandon();
    // Gives out everything that is still being built: at the end of a batch, so that nothing waits.
    void flush(CoalescerOutput& out);

    // Joins or no longer joins packets of these protocols, whatever the options said. Only right
    // after flush().
    void set_joining(bool tcp, bool udp);

    // How many packets have left inside a super-packet with others.
    uint64_t coalesced_packets() const { return coalesced_tcp() + coalesced_udp(); }
    uint64_t coalesced_tcp() const;
    uint64_t coalesced_udp() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::tunnel
