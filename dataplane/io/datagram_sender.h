// The sending half of a datagram port: collects datagrams into batches of one path, and hands the
// batches to the kernel, each as one UDP GSO message or, where that is not possible, cut up.
//
// Sends are made at once with sendmmsg, in both engines: UDP almost never blocks, so a send through
// io_uring is the same work in the same place with a queue entry and a completion on top (measured:
// 3 to 10 % dearer, see README.md).
// Thread: one. Memory: fixed at construction; pages that are never used are never touched.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "dataplane/base/drop_reason.h"
#include "dataplane/io/datagram_socket.h"

namespace sluice::io {

class DatagramSender {
  public:
    // `socket` and `drops` outlive the sender.
    DatagramSender(DatagramSocket& socket, DropCounters& drops);

    // As in DatagramPort.
    MutableBytes buffer(size_t size, const Path& path, uint8_t tos);
    void commit(size_t size);
    // False: the kernel takes no more for now, and something is left.
    bool flush();

    void report(std::vector<contract::OffloadReport>& offloads) const;

  private:
    // The kernel's limit was 64 for years and is 128 since Linux 6.9; 64 works everywhere.
    static constexpr size_t kSegmentsMax = 64;
    // Batches that may wait for the kernel. Full batches leave after kFlushBytes, so this is about
    // many small ones (one packet for each of many peers), and about a socket that blocks: 64 full
    // batches are 4 MB on top of the socket's own buffer.
    static constexpr size_t kSlots = 64;
    static constexpr size_t kSlotBytes = 65536;
    // A quarter of a small L2 cache: what was encrypted is copied by the kernel while it is still
    // near, and four full batches share one system call.
    static constexpr size_t kFlushBytes = 256 << 10;
    // Messages for one sendmmsg.
    static constexpr size_t kMessages = 64;

    // One batch: datagrams of `segment` bytes each, only the last one may be shorter.
    struct Slot {
        Path path;
        size_t used = 0;
        size_t sent = 0;  // how much of it the kernel has taken or refused
        size_t segment = 0;
        size_t count = 0;
        uint8_t tos = 0;
        bool use_source = false;
        bool use_gso = false;
        int gso_error = 0;  // why this batch is being sent again without GSO
    };

    struct Message {
        SocketAddress to;
        iovec bytes;
        alignas(
            cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int)) +
                                             CMSG_SPACE(sizeof(uint16_t))> control;
    };

    static bool fits(const Slot& slot, size_t size, const Path& path, uint8_t tos);
    // False: every slot waits for the kernel.
    bool start_batch(const Path& path, uint8_t tos);
    void close_batch();
    size_t prepare_messages();
    void prepare(Message& message, mmsghdr& header, size_t slot_index, size_t offset, size_t size);
    void took(size_t messages);
    void refused(int error);
    void advance(size_t bytes);
    void note_gso_failure(int error);
    uint8_t* bytes_of(size_t slot) { return memory_.get() + slot * kSlotBytes; }
    size_t last() const { return (first_ + count_ - 1) % kSlots; }

    DatagramSocket& socket_;
    DropCounters& drops_;
    std::unique_ptr<uint8_t[]> memory_;
    std::array<Slot, kSlots> slots_;
    // Slots first_ … first_ + count_ - 1, modulo kSlots, are in use. The last one still takes
    // datagrams if filling_. When all are free it starts at slot 0 again, whose memory is in the
    // cache.
    size_t first_ = 0;
    size_t count_ = 0;
    bool filling_ = false;
    bool blocked_ = false;  // the kernel took no more when it was asked last
    size_t reserved_ = 0;   // bytes given out by buffer(), until commit()
    size_t waiting_bytes_ = 0;
    size_t gso_rest_ = 0;  // batches until GSO is tried again
    std::array<Message, kMessages> messages_;
    std::array<mmsghdr, kMessages> headers_{};
    Counter gso_uses_;
    Counter gso_failures_;
    Counter source_failures_;
};

}  // namespace sluice::io
