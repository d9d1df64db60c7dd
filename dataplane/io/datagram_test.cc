// Datagrams through both engines, with plain sockets as the other side, and with a kernel that
// refuses what a test tells it to: sendmmsg is replaced in this program.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>

#include <net/if.h>

#include "dataplane/base/random.h"
#include "dataplane/io/descriptor.h"
#include "dataplane/io/socket_address.h"
#include "dataplane/io/test_engine.h"

namespace {

// What the product hands to the kernel, seen and answered in between.
struct Sent {
    size_t bytes = 0;
    size_t gso_size = 0;  // 0: one plain datagram
    bool has_source = false;
};
struct Interposer {
    std::vector<Sent> sent;
    // An errno for a message that is to be refused, or 0.
    std::function<int(const Sent&)> refuse;
};
Interposer* interposer = nullptr;

Sent look_at(const msghdr& message) {
    Sent sent;
    for (size_t i = 0; i < message.msg_iovlen; ++i)
        sent.bytes += message.msg_iov[i].iov_len;
    msghdr walk = message;
    for (cmsghdr* part = CMSG_FIRSTHDR(&walk); part != nullptr; part = CMSG_NXTHDR(&walk, part)) {
        if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_SEGMENT) {
            uint16_t size;
            std::memcpy(&size, CMSG_DATA(part), sizeof size);
            sent.gso_size = size;
        }
        if (part->cmsg_type == IP_PKTINFO || part->cmsg_type == IPV6_PKTINFO) {
            sent.has_source = true;
        }
    }
    return sent;
}

}  // namespace

extern "C" int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    unsigned allowed = count;
    int error = 0;
    if (interposer != nullptr) {
        for (allowed = 0; allowed < count; ++allowed) {
            const Sent sent = look_at(messages[allowed].msg_hdr);
            if (interposer->refuse) error = interposer->refuse(sent);
            if (error != 0) break;
            interposer->sent.push_back(sent);
        }
        if (allowed == 0) {
            errno = error;
            return -1;
        }
    }
    return static_cast<int>(syscall(SYS_sendmmsg, fd, messages, allowed, flags));
}

