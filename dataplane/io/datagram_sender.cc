#include "dataplane/io/datagram_sender.h"

#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/base/check.h"

namespace sluice::io {

namespace {

// After a batch that only went without GSO, this many go without before it is tried again. The
// cause may be one path that is narrower than the others, so giving up for good would slow all
// peers; one extra system call in a thousand batches is nothing.
constexpr size_t kBatchesWithoutGso = 1000;

// The source address or interface is not ours any more, or has no way to the destination.
bool may_be_about_source(int error) {
    return error == EINVAL || error == EADDRNOTAVAIL || error == ENETUNREACH || error == ENODEV ||
           error == EHOSTUNREACH || error == ENXIO;
}

// EIO: the device that it leaves by cannot do checksums (Linux before 6.11). EINVAL, EMSGSIZE: the
// segments are larger than the path's MTU (older, newer kernels), or the way is through IPsec.
bool may_be_about_gso(int error) {
    return error == EIO || error == EINVAL || error == EMSGSIZE;
}

template <typename T>
size_t put_control(msghdr& header, size_t at, int level, int type, const T& value) {
    auto* part = reinterpret_cast<cmsghdr*>(static_cast<uint8_t*>(header.msg_control) + at);
    part->cmsg_level = level;
    part->cmsg_type = type;
    part->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(part), &value, sizeof value);
    return at + CMSG_SPACE(sizeof value);
}

size_t put_source(msghdr& header, size_t at, const Path& path) {
    if (path.remote.address.is_v4()) {
        in_pktinfo info{};
        info.ipi_ifindex = static_cast<int>(path.interface_index);
        std::memcpy(&info.ipi_spec_dst, path.local.bytes.data(), sizeof info.ipi_spec_dst);
        return put_control(header, at, IPPROTO_IP, IP_PKTINFO, info);
    }
    in6_pktinfo info{};
    info.ipi6_ifindex = path.interface_index;
    std::memcpy(&info.ipi6_addr, path.local.bytes.data(), sizeof info.ipi6_addr);
    return put_control(header, at, IPPROTO_IPV6, IPV6_PKTINFO, info);
}

}  // namespace

DatagramSender::DatagramSender(DatagramSocket& socket, DropCounters& drops)
    : socket_(socket),
      drops_(drops),
      memory_(std::make_unique_for_overwrite<uint8_t[]>(kSlots * kSlotBytes)) {}

bool DatagramSender::fits(const Slot& slot, size_t size, const Path& path, uint8_t tos) {
    return slot.count < kSegmentsMax && size <= slot.segment &&
           slot.used + size <= kDatagramBytesMax && slot.tos == tos && slot.path == path;
}

MutableBytes DatagramSender::buffer(size_t size, const Path& path, uint8_t tos) {
    reserved_ = 0;
    if (size > kDatagramBytesMax) return {};
    if (filling_ && !fits(slots_[last()], size, path, tos)) close_batch();
    if (!filling_ && !start_batch(path, tos)) return {};
    Slot& slot = slots_[last()];
    reserved_ = size;
    return {bytes_of(last()) + slot.used, size};
}

void DatagramSender::commit(size_t size) {
    SLUICE_CHECK(filling_ && size <= reserved_);
    reserved_ = 0;
    if (size == 0 && slots_[last()].count > 0) {
        // A batch cannot end with a datagram of nothing: it would not be seen in its length.
        const Path path = slots_[last()].path;
        const uint8_t tos = slots_[last()].tos;
        close_batch();
        if (!start_batch(path, tos)) {
            drops_.add(DropReason::kNoSendBuffer);
            return;
        }
    }
    Slot& slot = slots_[last()];
    if (slot.count == 0) slot.segment = size;
    slot.used += size;
    ++slot.count;
    waiting_bytes_ += size;
    // Only the last segment of a batch may be shorter.
    if (size < slot.segment || size == 0) close_batch();
}

bool DatagramSender::start_batch(const Path& path, uint8_t tos) {
    if ((waiting_bytes_ >= kFlushBytes || count_ == kSlots) && !blocked_) flush();
    if (count_ == kSlots) return false;
    ++count_;
    filling_ = true;
    slots_[last()] = Slot{.path = path, .tos = tos};
    return true;
}

void DatagramSender::close_batch() {
    filling_ = false;
    Slot& slot = slots_[last()];
    if (slot.count == 0) {  // asked for and never committed
        --count_;
        return;
    }
    slot.use_source =
        slot.path.local.is_set() && slot.path.local.family == slot.path.remote.address.family;
    slot.use_gso = false;
    if (slot.count > 1 && socket_.gso.on) {
        if (gso_rest_ == 0) {
            slot.use_gso = true;
        } else {
            --gso_rest_;
        }
    }
}

