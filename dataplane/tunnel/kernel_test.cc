// Against Linux itself, in network namespaces of the test's own: what the coalescer makes must be
// cut, checked and delivered by the kernel as the packets that went in, and what the kernel makes
// must come out of the segmenter as packets that a kernel accepts.
// Needs root; where it may not make a namespace, it says so and proves nothing.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/tunnel/coalescer.h"
#include "dataplane/tunnel/naive_packets.h"
#include "dataplane/tunnel/segmenter.h"

using namespace sluice;
using namespace sluice::tunnel;
using naive::Packet;
using naive::Spec;

namespace {

constexpr int kPatienceMs = 10000;

class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) close(number_);
    }
    int get() const { return number_; }

  private:
    int number_;
};

bool readable(const Descriptor& descriptor, int patience_ms = kPatienceMs) {
    pollfd entry{.fd = descriptor.get(), .events = POLLIN, .revents = 0};
    return poll(&entry, 1, patience_ms) == 1;
}

// virtio_net_hdr; the kernel's header for it is not used, to have the layout spelled out once more.
struct WireHeader {
    uint8_t flags, gso_type;
    uint16_t header_length, gso_size, checksum_start, checksum_offset;
};

struct FromTun {
    Offload offload;
    Packet packet;
};

class Tun final : public CoalescerOutput {
  public:
    Tun(const char* name, bool offloads) : descriptor_(open("/dev/net/tun", O_RDWR | O_NONBLOCK)) {
        ifreq request{};
        std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
        REQUIRE(ioctl(descriptor_.get(), TUNSETIFF, &request) == 0);
        constexpr unsigned kUso = 0x20 | 0x40;  // not in Debian 12's headers
        const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
        if (!offloads) return;
        uso_ = ioctl(descriptor_.get(), TUNSETOFFLOAD, tso | kUso) == 0;
        if (!uso_) REQUIRE(ioctl(descriptor_.get(), TUNSETOFFLOAD, tso) == 0);
    }

    const Descriptor& descriptor() const { return descriptor_; }
    bool uso() const { return uso_; }

    std::optional<FromTun> read_one() {
        WireHeader header{};
        Packet packet(65535 + 64);
        const iovec pieces[] = {{&header, sizeof header}, {packet.data(), packet.size()}};
        const ssize_t size = readv(descriptor_.get(), pieces, 2);
        if (size < 0) return std::nullopt;
        REQUIRE(size >= static_cast<ssize_t>(sizeof header));
        packet.resize(static_cast<size_t>(size) - sizeof header);
        return FromTun{{header.flags, header.gso_type, header.gso_size, header.checksum_start,
                        header.checksum_offset},
                       std::move(packet)};
    }

    void on_packet(const Offload& offload, uint16_t header_length, Bytes packet) override {
        WireHeader header{offload.flags,    offload.gso_type,       header_length,
                          offload.gso_size, offload.checksum_start, offload.checksum_offset};
        const iovec pieces[] = {{&header, sizeof header},
                                {const_cast<uint8_t*>(packet.data()), packet.size()}};
        const ssize_t written = writev(descriptor_.get(), pieces, 2);
        INFO("gso_type " << int{offload.gso_type} << ", " << packet.size()
                         << " bytes: " << std::strerror(errno));
        REQUIRE(written == static_cast<ssize_t>(packet.size() + sizeof header));
        ++packets_;
    }
    size_t packets() const { return packets_; }

  private:
    Descriptor descriptor_;
    bool uso_ = false;
    size_t packets_ = 0;
};

void shell(const std::string& commands) {
    INFO(commands);
    REQUIRE(std::system(("set -e\n" + commands).c_str()) == 0);
}

// A namespace belongs to a thread: it goes when the thread and its descriptors have gone.
void in_own_network(const std::function<void()>& body) {
    std::exception_ptr failure;
    bool allowed = true;
    std::thread([&] {
        if (unshare(CLONE_NEWNET) != 0) {
            allowed = false;
            return;
        }
        try {
            shell("ip link set lo up");
            body();
        } catch (...) {
            failure = std::current_exception();
        }
    }).join();
    if (!allowed) WARN("skipped: may not make a network namespace");
    if (failure) std::rethrow_exception(failure);
}