namespace sluice::io {

namespace {

struct Interpose : Interposer {
    Interpose() { interposer = this; }
    ~Interpose() { interposer = nullptr; }
};

struct Datagram {
    std::vector<uint8_t> bytes;
    Path path;
    uint8_t tos = 0;
};

class Receiver final : public DatagramHandler {
  public:
    void on_datagrams(MutableBytes bytes, size_t segment_size, const Path& path,
                      uint8_t tos) override {
        ++calls;
        do {
            const Bytes one = bytes.first(std::min(segment_size, bytes.size()));
            datagrams.push_back({{one.begin(), one.end()}, path, tos});
            bytes = bytes.subspan(one.size());
        } while (!bytes.empty());
        if (on_each) on_each();
    }
    void on_datagrams_end() override {
        ++ends;
        if (on_end) on_end();
    }
    std::vector<Datagram> datagrams;
    size_t calls = 0;
    size_t ends = 0;
    std::function<void()> on_each;
    std::function<void()> on_end;
};

std::unique_ptr<DatagramPort> open_port(TestEngine& test, DatagramHandler& handler,
                                        const DatagramPortOptions& options = {}) {
    auto port = test.engine->open_datagram_port(options, handler);
    if (!port) throw std::runtime_error(port.error().message);
    return std::move(*port);
}

std::vector<uint8_t> random_bytes(size_t size, uint64_t seed) {
    std::vector<uint8_t> bytes(size);
    SeededRandom(seed).fill(bytes);
    return bytes;
}

void put(DatagramPort& port, Bytes bytes, const Path& path, uint8_t tos = 0) {
    const MutableBytes room = port.buffer(bytes.size(), path, tos);
    if (room.size() < bytes.size()) throw std::runtime_error("no room");
    std::copy(bytes.begin(), bytes.end(), room.begin());
    port.commit(bytes.size());
}

contract::OffloadReport offload(const DatagramPort& port, std::string_view name) {
    std::vector<contract::OffloadReport> all;
    port.report(all);
    for (auto& one : all) {
        if (one.name == name) return one;
    }
    return {};
}

// A plain socket, bound to a free port of an address.
Descriptor plain_socket(const Endpoint& address) {
    const int family = address.address.is_v6() ? AF_INET6 : AF_INET;
    Descriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    SocketAddress kernel_address;
    const socklen_t length = to_kernel(address, family, kernel_address);
    if (bind(fd.get(), &kernel_address.any, length) != 0) throw std::runtime_error("bind");
    const timeval patience{5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int buffer = 8 << 20;
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    return fd;
}

std::vector<uint8_t> take(const Descriptor& socket) {
    std::vector<uint8_t> bytes(70000);
    const ssize_t got = recv(socket.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return bytes;
}

}  // namespace

TEST_CASE("a datagram tells its path and TOS, and the answer leaves from the address asked") {
    TestEngine test(any_engine());
    const bool v6 = GENERATE(false, true);
    Receiver handler;
    const auto port = open_port(test, handler);
    // 127.0.0.5 is an address that the kernel would not choose by itself to answer.
    const Endpoint service{*IpAddress::parse(v6 ? "::1" : "127.0.0.5"), port->local_port()};
    const Descriptor client = plain_socket(loopback(0, v6));
    SocketAddress address;
    const socklen_t length = to_kernel(service, v6 ? AF_INET6 : AF_INET, address);
    // Connected: only an answer from exactly this address comes through.
    REQUIRE(connect(client.get(), &address.any, length) == 0);
    const int tos = 0xba;  // DSCP EF, ECN ECT(0)
    setsockopt(client.get(), v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP}, v6 ? IPV6_TCLASS : IP_TOS,
               &tos, sizeof tos);
    const auto question = random_bytes(333, 1);
    REQUIRE(send(client.get(), question.data(), question.size(), 0) == 333);
    REQUIRE(test.run_until([&] { return handler.datagrams.size() == 1; }));
    const Datagram& got = handler.datagrams[0];
    CHECK(got.bytes == question);
    CHECK(got.path.remote == local_endpoint(client.get()));
    CHECK(got.path.local == service.address);
    CHECK(got.path.interface_index == if_nametoindex("lo"));
    CHECK(got.tos == tos);
    CHECK(handler.ends == 1);

    const int on = 1;
    setsockopt(client.get(), v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP},
               v6 ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof on);
    const auto answer = random_bytes(444, 2);
    put(*port, answer, got.path, 0x29);
    port->flush();
    std::array<uint8_t, 1000> buffer;
    std::array<uint8_t, 200> control;
    iovec vector{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    REQUIRE(recvmsg(client.get(), &message, 0) == 444);
    CHECK(std::equal(answer.begin(), answer.end(), buffer.begin()));
    REQUIRE(CMSG_FIRSTHDR(&message) != nullptr);
    CHECK(*CMSG_DATA(CMSG_FIRSTHDR(&message)) == 0x29);
}

TEST_CASE("every byte survives the way through GSO and GRO, and through neither") {
    TestEngine test(any_engine());
    const bool v6 = GENERATE(false, true);
    const bool gso = GENERATE(true, false);
    const bool gro = GENERATE(true, false);
    Receiver from_handler;
    Receiver to_handler;
    const auto from = open_port(test, from_handler, {.gso = gso});
    const auto to = open_port(test, to_handler, {.gro = gro});
    const Path path{.remote = loopback(to->local_port(), v6), .local = loopback(0, v6).address};
    SeededRandom random(7);
    std::vector<std::vector<uint8_t>> expected;
    for (int i = 0; i < 600; ++i) {
        // Runs of one size with all kinds of ends: shorter, longer, equal, empty, one byte.
        const size_t run_size = 1 + random.below(1452);
        const uint64_t run = 1 + random.below(90);
        for (uint64_t k = 0; k < run && expected.size() < 6000; ++k) {
            expected.push_back(random_bytes(run_size, random.next()));
            put(*from, expected.back(), path, 0);
        }
        expected.push_back(random_bytes(random.below(3) * random.below(run_size), i));
        put(*from, expected.back(), path, 0);
        // Never more than the socket buffer holds.
        from->flush();
        REQUIRE(test.run_until([&] { return to_handler.datagrams.size() == expected.size(); }));
    }
    size_t differences = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        if (to_handler.datagrams[i].bytes != expected[i]) ++differences;
    }
    CHECK(differences == 0);
    CHECK(offload(*from, "udp_gso").state == (gso ? "on" : "off"));
    CHECK(offload(*to, "udp_gro").state == (gro ? "on" : "off"));
    CHECK((offload(*from, "udp_gso").uses > 0) == gso);
    // GRO is of use only if somebody else did not cut the packets: loopback passes GSO on whole.
    CHECK((offload(*to, "udp_gro").uses > 0) == (gso && gro));
    if (gso && gro) CHECK(to_handler.calls < expected.size() / 5);
}

TEST_CASE("batches: one path, one TOS, one size, a shorter end, 64 segments, one datagram's size") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    const Descriptor other = plain_socket(loopback(0));
    const Path path{.remote = local_endpoint(sink.get()), .local = {}};
    const Path other_path{.remote = local_endpoint(other.get()), .local = {}};
    Interpose kernel;
    const auto send = [&](size_t size, const Path& to, uint8_t tos = 0) {
        put(*port, random_bytes(size, 1), to, tos);
    };
    const auto batches = [&] {
        port->flush();
        std::vector<std::pair<size_t, size_t>> result;
        for (const Sent& sent : kernel.sent)
            result.emplace_back(sent.bytes, sent.gso_size);
        kernel.sent.clear();
        return result;
    };
    using Batches = std::vector<std::pair<size_t, size_t>>;
    for (int i = 0; i < 3; ++i)
        send(100, path);
    CHECK(batches() == Batches{{300, 100}});
    send(100, path), send(100, path), send(40, path), send(40, path);
    CHECK(batches() == Batches{{240, 100}, {40, 0}});
    send(100, path), send(101, path);
    CHECK(batches() == Batches{{100, 0}, {101, 0}});
    send(100, path), send(100, other_path), send(100, path);
    CHECK(batches() == Batches{{100, 0}, {100, 0}, {100, 0}});
    send(100, path, 0), send(100, path, 1);
    CHECK(batches() == Batches{{100, 0}, {100, 0}});
    for (int i = 0; i < 65; ++i)
        send(10, path);
    CHECK(batches() == Batches{{640, 10}, {10, 0}});
    for (int i = 0; i < 46; ++i)
        send(1452, path);
    CHECK(batches() == Batches{{45 * 1452, 1452}, {1452, 0}});
    send(0, path), send(0, path);
    CHECK(batches() == Batches{{0, 0}, {0, 0}});
    send(65507, path);
    CHECK(batches() == Batches{{65507, 0}});
    CHECK(port->buffer(65508, path, 0).empty());
    // Asked for and not committed; and asked for twice: only the last counts.
    port->buffer(50, path, 0);
    CHECK(batches().empty());
    port->buffer(50, path, 0);
    send(60, other_path);
    CHECK(batches() == Batches{{60, 0}});
    // What was committed shorter than asked.
    port->buffer(500, path, 0);
    port->commit(20);
    send(20, path);
    CHECK(batches() == Batches{{40, 20}});
    CHECK(test.drops.value(DropReason::kSendFailed) == 0);
}