bool DatagramSender::flush() {
    reserved_ = 0;
    if (filling_) close_batch();
    blocked_ = false;
    while (count_ > 0) {
        const size_t messages = prepare_messages();
        const int taken = sendmmsg(socket_.descriptor.get(), headers_.data(),
                                   static_cast<unsigned>(messages), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken > 0) {
            took(static_cast<size_t>(taken));
        } else if (errno == EAGAIN) {
            blocked_ = true;
            return false;
        } else if (errno != EINTR) {
            refused(errno);
        }
    }
    first_ = 0;
    waiting_bytes_ = 0;
    return true;
}

// One message for a batch that goes as GSO, one for each datagram of a batch that does not.
size_t DatagramSender::prepare_messages() {
    size_t messages = 0;
    for (size_t i = 0; i < count_ && messages < kMessages; ++i) {
        const size_t index = (first_ + i) % kSlots;
        const Slot& slot = slots_[index];
        size_t at = slot.sent;
        do {
            const size_t left = slot.used - at;
            const size_t size = slot.use_gso ? left : std::min(left, slot.segment);
            prepare(messages_[messages], headers_[messages], index, at, size);
            ++messages;
            at += size;
        } while (at < slot.used && messages < kMessages);
    }
    return messages;
}

void DatagramSender::prepare(Message& message, mmsghdr& header, size_t slot_index, size_t offset,
                             size_t size) {
    const Slot& slot = slots_[slot_index];
    msghdr& out = header.msg_hdr;
    out.msg_name = &message.to;
    out.msg_namelen = to_kernel(slot.path.remote, socket_.family, message.to);
    message.bytes = {bytes_of(slot_index) + offset, size};
    out.msg_iov = &message.bytes;
    out.msg_iovlen = 1;
    out.msg_control = message.control.data();
    size_t at = 0;
    if (slot.use_source) at = put_source(out, at, slot.path);
    if (slot.tos != 0) {
        const bool v4 = slot.path.remote.address.is_v4();
        at = put_control(out, at, v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6},
                         v4 ? IP_TOS : IPV6_TCLASS, int{slot.tos});
    }
    if (size > slot.segment) {
        at = put_control(out, at, SOL_UDP, UDP_SEGMENT, static_cast<uint16_t>(slot.segment));
    }
    out.msg_controllen = at;
}

void DatagramSender::took(size_t messages) {
    for (size_t i = 0; i < messages; ++i) {
        const Slot& slot = slots_[first_];
        const size_t bytes = messages_[i].bytes.iov_len;
        if (bytes > slot.segment) gso_uses_.add();
        // Only now is it known that GSO was what the kernel refused this batch for.
        if (slot.gso_error != 0 && slot.sent == 0) note_gso_failure(slot.gso_error);
        advance(bytes);
    }
}

void DatagramSender::refused(int error) {
    Slot& slot = slots_[first_];
    const size_t bytes = messages_[0].bytes.iov_len;
    if (slot.use_source && may_be_about_source(error)) {
        slot.use_source = false;
        source_failures_.add();
        return;
    }
    if (bytes > slot.segment && may_be_about_gso(error)) {
        slot.use_gso = false;
        slot.gso_error = error;
        // The source is to be tried again: that it was given up may have been a wrong guess.
        slot.use_source =
            slot.path.local.is_set() && slot.path.local.family == slot.path.remote.address.family;
        return;
    }
    const size_t datagrams = slot.segment == 0 ? 1 : (bytes + slot.segment - 1) / slot.segment;
    drops_.add(DropReason::kSendFailed, datagrams);
    advance(bytes);
}

void DatagramSender::advance(size_t bytes) {
    Slot& slot = slots_[first_];
    slot.sent += bytes;
    if (slot.sent < slot.used) return;
    first_ = (first_ + 1) % kSlots;
    --count_;
    waiting_bytes_ -= slot.used;
}

void DatagramSender::note_gso_failure(int error) {
    gso_failures_.add();
    if (error == EIO) {
        socket_.gso.on = false;
        socket_.gso.reason = "the network device refused it: " + error_text(error);
    } else {
        gso_rest_ = kBatchesWithoutGso;
    }
}

void DatagramSender::report(std::vector<contract::OffloadReport>& offloads) const {
    contract::OffloadReport gso = socket_.gso.report("udp_gso", gso_uses_.value());
    if (gso_failures_.value() != 0 && socket_.gso.on) {
        // Still on, and yet worth telling: it explains a speed that is lower than expected.
        gso.reason = std::to_string(gso_failures_.value()) +
                     " batches were refused and sent without it: segments larger than the "
                     "path's MTU";
    }
    offloads.push_back(std::move(gso));
}

}  // namespace sluice::io