// A number of /proc/net/snmp of the thread's own namespace, such as Udp: InCsumErrors.
long snmp(const std::string& protocol, const std::string& name) {
    std::ifstream file("/proc/thread-self/net/snmp");
    std::string names;
    std::string values;
    while (std::getline(file, names) && std::getline(file, values)) {
        std::istringstream name_words(names);
        std::istringstream value_words(values);
        std::string word;
        std::string value;
        while (name_words >> word && value_words >> value) {
            if (names.starts_with(protocol + ":") && word == name) return std::stol(value);
        }
    }
    return -1;
}

std::vector<Spec> run_of(bool v4, bool tcp, size_t size, size_t count, uint8_t destination) {
    SeededRandom random(size * 4 + (v4 ? 2 : 0) + (tcp ? 1 : 0));
    Spec spec;
    spec.v4 = v4;
    spec.tcp = tcp;
    spec.destination_host = destination;
    spec.sequence = 0xfffff000;
    spec.id = 0xfff0;
    if (tcp) spec.tcp_options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1};
    std::vector<Spec> specs;
    for (size_t i = 0; i < count; ++i) {
        spec.payload.resize(i + 1 < count ? size : size / 2 + 1);
        random.fill(spec.payload);
        if (tcp && i + 1 == count) spec.flags = 0x18;
        specs.push_back(spec);
        ++spec.id;
        spec.sequence += static_cast<uint32_t>(size);
    }
    return specs;
}

void feed(Coalescer& coalescer, CoalescerOutput& out, Bytes packet) {
    const MutableBytes room = coalescer.buffer(packet.size(), out);
    REQUIRE(room.size() == packet.size());
    std::memcpy(room.data(), packet.data(), packet.size());
    coalescer.commit(packet.size(), out);
}

bool towards(const Packet& packet, uint8_t host) {
    return packet[0] >> 4 == 4 ? packet[19] == host : packet[39] == host && packet[24] == 0xfd;
}

}  // namespace

TEST_CASE("Linux cuts our super-packets into the packets that were joined") {
    in_own_network([] {
        Tun tunnel("tunnel", true);
        Tun beyond("beyond", false);  // without offloads, so that the kernel must do all the work
        shell(
            "ip addr add 10.99.0.1/24 dev tunnel\n"
            "ip addr add fd99::1/64 dev tunnel nodad\n"
            "ip addr add 10.98.0.1/24 dev beyond\n"
            "ip addr add fd98::1/64 dev beyond nodad\n"
            "ip link set tunnel up\n"
            "ip link set beyond mtu 9000 up\n"
            "ip route add 10.99.0.200/32 dev beyond\n"
            "ip route add fd99::c8/128 dev beyond\n"
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n"
            "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        for (const bool v4 : {true, false}) {
            for (const bool tcp : {true, false}) {
                if (!tcp && !tunnel.uso()) {
                    WARN("UDP skipped: this kernel's TUN device has no USO");
                    continue;
                }
                for (const size_t size : {1u, 7u, 100u, 1380u, 8000u}) {
                    INFO("IPv" << (v4 ? 4 : 6) << (tcp ? " TCP " : " UDP ") << size);
                    const size_t count = std::min<size_t>(45, 60000 / size);
                    const size_t written = tunnel.packets();
                    Coalescer coalescer({});
                    std::vector<Packet> expected;
                    for (Spec spec : run_of(v4, tcp, size, count, 200)) {
                        feed(coalescer, tunnel, naive::build(spec));
                        --spec.ttl;  // it is forwarded
                        expected.push_back(naive::build(spec));
                    }
                    coalescer.flush(tunnel);
                    REQUIRE(tunnel.packets() == written + 1);
                    std::vector<Packet> arrived;
                    while (arrived.size() < expected.size() && readable(beyond.descriptor())) {
                        auto packet = beyond.read_one();
                        if (packet && towards(packet->packet, 200)) {
                            arrived.push_back(std::move(packet->packet));
                        }
                    }
                    REQUIRE(arrived == expected);
                }
            }
        }
    });
}