TEST_CASE("what is committed leaves when the turn begins, without flush()") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    put(*port, random_bytes(99, 1), {.remote = local_endpoint(sink.get()), .local = {}});
    test.engine->turn(Instant::min());
    CHECK(take(sink).size() == 99);
}

TEST_CASE("a device that refuses GSO gets segments, and is not asked again") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    const Path path{.remote = local_endpoint(sink.get()), .local = loopback(0).address};
    Interpose kernel;
    size_t refused = 0;
    kernel.refuse = [&](const Sent& sent) {
        if (sent.gso_size == 0) return 0;
        ++refused;
        return EIO;
    };
    for (int round = 0; round < 3; ++round) {
        std::vector<std::vector<uint8_t>> expected;
        for (int i = 0; i < 100; ++i) {
            expected.push_back(random_bytes(700, i));
            put(*port, expected.back(), path);
        }
        port->flush();
        for (const auto& one : expected)
            REQUIRE(take(sink) == one);
    }
    // Both batches of the first round were on their way.
    CHECK(refused <= 2);
    CHECK(offload(*port, "udp_gso").state == "unsupported");
    CHECK_THAT(offload(*port, "udp_gso").reason, Catch::Contains("device refused"));
    CHECK(test.drops.value(DropReason::kSendFailed) == 0);
}

