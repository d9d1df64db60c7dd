// The self-test of UDP's offloads with a kernel that is right, and with kernels that do wrong what
// kernels have done wrong.
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "dataplane/io/udp_probe.h"

namespace sluice::io {

namespace {

// This kernel, but that what it is given to send as one batch is changed on its way.
UdpProbe with_send(std::function<bool(int socket, Bytes bytes, uint16_t segment)> send) {
    UdpProbe probe = kernel_udp_probe();
    probe.send = std::move(send);
    return probe;
}

std::vector<uint8_t> with_flipped_tail(Bytes bytes) {
    std::vector<uint8_t> changed(bytes.begin(), bytes.end());
    changed.back() ^= 1;
    return changed;
}

}  // namespace

TEST_CASE("UDP's offloads are found right on this kernel") {
    CHECK(udp_gso_fault() == "");
    CHECK(udp_gro_fault() == "");
}

TEST_CASE("a kernel that damages batches whose tail is full is found out") {
    const UdpProbe kernel = kernel_udp_probe();
    const UdpProbe probe = with_send([&](int socket, Bytes bytes, uint16_t segment) {
        if (bytes.size() % segment != 0) return kernel.send(socket, bytes, segment);
        return kernel.send(socket, with_flipped_tail(bytes), segment);
    });
    CHECK(udp_gso_fault(probe) ==
          "the self-test over 127.0.0.1 found a batch of 200 bytes in segments of 100 damaged");
}

TEST_CASE("a kernel whose batches lose their short tail is found out") {
    const UdpProbe kernel = kernel_udp_probe();
    const UdpProbe probe = with_send([&](int socket, Bytes bytes, uint16_t segment) {
        return kernel.send(socket, bytes.first(bytes.size() / segment * segment), segment);
    });
    CHECK(udp_gso_fault(probe) ==
          "the self-test over 127.0.0.1 found a batch of 299 bytes in segments of 100 damaged");
}

TEST_CASE("a kernel that merges datagrams wrongly is found out") {
    const UdpProbe kernel = kernel_udp_probe();
    UdpProbe probe = kernel;
    bool merged = false;
    probe.receive = [&](int socket, MutableBytes room, size_t& segment) {
        const ssize_t size = kernel.receive(socket, room, segment);
        if (segment != 0) {
            merged = true;
            ++segment;
        }
        return size;
    };
    CHECK(udp_gro_fault(probe) ==
          "the self-test over 127.0.0.1 found a batch of 200 bytes in segments of 100 damaged");
    CHECK(merged);
}

TEST_CASE("a batch that is lost once proves nothing") {
    const UdpProbe kernel = kernel_udp_probe();
    size_t calls = 0;
    const UdpProbe probe = with_send([&](int socket, Bytes bytes, uint16_t segment) {
        return calls++ == 0 || kernel.send(socket, bytes, segment);
    });
    CHECK(udp_gso_fault(probe) == "");
    CHECK(calls > 2);
}

TEST_CASE("a kernel that refuses batches, or whose loopback is silent, is not called wrong") {
    CHECK(udp_gso_fault(with_send([](int, Bytes, uint16_t) { return false; })) == "");
    UdpProbe deaf = kernel_udp_probe();
    deaf.receive = [](int, MutableBytes, size_t&) { return ssize_t{-1}; };
    // Nothing comes by the offload, and plain datagrams do: that is wrong.
    CHECK(udp_gso_fault(deaf) != "");
}

}  // namespace sluice::io