TEST_CASE("A UDP socket receives the datagrams that were joined") {
    in_own_network([] {
        Tun tunnel("tunnel", true);
        shell("ip addr add 10.99.0.1/24 dev tunnel\nip link set tunnel up");
        if (!tunnel.uso()) {
            WARN("skipped: this kernel's TUN device has no USO");
            return;
        }
        const Descriptor receiver(socket(AF_INET, SOCK_DGRAM, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        socklen_t length = sizeof address;
        REQUIRE(bind(receiver.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
        REQUIRE(getsockname(receiver.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);

        const auto receives = [&receiver](const Packet& payload) {
            Packet got(65536);
            if (!readable(receiver)) return false;
            const ssize_t size = recv(receiver.get(), got.data(), got.size(), 0);
            got.resize(size < 0 ? 0 : static_cast<size_t>(size));
            return got == payload;
        };
        Coalescer coalescer({});
        std::vector<Spec> specs = run_of(true, false, 1000, 40, 1);
        for (Spec& spec : specs) {
            spec.destination_port = ntohs(address.sin_port);
            feed(coalescer, tunnel, naive::build(spec));
        }
        coalescer.flush(tunnel);
        CHECK(tunnel.packets() == 1);
        for (const Spec& spec : specs)
            REQUIRE(receives(spec.payload));
        CHECK(snmp("Udp", "InCsumErrors") == 0);
        CHECK(snmp("Udp", "InDatagrams") == 40);

        // A packet that stays alone keeps its checksum, and the kernel looks at it.
        Packet broken = naive::build(specs[0]);
        broken.back() ^= 1;
        feed(coalescer, tunnel, broken);
        coalescer.flush(tunnel);
        feed(coalescer, tunnel, naive::build(specs[1]));
        coalescer.flush(tunnel);
        REQUIRE(receives(specs[1].payload));
        CHECK(snmp("Udp", "InCsumErrors") == 1);
    });
}

TEST_CASE("What Linux leaves to the device as one USO super-packet is cut right") {
    in_own_network([] {
        Tun tunnel("tunnel", true);
        shell(
            "ip addr add 10.99.0.1/24 dev tunnel\n"
            "ip addr add fd99::1/64 dev tunnel nodad\n"
            "ip link set tunnel mtu 1420 up");
        if (!tunnel.uso()) {
            WARN("skipped: this kernel's TUN device has no USO");
            return;
        }
        SeededRandom random(9);
        for (const bool v4 : {true, false}) {
            const Descriptor sender(socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0));
            const int segment = 1000;
            REQUIRE(setsockopt(sender.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0);
            Packet payload(30123);
            random.fill(payload);
            sockaddr_in to4{
                .sin_family = AF_INET, .sin_port = htons(7), .sin_addr = {}, .sin_zero = {}};
            sockaddr_in6 to6{};
            to6.sin6_family = AF_INET6;
            to6.sin6_port = htons(7);
            inet_pton(AF_INET, "10.99.0.2", &to4.sin_addr);
            inet_pton(AF_INET6, "fd99::2", &to6.sin6_addr);
            const auto* to = v4 ? reinterpret_cast<const sockaddr*>(&to4)
                                : reinterpret_cast<const sockaddr*>(&to6);
            REQUIRE(sendto(sender.get(), payload.data(), payload.size(), 0, to,
                           v4 ? sizeof to4 : sizeof to6) == 30123);
            std::optional<FromTun> got;
            while (!got && readable(tunnel.descriptor())) {
                got = tunnel.read_one();
                if (got && !towards(got->packet, 2)) got.reset();
            }
            REQUIRE(got);
            REQUIRE(got->offload.gso_type == Offload::kGsoUdpL4);
            Segmenter segmenter(got->offload, got->packet);
            REQUIRE_FALSE(segmenter.malformed());
            Packet collected;
            size_t segments = 0;
            while (const auto part = segmenter.next()) {
                const Packet packet(part->begin(), part->end());
                REQUIRE(naive::checksums_right(packet));
                collected.insert(collected.end(), packet.begin() + (v4 ? 28 : 48), packet.end());
                ++segments;
            }
            CHECK(segments == 31);
            CHECK(collected == payload);
        }
    });
}

namespace {

// Two kernels' TCP, each in its own namespace, and between their TUN devices what a worker does.
struct TcpRun {
    bool v4 = true;
    bool join = true;
    size_t bytes = 0;

    size_t super_packets = 0;
    uint64_t joined = 0;
    long bad_segments = 0;
    bool intact = false;
};

void carry(Tun& from, Tun& to, Coalescer& coalescer, TcpRun& run) {
    while (auto got = from.read_one()) {
        run.super_packets += got->offload.gso_type != Offload::kGsoNone;
        Segmenter segmenter(got->offload, got->packet);
        REQUIRE_FALSE(segmenter.malformed());
        while (const auto segment = segmenter.next())
            feed(coalescer, to, *segment);
    }
    coalescer.flush(to);
}

void address_device(const char* name, int host) {
    const std::string device = std::string(" dev ") + name;
    const std::string number = std::to_string(host);
    shell("ip addr add 10.99.0." + number + "/24" + device + "\nip addr add fd99::" + number +
          "/64 nodad" + device + "\nip link set mtu 1420 up" + device);
}

void transfer(TcpRun& run) {
    const Descriptor home(open("/proc/thread-self/ns/net", O_RDONLY));
    Tun left("left", true);
    address_device("left", 1);
    const int family = run.v4 ? AF_INET : AF_INET6;
    const Descriptor listener(socket(family, SOCK_STREAM, 0));
    sockaddr_storage address{};
    address.ss_family = static_cast<sa_family_t>(family);
    socklen_t length = run.v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    auto* as_address = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(bind(listener.get(), as_address, length) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    REQUIRE(getsockname(listener.get(), as_address, &length) == 0);

    REQUIRE(unshare(CLONE_NEWNET) == 0);
    Tun right("right", true);
    address_device("right", 2);
    const Descriptor client(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (run.v4) {
        inet_pton(AF_INET, "10.99.0.1", &reinterpret_cast<sockaddr_in&>(address).sin_addr);
    } else {
        inet_pton(AF_INET6, "fd99::1", &reinterpret_cast<sockaddr_in6&>(address).sin6_addr);
    }
    REQUIRE((connect(client.get(), as_address, length) == 0 || errno == EINPROGRESS));

    Packet payload(run.bytes);
    SeededRandom random(run.bytes);
    random.fill(payload);
    Packet received;
    Descriptor server;
    size_t sent = 0;
    Coalescer to_left({.tcp = run.join});
    Coalescer to_right({.tcp = run.join});
    std::vector<uint8_t> chunk(1 << 18);
    while (received.size() < payload.size()) {
        const int inner = server.get() >= 0 ? server.get() : listener.get();
        const short writing = sent < payload.size() ? POLLOUT : 0;
        pollfd entries[] = {{left.descriptor().get(), POLLIN, 0},
                            {right.descriptor().get(), POLLIN, 0},
                            {inner, POLLIN, 0},
                            {client.get(), writing, 0}};
        REQUIRE(poll(entries, 4, kPatienceMs) > 0);
        carry(left, right, to_right, run);
        carry(right, left, to_left, run);
        if (entries[3].revents & POLLOUT) {
            const ssize_t size =
                send(client.get(), payload.data() + sent, payload.size() - sent, MSG_NOSIGNAL);
            REQUIRE(size > 0);
            sent += static_cast<size_t>(size);
        }
        if (!(entries[2].revents & POLLIN)) continue;
        if (server.get() < 0) {
            server = Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
            continue;
        }
        const ssize_t size = recv(server.get(), chunk.data(), chunk.size(), 0);
        REQUIRE(size > 0);
        received.insert(received.end(), chunk.begin(), chunk.begin() + size);
    }
    run.intact = received == payload;
    run.joined = to_left.coalesced_packets();
    run.bad_segments = snmp("Tcp", "InErrs");
    REQUIRE(setns(home.get(), CLONE_NEWNET) == 0);
    run.bad_segments += snmp("Tcp", "InErrs");
}

}  // namespace

TEST_CASE("A TCP stream between two kernels arrives whole, joined or not") {
    for (const bool v4 : {true, false}) {
        for (const bool join : {true, false}) {
            TcpRun run{.v4 = v4, .join = join, .bytes = 20'000'000};
            bool ran = false;
            in_own_network([&] {
                transfer(run);
                ran = true;
            });
            if (!ran) return;
            INFO("IPv" << (v4 ? 4 : 6) << (join ? " joined" : " not joined"));
            CHECK(run.intact);
            CHECK(run.super_packets > 100);
            CHECK(run.bad_segments == 0);  // a wrong checksum would be one
            CHECK((run.joined > 5000) == join);
        }
    }
}