TEST_CASE("a path too narrow for the segments gets them as fragments, others keep GSO") {
    const EngineKind kind = any_engine();
    CHECK(in_child([kind]() -> std::string {
              // A world of our own, where loopback has an MTU of 1300.
              if (unshare(CLONE_NEWNET) != 0) return "unshare";
              Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
              ifreq request{};
              std::strcpy(request.ifr_name, "lo");
              request.ifr_mtu = 1300;
              if (ioctl(control.get(), SIOCSIFMTU, &request) != 0) return "mtu";
              request.ifr_flags = IFF_UP | IFF_LOOPBACK;
              if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return "up";
              TestEngine test(kind);
              Receiver from_handler;
              Receiver handler;
              const auto from = open_port(test, from_handler);
              const auto to = open_port(test, handler);
              const Path path{.remote = loopback(to->local_port()), .local = loopback(0).address};
              std::vector<std::vector<uint8_t>> expected;
              for (int i = 0; i < 40; ++i) {
                  expected.push_back(random_bytes(1452, i));
                  put(*from, expected.back(), path);
              }
              from->flush();
              if (!test.run_until([&] { return handler.datagrams.size() == 40; })) {
                  return "only " + std::to_string(handler.datagrams.size()) + " arrived";
              }
              for (size_t i = 0; i < 40; ++i) {
                  if (handler.datagrams[i].bytes != expected[i]) return "damaged";
                  if (handler.datagrams[i].path.local != path.local) return "source lost";
              }
              const auto report = offload(*from, "udp_gso");
              if (report.state != "on") return "given up: " + report.reason;
              if (report.reason.find("refused") == std::string::npos) return "not reported";
              // After a while it is tried again; small segments pass.
              for (int i = 0; i < 1100; ++i) {
                  put(*from, expected[0], path);
                  put(*from, expected[0], path);
                  from->flush();
                  test.engine->turn(Instant::min());
                  if (i < 1050) continue;
                  const auto small = random_bytes(500, i);
                  put(*from, small, path);
                  put(*from, small, path);
                  from->flush();
              }
              return "";
          }) == "");
}

TEST_CASE("after a refusal for its size GSO pauses and comes back") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    const Path path{.remote = local_endpoint(sink.get()), .local = {}};
    Interpose kernel;
    int refusals = 1;
    kernel.refuse = [&](const Sent& sent) {
        return sent.gso_size != 0 && refusals-- > 0 ? EMSGSIZE : 0;
    };
    size_t until_back = 0;
    for (; until_back < 5000; ++until_back) {
        kernel.sent.clear();
        put(*port, random_bytes(10, 1), path);
        put(*port, random_bytes(10, 2), path);
        port->flush();
        if (kernel.sent.size() == 1) break;
        REQUIRE(kernel.sent.size() == 2);
        REQUIRE(take(sink).size() == 10);
        REQUIRE(take(sink).size() == 10);
    }
    CHECK(until_back == 1001);
    CHECK(offload(*port, "udp_gso").uses == 1);
}

