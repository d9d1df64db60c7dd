// The TUN device, in a network namespace of the test's own, with the kernel as the other side. What
// the product configures is read back by ip(8).
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include "dataplane/base/random.h"
#include "dataplane/io/descriptor.h"
#include "dataplane/io/socket_address.h"
#include "dataplane/io/test_engine.h"
#include "dataplane/io/tun.h"

namespace sluice::io {

namespace {

// Runs in a child, in a fresh network namespace with loopback up.
std::string in_namespace(const std::function<std::string()>& body) {
    return in_child([&body]() -> std::string {
        if (unshare(CLONE_NEWNET) != 0) return "unshare";
        Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ifreq request{};
        std::strcpy(request.ifr_name, "lo");
        request.ifr_flags = IFF_UP | IFF_LOOPBACK;
        if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return "loopback";
        return body();
    });
}

std::string output_of(const std::string& command) {
    std::string output;
    FILE* pipe = popen(command.c_str(), "r");
    char buffer[512];
    while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr)
        output += buffer;
    if (pipe != nullptr) pclose(pipe);
    return output;
}

size_t count_of(const std::string& text, std::string_view part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

IpPrefix prefix(std::string_view text) {
    return *IpPrefix::parse(text);
}
IpAddress address(std::string_view text) {
    return *IpAddress::parse(text);
}

TunOptions options(std::string interface = "sluice-test") {
    return {.interface = std::move(interface),
            .mtu = 1420,
            .addresses = {prefix("10.98.0.1/24"), prefix("fd98::1/64")}};
}

TunDevice make(const TunOptions& with, unsigned queues = 1) {
    auto device = TunDevice::create(with, queues);
    if (!device) throw std::runtime_error(device.error().message);
    return std::move(*device);
}

std::string error_of(const TunOptions& with, unsigned queues = 1) {
    auto device = TunDevice::create(with, queues);
    return device ? "it works" : device.error().message;
}

contract::OffloadReport offload(const TunDevice& device, std::string_view name) {
    std::vector<contract::OffloadReport> all;
    device.report(all);
    for (auto& one : all) {
        if (one.name == name) return one;
    }
    return {};
}

// Plays all peers: swaps source and destination of each packet and gives it back, so that the
// kernel talks through the device to itself under another address. Checksums stay valid, since the
// sum does not know an order; super-packets go back as they came.
class Mirror final : public TunHandler {
  public:
    Mirror(TestEngine& test, TunDevice& device) {
        auto queues = device.take_queues();
        auto attached = test.engine->attach(std::move(queues.at(0)), *this);
        if (!attached) throw std::runtime_error(attached.error().message);
        port = std::move(*attached);
    }
    void on_tun_packet(const VirtioHeader& header, MutableBytes packet) override {
        ++packets;
        if (drop_all) return;
        largest = std::max(largest, packet.size());
        if (header.gso_type == VirtioHeader::kGsoTcp4) ++tcp4;
        if (header.gso_type == VirtioHeader::kGsoTcp6) ++tcp6;
        if (header.gso_type == VirtioHeader::kGsoUdpL4) ++udp;
        const bool v6 = packet[0] >> 4 == 6;
        uint8_t* addresses = packet.data() + (v6 ? 8 : 12);
        const size_t size = v6 ? 16 : 4;
        std::swap_ranges(addresses, addresses + size, addresses + size);
        // In pieces that cut headers and payload anywhere.
        const size_t cut = packet.size() / 3;
        const Bytes pieces[] = {packet.first(cut), packet.subspan(cut)};
        if (!port->write(header, pieces)) ++refused;
    }
    void on_tun_packets_end() override { ++ends; }

    std::unique_ptr<TunPort> port;
    size_t packets = 0, ends = 0, refused = 0, largest = 0;
    size_t tcp4 = 0, tcp6 = 0, udp = 0;
    bool drop_all = false;
};

// Another machine on our LAN: a process in a namespace of its own, at the far end of a veth pair,
// that connects when it is told to.
class Neighbour {
  public:
    Neighbour() {
        int orders[2], answers[2];
        if (pipe(orders) != 0 || pipe(answers) != 0) throw std::runtime_error("pipe");
        child_ = fork();
        if (child_ == 0) {
            ::close(orders[1]);
            live(orders[0], answers[1]);
        }
        ::close(orders[0]);
        orders_ = Descriptor(orders[1]);
        answers_ = Descriptor(answers[0]);
        ::close(answers[1]);
        char byte;
        if (::read(answers_.get(), &byte, 1) != 1) throw std::runtime_error("neighbour");
        output_of("ip link add lan type veth peer name far netns " + std::to_string(child_));
        output_of("ip address add 192.168.77.1/24 dev lan; ip link set lan up");
        if (::write(orders_.get(), "x", 1) != 1) throw std::runtime_error("neighbour");
        if (::read(answers_.get(), &byte, 1) != 1) throw std::runtime_error("neighbour");
    }
    ~Neighbour() {
        orders_.close();  // its cue to leave
        waitpid(child_, nullptr, 0);
    }
    void start_to_connect(const IpAddress& from, const Endpoint& to) {
        const std::array<Endpoint, 2> order{Endpoint{from, 0}, to};
        if (::write(orders_.get(), &order, sizeof order) != sizeof order) {
            throw std::runtime_error("neighbour");
        }
    }

  private:
    [[noreturn]] static void live(int orders, int answers) {
        char byte;
        if (unshare(CLONE_NEWNET) != 0 || ::write(answers, "x", 1) != 1 ||
            ::read(orders, &byte, 1) != 1) {
            _exit(1);
        }
        output_of(
            "ip address add 192.168.77.2/24 dev far; ip address add 10.98.0.77/32 dev far; "
            "ip link set far up; ip route add 10.98.0.0/24 via 192.168.77.1");
        if (::write(answers, "x", 1) != 1) _exit(1);
        std::array<Endpoint, 2> order;
        std::vector<Descriptor> sockets;
        while (::read(orders, &order, sizeof order) == sizeof order) {
            sockets.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
            SocketAddress kernel_address;
            socklen_t length = to_kernel(order[0], AF_INET, kernel_address);
            if (bind(sockets.back().get(), &kernel_address.any, length) != 0) _exit(1);
            length = to_kernel(order[1], AF_INET, kernel_address);
            connect(sockets.back().get(), &kernel_address.any, length);
        }
        _exit(0);
    }
    pid_t child_ = -1;
    Descriptor orders_, answers_;
};

// A download in one thread: everything is driven by the one engine.
struct Transfer final : AcceptHandler, StreamHandler {
    std::unique_ptr<ByteStream> server, client;
    std::unique_ptr<Acceptor> acceptor;
    Endpoint remote, local;
    std::vector<uint8_t> data, received;
    size_t sent = 0;
    bool failed = false, ended = false;

    void on_accept(Accepted accepted) override {
        remote = accepted.remote;
        local = accepted.local;
        server = std::move(accepted.stream);
        server->set_handler(this);
        on_stream_ready();
    }
    void on_stream_ready() override {
        while (server && sent < data.size()) {
            const Bytes pieces[] = {Bytes(data).subspan(sent)};
            const IoResult result = server->write(pieces);
            if (result.status == IoStatus::kError) failed = true;
            if (result.status != IoStatus::kOk) break;
            sent += result.bytes;
            if (sent == data.size()) server->shutdown_write();
        }
        std::vector<uint8_t> buffer(1 << 18);
        while (client && !ended) {
            const IoResult result = client->read(buffer);
            if (result.status == IoStatus::kError) failed = true;
            if (result.status == IoStatus::kEnd) ended = true;
            if (result.status != IoStatus::kOk) break;
            received.insert(received.end(), buffer.begin(),
                            buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
        }
    }
};

}  // namespace

TEST_CASE("the device has its addresses, MTU and nothing else, and goes with its owner") {
    CHECK(in_namespace([]() -> std::string {
              {
                  const TunDevice device = make(options());
                  const std::string link = output_of("ip -d link show dev sluice-test");
                  if (!has(link, "UP") || !has(link, "mtu 1420")) return link;
                  if (!has(link, "tun type tun pi off vnet_hdr on persist off")) return link;
                  const std::string all = output_of("ip -o address show dev sluice-test");
                  if (count_of(all, "\n") != 2) return all;
                  if (!has(all, "inet 10.98.0.1/24") || !has(all, "inet6 fd98::1/64")) return all;
                  if (has(all, "tentative")) return all;
                  for (const char* name : {"tun_tso", "tun_uso"}) {
                      if (offload(device, name).state != "on") return offload(device, name).reason;
                  }
              }
              const std::string rest = output_of("ip -o link show");
              return has(rest, "sluice-test") ? rest : "";
          }) == "");
}

TEST_CASE("addresses, routes and MTU become exactly what is asked, as often as one likes") {
    CHECK(in_namespace([]() -> std::string {
              TunDevice device = make(options());
              const auto addresses = [] { return output_of("ip -o address show dev sluice-test"); };
              const auto routes = [] {
                  return output_of("ip route show dev sluice-test proto static") +
                         output_of("ip -6 route show dev sluice-test proto static");
              };
              const std::vector<IpPrefix> wanted = {prefix("10.50.0.0/16"), prefix("10.98.0.0/24"),
                                                    prefix("192.0.2.7/32"), prefix("fd50::/48"),
                                                    prefix("fd98::9/64")};
              for (int i = 0; i < 2; ++i) {
                  if (auto set = device.set_routes(wanted); !set) return set.error().message;
                  const std::string now = routes();
                  if (count_of(now, "\n") != 3) return "routes: " + now;
                  for (const char* part : {"10.50.0.0/16", "192.0.2.7", "fd50::/48"}) {
                      if (!has(now, part)) return "routes: " + now;
                  }
              }
              // Addresses of one prefix, where the first goes and the second must stay.
              if (auto set = device.set_addresses(
                      {prefix("10.98.0.1/24"), prefix("10.98.0.2/24"), prefix("fd98::1/64")});
                  !set) {
                  return set.error().message;
              }
              for (int i = 0; i < 2; ++i) {
                  if (auto set = device.set_addresses(
                          {prefix("10.98.0.2/24"), prefix("10.98.0.3/24"), prefix("fd98::2/64")});
                      !set) {
                      return set.error().message;
                  }
                  const std::string now = addresses();
                  if (count_of(now, "\n") != 3) return "addresses: " + now;
                  for (const char* part : {"10.98.0.2/24", "10.98.0.3/24", "fd98::2/64"}) {
                      if (!has(now, part)) return "addresses: " + now;
                  }
              }
              // The routes survived the change of all addresses.
              if (count_of(routes(), "\n") != 3) return "after: " + routes();
              if (auto set = device.set_addresses({prefix("172.30.0.1/30")}); !set) {
                  return set.error().message;
              }
              if (!has(routes(), "10.50.0.0/16")) return "routes went with the prefix";
              if (auto set = device.set_routes({prefix("fd50::/48")}); !set) {
                  return set.error().message;
              }
              if (count_of(routes(), "\n") != 1) return "left: " + routes();
              if (auto set = device.set_mtu(1300); !set) return set.error().message;
              if (!has(output_of("ip link show dev sluice-test"), "mtu 1300")) return "mtu";
              return "";
          }) == "");
}

TEST_CASE("a route that belongs to another interface is an error, the others are set") {
    CHECK(in_namespace([]() -> std::string {
              TunDevice first = make(options("sluice-one"));
              TunDevice second = make({.interface = "sluice-two", .addresses = {}});
              if (auto set = first.set_routes({prefix("10.60.0.0/16")}); !set) {
                  return set.error().message;
              }
              const auto set = second.set_routes({prefix("10.60.0.0/16"), prefix("10.61.0.0/16")});
              if (set) return "no error";
              if (!has(set.error().message, "10.60.0.0/16") ||
                  !has(set.error().message, "another interface")) {
                  return set.error().message;
              }
              const std::string routes = output_of("ip route show");
              if (!has(routes, "10.60.0.0/16 dev sluice-one")) return routes;
              return has(routes, "10.61.0.0/16 dev sluice-two") ? "" : routes;
          }) == "");
}

TEST_CASE("a stale device is taken over, whatever it was") {
    CHECK(in_namespace([]() -> std::string {
              for (const int flags : {IFF_TUN | IFF_NO_PI, IFF_TUN | IFF_MULTI_QUEUE,
                                      IFF_TUN | IFF_NO_PI | IFF_VNET_HDR}) {
                  for (const unsigned queues : {1u, 2u}) {
                      {
                          Descriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
                          ifreq request{};
                          std::strcpy(request.ifr_name, "sluice-test");
                          request.ifr_flags = static_cast<short>(flags);
                          if (ioctl(tun.get(), TUNSETIFF, &request) != 0) return "TUNSETIFF";
                          int header_bytes = 12;
                          ioctl(tun.get(), TUNSETVNETHDRSZ, &header_bytes);
                          if (ioctl(tun.get(), TUNSETPERSIST, 1) != 0) return "TUNSETPERSIST";
                      }
                      output_of("ip address add 10.1.1.1/24 dev sluice-test");
                      {
                          const TunDevice device = make(options(), queues);
                          const std::string all = output_of("ip -o address show dev sluice-test");
                          if (count_of(all, "\n") != 2) return all;
                      }
                      if (has(output_of("ip -o link show"), "sluice-test")) return "it stays";
                  }
              }
              return "";
          }) == "");
}

TEST_CASE("a device that a killed process has not yet given back is waited for") {
    CHECK(in_namespace([]() -> std::string {
              auto killed = std::make_unique<TunDevice>(make(options("sluice-late")));
              std::thread kernel([&killed] {
                  ::poll(nullptr, 0, 100);
                  killed.reset();
              });
              const std::string error = error_of(options("sluice-late"));
              kernel.join();
              return error == "it works" ? "" : error;
          }) == "");
}

TEST_CASE("errors of the device say what is in the way") {
    CHECK(in_namespace([]() -> std::string {
              const TunDevice device = make(options("sluice-used"));
              std::string error = error_of(options("sluice-used"));
              if (!has(error, "in use by another process")) return error;
              error = error_of(options("lo"));
              if (!has(error, "not a TUN device")) return error;
              output_of("ip link add sluice-veth type veth peer name sluice-peer");
              error = error_of(options("sluice-veth"));
              if (!has(error, "veth")) return error;
              output_of("ip tuntap add mode tap name sluice-tap");
              error = error_of(options("sluice-tap"));
              if (!has(error, "not a TUN device")) return error;
              for (const char* name : {"", "sixteen-letters!", "with space", "a/b", "tun%d"}) {
                  error = error_of(options(name));
                  if (!has(error, "cannot be the name")) return error;
              }
              return "";
          }) == "");
    CHECK(in_namespace([]() -> std::string {
              if (setuid(65534) != 0) return "cannot become nobody";
              const std::string error = error_of(options());
              return has(error, "CAP_NET_ADMIN") ? "" : error;
          }) == "");
}

TEST_CASE("a host without IPv6 gets the IPv4 part, and is told") {
    CHECK(in_namespace([]() -> std::string {
              std::ofstream("/proc/sys/net/ipv6/conf/all/disable_ipv6") << "1";
              std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1";
              TunDevice device = make(options());
              if (!has(output_of("ip -o address show dev sluice-test"), "10.98.0.1/24")) {
                  return "no IPv4";
              }
              const auto report = offload(device, "tun_ipv6");
              if (report.state != "unsupported" || !has(report.reason, "disable_ipv6")) {
                  return report.state + ": " + report.reason;
              }
              const auto set = device.set_addresses({prefix("10.98.0.9/24"), prefix("fd98::9/64")});
              if (set) return "no error";
              if (!has(set.error().message, "fd98::9/64")) return set.error().message;
              return has(output_of("ip -o address show dev sluice-test"), "10.98.0.9/24")
                         ? ""
                         : "the IPv4 address was kept back";
          }) == "");
    CHECK(in_namespace([]() -> std::string {
              TunOptions narrow = options();
              narrow.mtu = 1200;
              const TunDevice device = make(narrow);
              const auto report = offload(device, "tun_ipv6");
              return has(report.reason, "1280") ? "" : report.reason;
          }) == "");
}

TEST_CASE("a ping of the kernel goes through the device and comes back") {
    const EngineKind kind = any_engine();
    CHECK(in_namespace([kind]() -> std::string {
              TestEngine test(kind);
              TunDevice device = make(options());
              Mirror mirror(test, device);
              // The mirror sends the echo request back to the kernel from the other address; the
              // kernel answers, and that answer, mirrored again, is the one that ping waits for.
              Descriptor ping(
                  socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP));
              SocketAddress to;
              const socklen_t length = to_kernel({address("10.98.0.77"), 0}, AF_INET, to);
              std::array<uint8_t, 64> request{};
              request[0] = ICMP_ECHO;
              request[4] = 0x12;
              request[20] = 0x99;
              uint32_t sum = 0;
              for (size_t i = 0; i < request.size(); i += 2)
                  sum += load_be16(&request[i]);
              while (sum >> 16)
                  sum = (sum & 0xffff) + (sum >> 16);
              store_be16(&request[2], static_cast<uint16_t>(~sum));
              if (sendto(ping.get(), request.data(), request.size(), 0, &to.any, length) < 0) {
                  return "sendto";
              }
              bool answered = false;
              if (!test.run_until([&] {
                      std::array<uint8_t, 200> answer;
                      SocketAddress from{};
                      socklen_t from_length = sizeof from;
                      const ssize_t got = recvfrom(ping.get(), answer.data(), answer.size(), 0,
                                                   &from.any, &from_length);
                      if (got == 84 && answer[20] == ICMP_ECHOREPLY && answer[40] == 0x99) {
                          answered = from_kernel(from).address == address("10.98.0.77");
                      }
                      return answered;
                  })) {
                  return "no answer";
              }
              if (mirror.packets != 2) return std::to_string(mirror.packets) + " packets";
              return mirror.refused == 0 && mirror.ends > 0 ? "" : "refused";
          }) == "");
}

TEST_CASE("TCP through the device moves in super-packets, every byte in its place") {
    const EngineKind kind = any_engine();
    const bool v6 = GENERATE(false, true);
    const bool offloads = GENERATE(true, false);
    CHECK(in_namespace([=]() -> std::string {
              TestEngine test(kind);
              TunOptions with = options();
              with.tso = offloads;
              TunDevice device = make(with);
              Mirror mirror(test, device);
              Transfer transfer;
              transfer.data.resize(30 << 20);
              SeededRandom(1).fill(transfer.data);
              auto acceptor = test.engine->listen(
                  {.address = {address(v6 ? "fd98::1" : "10.98.0.1"), 0}, .interface = {}},
                  transfer);
              if (!acceptor) return acceptor.error().message;
              // To another address, which the mirror turns into ours.
              const Endpoint there{address(v6 ? "fd98::77" : "10.98.0.77"),
                                   (*acceptor)->local().port};
              auto client = test.engine->connect(there);
              if (!client) return client.error().message;
              transfer.client = std::move(*client);
              transfer.client->set_handler(&transfer);
              if (!test.run_until([&] { return transfer.ended || transfer.failed; })) {
                  return "stuck at " + std::to_string(transfer.received.size());
              }
              if (transfer.received != transfer.data) return "damaged";
              if (transfer.remote.address != there.address) return transfer.remote.text();
              if (mirror.refused != 0) return std::to_string(mirror.refused) + " refused";
              const size_t supers = v6 ? mirror.tcp6 : mirror.tcp4;
              if ((supers > 0) != offloads) return std::to_string(supers) + " super-packets";
              if ((mirror.largest > 20000) != offloads) return std::to_string(mirror.largest);
              // Both directions are counted.
              if (offload(device, "tun_tso").uses != 2 * supers) return "uses";
              const auto report = offload(device, "tun_tso");
              if (report.state != (offloads ? "on" : "off")) return report.state;
              if (report.reason != (offloads ? "" : "switched off")) return report.reason;
              // One switch is not the other's.
              const auto other = offload(device, "tun_uso");
              if (other.state != "on") return other.state + ": " + other.reason;
              return "";
          }) == "");
}

TEST_CASE("UDP super-packets go through the device in both directions") {
    const EngineKind kind = any_engine();
    CHECK(in_namespace([kind]() -> std::string {
              TestEngine test(kind);
              TunDevice device = make(options());
              Mirror mirror(test, device);
              Descriptor to(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
              SocketAddress kernel_address;
              socklen_t length = to_kernel({address("10.98.0.1"), 0}, AF_INET, kernel_address);
              if (bind(to.get(), &kernel_address.any, length) != 0) return "bind";
              Descriptor from(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
              const Endpoint there{address("10.98.0.77"), local_endpoint(to.get()).port};
              length = to_kernel(there, AF_INET, kernel_address);
              if (connect(from.get(), &kernel_address.any, length) != 0) return "connect";
              const int segment = 1200;
              setsockopt(from.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
              std::vector<uint8_t> data(20 * 1200);
              SeededRandom(3).fill(data);
              if (send(from.get(), data.data(), data.size(), 0) < 0) return "send";
              std::vector<uint8_t> received;
              test.run_until([&] {
                  std::array<uint8_t, 2000> buffer;
                  ssize_t got;
                  while ((got = recv(to.get(), buffer.data(), buffer.size(), 0)) > 0) {
                      received.insert(received.end(), buffer.begin(), buffer.begin() + got);
                  }
                  return received.size() >= data.size();
              });
              if (received != data) return "damaged";
              if (mirror.udp != 1 || mirror.packets != 1) return "not one super-packet";
              return offload(device, "tun_uso").uses == 2 ? "" : "uses";
          }) == "");
}

TEST_CASE("the socket bound to the device accepts what came through it, and only that") {
    const EngineKind kind = any_engine();
    CHECK(in_namespace([kind]() -> std::string {
              TestEngine test(kind);
              TunDevice device = make(options());
              Mirror mirror(test, device);
              Transfer through;
              Transfer beside;
              auto any = test.engine->listen({.address = {address("0.0.0.0"), 0}, .interface = {}},
                                             beside);
              if (!any) return any.error().message;
              const uint16_t port = (*any)->local().port;
              auto bound = test.engine->listen(
                  {.address = {address("0.0.0.0"), port}, .interface = "sluice-test"}, through);
              if (!bound) return bound.error().message;
              const auto try_to = [&](const char* to, Transfer& expected, Transfer& other) {
                  expected.server.reset();
                  other.server.reset();
                  auto client = test.engine->connect({address(to), port});
                  if (!client) return false;
                  return test.run_until([&] { return expected.server || other.server; }) &&
                         expected.server != nullptr && other.server == nullptr;
              };
              if (!try_to("10.98.0.77", through, beside)) return "not through the device";
              if (through.remote.address != address("10.98.0.77")) return "wrong remote";
              if (!try_to("127.0.0.1", beside, through)) return "loopback was taken for tunnel";
              // The known exception: ourselves, and recognisable by the source.
              if (!try_to("10.98.0.1", through, beside)) return "the kernel changed its mind";
              if (through.remote.address != address("10.98.0.1")) return through.remote.text();

              // A neighbour on a real wire, who routes to the device's address by way of us.
              Neighbour neighbour;
              through.server.reset();
              beside.server.reset();
              neighbour.start_to_connect(address("192.168.77.2"), {address("10.98.0.1"), port});
              if (!test.run_until([&] { return through.server || beside.server; })) {
                  return "the neighbour does not come through at all";
              }
              if (through.server) return "a neighbour was taken for the tunnel";
              if (beside.remote.address != address("192.168.77.2")) return beside.remote.text();
              // One who forges a tunnel address gets nowhere: what answers him goes into the
              // tunnel.
              beside.server.reset();
              mirror.drop_all = true;
              const size_t packets = mirror.packets;
              neighbour.start_to_connect(address("10.98.0.77"), {address("10.98.0.1"), port});
              if (!test.run_until([&] { return mirror.packets > packets; })) {
                  return "the forged packet got lost, so this test shows nothing";
              }
              test.run_until_idle();
              return through.server || beside.server ? "forged and accepted" : "";
          }) == "");
}

TEST_CASE("a port survives the removal of its device, and may be destroyed by its handler") {
    const EngineKind kind = any_engine();
    CHECK(in_namespace([kind]() -> std::string {
              TestEngine test(kind);
              TunDevice device = make(options());
              {
                  Mirror mirror(test, device);
                  output_of("ip link delete sluice-test");
                  // It is told once; after that turns must wait.
                  int turns = 0;
                  const Instant end = test.clock.now().mono + std::chrono::milliseconds(200);
                  for (; test.clock.now().mono < end; ++turns)
                      test.engine->turn(end);
                  if (turns > 20) return "it spins: " + std::to_string(turns) + " turns";
                  const uint8_t packet[20] = {0x45};
                  const Bytes pieces[] = {packet};
                  if (mirror.port->write({}, pieces)) return "written to nowhere";
              }
              struct Suicidal final : TunHandler {
                  void on_tun_packet(const VirtioHeader&, MutableBytes) override { port.reset(); }
                  void on_tun_packets_end() override {}
                  std::unique_ptr<TunPort> port;
              } handler;
              TunDevice second = make(options());
              auto queues = second.take_queues();
              auto attached = test.engine->attach(std::move(queues[0]), handler);
              if (!attached) return attached.error().message;
              handler.port = std::move(*attached);
              Descriptor from(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
              SocketAddress to;
              const socklen_t length = to_kernel({address("10.98.0.7"), 9}, AF_INET, to);
              for (int i = 0; i < 3; ++i)
                  sendto(from.get(), "x", 1, 0, &to.any, length);
              if (!test.run_until([&] { return handler.port == nullptr; })) return "no packet";
              test.run_until_idle();
              return has(output_of("ip -o link show"), "sluice-test") ? "it stays" : "";
          }) == "");
}

}  // namespace sluice::io
