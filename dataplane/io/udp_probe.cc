#include "dataplane/io/udp_probe.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "dataplane/io/descriptor.h"
#include "dataplane/io/socket_address.h"

namespace sluice::io {

namespace {

// Loopback hands over inside of the send call; on a machine that is very busy it may take a moment
// more. A batch that never comes is tried again, because datagrams may be lost for other reasons.
constexpr int kPatienceMs = 300;
constexpr int kTries = 3;

using Datagrams = std::vector<std::vector<uint8_t>>;

struct Batch {
    uint16_t segment;
    size_t bytes;
};
// The tail equal to the others, shorter by one, of one byte; two segments, three, and as many as
// fit or as the kernel takes; lengths of data messages and odd ones.
constexpr auto kBatches = std::to_array<Batch>({
    {100, 200},
    {100, 300},
    {100, 299},
    {100, 201},
    {1452, 2 * 1452},
    {1452, 4000},
    {33, 33 * 7},
    {1, 40},
    {1452, 44 * 1452},
    {1452, 44 * 1452 - 1},
    {1000, 64 * 1000},
});

struct Pair {
    Descriptor sender;
    Descriptor receiver;
};

// Not open: loopback has no such family, or is down.
Pair connected_pair(const char* address_text, bool merge) {
    const Endpoint any_port{*IpAddress::parse(address_text), 0};
    const int family = any_port.address.is_v4() ? AF_INET : AF_INET6;
    Pair pair;
    pair.receiver = Descriptor(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    pair.sender = Descriptor(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!pair.receiver.is_open() || !pair.sender.is_open()) return {};
    SocketAddress address;
    socklen_t length = to_kernel(any_port, family, address);
    const int on = 1;
    if (merge && setsockopt(pair.receiver.get(), SOL_UDP, UDP_GRO, &on, sizeof on) != 0) {
        return {};
    }
    // Some systems start with buffers that are smaller than what one batch takes in the kernel.
    const int buffer = 1 << 20;
    setsockopt(pair.receiver.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(pair.sender.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(pair.receiver.get(), &address.any, length) != 0) return {};
    if (getsockname(pair.receiver.get(), &address.any, &length) != 0) return {};
    if (connect(pair.sender.get(), &address.any, length) != 0) return {};
    // Nobody else can send to it now.
    SocketAddress own;
    socklen_t own_length = sizeof own;
    if (getsockname(pair.sender.get(), &own.any, &own_length) != 0) return {};
    if (connect(pair.receiver.get(), &own.any, own_length) != 0) return {};
    return pair;
}

void cut(Bytes bytes, size_t segment, Datagrams& into) {
    while (!bytes.empty()) {
        const Bytes one = bytes.first(std::min(segment, bytes.size()));
        into.emplace_back(one.begin(), one.end());
        bytes = bytes.subspan(one.size());
    }
}

// As many datagrams as were sent, or all that come before nothing comes any more.
Datagrams collect(const Pair& pair, const UdpProbe& probe, size_t count) {
    Datagrams got;
    std::vector<uint8_t> room(65536);
    while (got.size() < count) {
        pollfd wait{pair.receiver.get(), POLLIN, 0};
        if (poll(&wait, 1, kPatienceMs) <= 0) break;
        size_t segment = 0;
        const ssize_t size = probe.receive(pair.receiver.get(), room, segment);
        if (size <= 0) break;
        const Bytes bytes = Bytes(room).first(static_cast<size_t>(size));
        cut(bytes, segment == 0 ? bytes.size() : segment, got);
    }
    return got;
}

bool arrives_plainly(const Pair& pair, const Datagrams& datagrams) {
    Datagrams got;
    std::vector<uint8_t> room(65536);
    for (const auto& datagram : datagrams) {
        if (send(pair.sender.get(), datagram.data(), datagram.size(), 0) < 0) return false;
        pollfd wait{pair.receiver.get(), POLLIN, 0};
        if (poll(&wait, 1, kPatienceMs) <= 0) return false;
        const ssize_t size = recv(pair.receiver.get(), room.data(), room.size(), 0);
        if (size < 0) return false;
        got.emplace_back(room.begin(), room.begin() + size);
    }
    return got == datagrams;
}

enum class Verdict : uint8_t { kRight, kWrong, kUnknown };

Verdict try_batch(const Pair& pair, const UdpProbe& probe, const Batch& batch) {
    std::vector<uint8_t> bytes(batch.bytes);
    for (size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<uint8_t>(i * 7 + i / 256 + batch.segment);
    Datagrams expected;
    cut(bytes, batch.segment, expected);
    for (int attempt = 0; attempt < kTries; ++attempt) {
        // Refusals are dealt with when they happen.
        if (!probe.send(pair.sender.get(), bytes, batch.segment)) return Verdict::kUnknown;
        if (collect(pair, probe, expected.size()) == expected) return Verdict::kRight;
        // What is left of it must not be taken for the next attempt's.
        std::array<uint8_t, 1> ignored;
        while (recv(pair.receiver.get(), ignored.data(), ignored.size(), MSG_DONTWAIT) >= 0) {
        }
    }
    return arrives_plainly(pair, expected) ? Verdict::kWrong : Verdict::kUnknown;
}

std::string fault(const UdpProbe& probe, bool merge) {
    for (const char* address : {"127.0.0.1", "::1"}) {
        const Pair pair = connected_pair(address, merge);
        if (!pair.sender.is_open()) continue;
        for (const Batch& batch : kBatches) {
            if (try_batch(pair, probe, batch) != Verdict::kWrong) continue;
            return "the self-test over " + std::string(address) + " found a batch of " +
                   std::to_string(batch.bytes) + " bytes in segments of " +
                   std::to_string(batch.segment) + " damaged";
        }
    }
    return {};
}

bool send_segments(int socket, Bytes bytes, uint16_t segment) {
    alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(uint16_t))> control{};
    iovec vector{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_UDP;
    part->cmsg_type = UDP_SEGMENT;
    part->cmsg_len = CMSG_LEN(sizeof segment);
    std::memcpy(CMSG_DATA(part), &segment, sizeof segment);
    return sendmsg(socket, &message, 0) == static_cast<ssize_t>(bytes.size());
}

ssize_t receive_merged(int socket, MutableBytes room, size_t& segment) {
    alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
    iovec vector{room.data(), room.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(socket, &message, 0);
    const cmsghdr* const part = size < 0 ? nullptr : CMSG_FIRSTHDR(&message);
    if (part != nullptr && part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_GRO) {
        segment = static_cast<size_t>(load_native<int>(CMSG_DATA(part)));
    }
    return size;
}

}  // namespace

UdpProbe kernel_udp_probe() {
    return {send_segments, receive_merged};
}

std::string udp_gso_fault(const UdpProbe& probe) {
    return fault(probe, false);
}

std::string udp_gro_fault(const UdpProbe& probe) {
    return fault(probe, true);
}

}  // namespace sluice::io