TEST_CASE("a source that is not ours any more is given up, the datagram is not") {
    TestEngine test(any_engine());
    const bool v6 = GENERATE(false, true);
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0, v6));
    const Path gone{.remote = local_endpoint(sink.get()),
                    .local = *IpAddress::parse(v6 ? "2001:db8::77" : "192.0.2.77")};
    const Path no_interface{.remote = local_endpoint(sink.get()),
                            .local = loopback(0, v6).address,
                            .interface_index = 4'000'000};
    for (const Path& path : {gone, no_interface}) {
        for (int i = 0; i < 3; ++i)
            put(*port, random_bytes(50, i), path);
        port->flush();
        for (int i = 0; i < 3; ++i)
            CHECK(take(sink) == random_bytes(50, i));
    }
    CHECK(test.drops.value(DropReason::kSendFailed) == 0);
    // It was not GSO's fault.
    CHECK(offload(*port, "udp_gso").reason.empty());
    CHECK(offload(*port, "udp_gso").uses == 2);
}

TEST_CASE("a refused datagram is counted, and those after it leave") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    const Path path{.remote = local_endpoint(sink.get()), .local = {}};
    Interpose kernel;
    // As a firewall rule on output does.
    kernel.refuse = [](const Sent& sent) { return sent.bytes == 55 * 4 ? EPERM : 0; };
    put(*port, random_bytes(10, 1), path);
    for (int i = 0; i < 4; ++i)
        put(*port, random_bytes(55, 2), path);
    put(*port, random_bytes(60, 3), path);
    port->flush();
    CHECK(take(sink).size() == 10);
    CHECK(take(sink).size() == 60);
    CHECK(test.drops.value(DropReason::kSendFailed) == 4);
}

TEST_CASE("a blocked socket: datagrams wait, then there is no room, then all leave by themselves") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor sink = plain_socket(loopback(0));
    const Path path{.remote = local_endpoint(sink.get()), .local = {}};
    Interpose kernel;
    kernel.refuse = [](const Sent&) { return EAGAIN; };
    size_t committed = 0;
    for (; committed < 1000; ++committed) {
        // Growing, so that each is a batch of its own.
        const size_t size = 10 + committed;
        const MutableBytes room = port->buffer(size, path, 0);
        if (room.empty()) break;
        port->commit(size);
        if (committed % 10 == 0) port->flush();
    }
    CHECK(committed == 64);
    test.engine->turn(Instant::min());
    kernel.refuse = nullptr;
    // No event tells that there is room again; the engine must come back by itself.
    test.engine->turn(test.clock.now().mono + std::chrono::seconds(5));
    test.engine->turn(Instant::min());
    for (size_t i = 0; i < committed; ++i)
        REQUIRE(take(sink).size() == 10 + i);
    CHECK_FALSE(port->buffer(10, path, 0).empty());
    CHECK(test.drops.value(DropReason::kSendFailed) == 0);
}

TEST_CASE("a datagram longer than the buffer is dropped and counted, the next one is not") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler, {.receive_buffer_bytes = 1500});
    CHECK(offload(*port, "udp_gro").state == "unsupported");
    const Descriptor client = plain_socket(loopback(0));
    SocketAddress address;
    const socklen_t length = to_kernel(loopback(port->local_port()), AF_INET, address);
    REQUIRE(connect(client.get(), &address.any, length) == 0);
    for (const size_t size : {1500, 1501, 60000, 0, 1}) {
        const auto bytes = random_bytes(size, size);
        REQUIRE(send(client.get(), bytes.data(), size, 0) == static_cast<ssize_t>(size));
    }
    REQUIRE(test.run_until([&] { return handler.datagrams.size() == 3; }));
    CHECK(test.drops.value(DropReason::kDatagramTruncated) == 2);
    CHECK(handler.datagrams[0].bytes == random_bytes(1500, 1500));
    CHECK(handler.datagrams[1].bytes.empty());
    CHECK(handler.datagrams[2].bytes == random_bytes(1, 1));
}

TEST_CASE("a flood waits in the socket, is taken in bounded turns, and loses nothing") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    const Descriptor client = plain_socket(loopback(0));
    SocketAddress address;
    const socklen_t length = to_kernel(loopback(port->local_port()), AF_INET, address);
    REQUIRE(connect(client.get(), &address.any, length) == 0);
    constexpr size_t kFlood = 3000;
    for (size_t i = 0; i < kFlood; ++i) {
        REQUIRE(send(client.get(), &i, sizeof i, 0) == sizeof i);
    }
    test.engine->turn(Instant::min());
    CHECK(handler.datagrams.size() < kFlood);
    CHECK(handler.ends == 1);
    // Without a deadline: the rest must not wait for another datagram.
    while (handler.datagrams.size() < kFlood)
        test.engine->turn(kNever);
    for (size_t i = 0; i < kFlood; ++i) {
        size_t got = SIZE_MAX;
        std::memcpy(&got, handler.datagrams[i].bytes.data(), sizeof got);
        REQUIRE(got == i);
    }
}

TEST_CASE("a port may be destroyed by its handler, and its number is free at once") {
    TestEngine test(any_engine());
    const bool at_end = GENERATE(false, true);
    for (int round = 0; round < 3; ++round) {
        Receiver handler;
        std::unique_ptr<DatagramPort> port = open_port(test, handler);
        const uint16_t number = port->local_port();
        (at_end ? handler.on_end : handler.on_each) = [&port] { port.reset(); };
        const Descriptor client = plain_socket(loopback(0));
        SocketAddress address;
        const socklen_t length = to_kernel(loopback(number), AF_INET, address);
        REQUIRE(connect(client.get(), &address.any, length) == 0);
        for (int i = 0; i < 100; ++i)
            send(client.get(), "hello", 5, 0);
        REQUIRE(test.run_until([&] { return port == nullptr; }));
        const size_t calls = handler.calls;
        Receiver next_handler;
        const auto next = open_port(test, next_handler, {.port = number});
        test.run_until_idle();
        CHECK(handler.calls == calls);
        REQUIRE(send(client.get(), "again", 5, 0) == 5);
        REQUIRE(test.run_until([&] { return !next_handler.datagrams.empty(); }));
    }
}

TEST_CASE("a port in use is an error that says so") {
    TestEngine test(any_engine());
    Receiver handler;
    const auto port = open_port(test, handler);
    Receiver second;
    const auto again = test.engine->open_datagram_port({.port = port->local_port()}, second);
    REQUIRE_FALSE(again);
    CHECK_THAT(again.error().message, Catch::Contains(std::to_string(port->local_port())) &&
                                          Catch::Contains("another program"));
}

TEST_CASE("several sockets on one port: what a datagram says decides whose it is") {
    constexpr unsigned kSockets = 3;
    const Steering steering{.rules = {{.first_bytes = {4, 0, 0, 0}, .offset = 7},
                                      {.first_bytes = {2, 0, 0, 0}, .offset = 11}},
                            .bits = 2};
    TestEngine test(any_engine());
    const bool v6 = GENERATE(false, true);
    auto sockets = open_datagram_sockets({}, kSockets, steering);
    REQUIRE(sockets);
    std::array<Receiver, kSockets> receivers;
    std::vector<std::unique_ptr<DatagramPort>> ports;
    for (unsigned i = 0; i < kSockets; ++i) {
        auto port = test.engine->attach(std::move((*sockets)[i]), {}, receivers[i]);
        REQUIRE(port);
        ports.push_back(std::move(*port));
        CHECK(ports[i]->local_port() == ports[0]->local_port());
    }
    // From many ports, so that a choice by address would show.
    for (int round = 0; round < 16; ++round) {
        const Descriptor client = plain_socket(loopback(0, v6));
        SocketAddress address;
        const int family = v6 ? AF_INET6 : AF_INET;
        const socklen_t length = to_kernel(loopback(ports[0]->local_port(), v6), family, address);
        REQUIRE(connect(client.get(), &address.any, length) == 0);
        for (unsigned i = 0; i < kSockets; ++i) {
            const auto top_bits = static_cast<uint8_t>(i << 6 | 0x2a);
            const std::array<uint8_t, 12> data{4, 0, 0, 0, 9, 9, 9, top_bits, 9, 9, 9, 0xff};
            const std::array<uint8_t, 12> response{2, 0, 0, 0, 9, 9, 9, 0xff, 9, 9, 9, top_bits};
            REQUIRE(send(client.get(), data.data(), data.size(), 0) == 12);
            REQUIRE(send(client.get(), response.data(), response.size(), 0) == 12);
        }
    }
    REQUIRE(test.run_until([&] {
        return receivers[0].datagrams.size() == 32 && receivers[1].datagrams.size() == 32 &&
               receivers[2].datagrams.size() == 32;
    }));

    // What names a socket that is not there, or ends before the name, still comes to one of them.
    const Descriptor client = plain_socket(loopback(0, v6));
    SocketAddress address;
    const socklen_t length =
        to_kernel(loopback(ports[0]->local_port(), v6), v6 ? AF_INET6 : AF_INET, address);
    REQUIRE(connect(client.get(), &address.any, length) == 0);
    const std::array<uint8_t, 8> no_such_socket{4, 0, 0, 0, 9, 9, 9, 0xff};
    for (size_t size = 0; size <= no_such_socket.size(); ++size)
        REQUIRE(send(client.get(), no_such_socket.data(), size, 0) == static_cast<ssize_t>(size));
    REQUIRE(test.run_until([&] {
        return receivers[0].datagrams.size() + receivers[1].datagrams.size() +
                   receivers[2].datagrams.size() ==
               96 + 9;
    }));

    // What no rule fits goes by the source's address, whatever its port.
    std::array<size_t, kSockets> before{};
    for (unsigned i = 0; i < kSockets; ++i)
        before[i] = receivers[i].datagrams.size();
    std::array<bool, kSockets> hit{};
    for (int host = 1; host <= 60; ++host) {
        const std::string source = v6 ? "::1" : "127.0.0." + std::to_string(host);
        std::optional<unsigned> owner;
        for (int i = 0; i < 4; ++i) {
            const Descriptor sender = plain_socket({*IpAddress::parse(source), 0});
            REQUIRE(connect(sender.get(), &address.any, length) == 0);
            REQUIRE(send(sender.get(), "\1\0\0\0initiation", 14, 0) == 14);
            std::optional<unsigned> got;
            REQUIRE(test.run_until([&] {
                for (unsigned k = 0; k < kSockets; ++k) {
                    if (receivers[k].datagrams.size() != before[k]) got = k;
                }
                return got.has_value();
            }));
            before[*got] = receivers[*got].datagrams.size();
            if (owner) CHECK(*owner == *got);
            owner = got;
        }
        hit[*owner] = true;
    }
    if (!v6) CHECK(hit == std::array<bool, kSockets>{true, true, true});

    // Their port is no more to be had than one socket's.
    Receiver other;
    CHECK_FALSE(test.engine->open_datagram_port({.port = ports[0]->local_port()}, other));
    const auto again = open_datagram_sockets({.port = ports[0]->local_port()}, 2, steering);
    REQUIRE_FALSE(again);
    CHECK_THAT(again.error().message, Catch::Contains("another program"));
}

}  // namespace sluice::io
