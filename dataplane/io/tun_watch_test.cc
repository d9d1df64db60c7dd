// What ip(8) does to a TUN device, as the watch sees it, and devices that somebody else opened.
// Each test has network namespaces of its own.
#include "dataplane/io/tun_watch.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cstdio>
#include <cstring>

#include "dataplane/io/test_engine.h"

namespace sluice::io {

namespace {

constexpr int kPlain = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;

std::string in_namespace(const std::function<std::string()>& body) {
    return in_child([&body]() -> std::string {
        if (unshare(CLONE_NEWNET) != 0) return "unshare";
        return body();
    });
}

std::string output_of(const std::string& command) {
    std::string output;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    char buffer[512];
    while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr)
        output += buffer;
    if (pipe != nullptr) pclose(pipe);
    return output;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

// A descriptor as another program would hand it to us.
int open_tun(const std::string& name, int flags) {
    const int tun = ::open("/dev/net/tun", O_RDWR);
    ifreq request{};
    std::strcpy(request.ifr_name, name.c_str());
    request.ifr_flags = static_cast<short>(flags);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0) throw std::runtime_error("TUNSETIFF");
    return tun;
}

std::string refusal_of(int descriptor) {
    const auto device = TunDevice::adopt(descriptor, 1);
    return device ? "it works" : device.error().message;
}

std::unique_ptr<TunWatch> watch_of(const TunDevice& device) {
    auto watch = TunWatch::open(device);
    if (!watch) throw std::runtime_error(watch.error().message);
    return std::move(*watch);
}

bool is_readable(int descriptor) {
    pollfd waiting{descriptor, POLLIN, 0};
    return poll(&waiting, 1, 10'000) == 1;
}

// Another namespace, kept by a process that does nothing else.
class Elsewhere {
  public:
    Elsewhere() {
        int ends[2];
        int ready[2];
        if (pipe(ends) != 0 || pipe(ready) != 0) throw std::runtime_error("pipe");
        child_ = fork();
        if (child_ == 0) {
            ::close(ends[1]);
            char byte = 0;
            if (unshare(CLONE_NEWNET) != 0 || ::write(ready[1], "x", 1) != 1) _exit(1);
            [[maybe_unused]] const ssize_t got = ::read(ends[0], &byte, 1);
            _exit(0);
        }
        ::close(ends[0]);
        ::close(ready[1]);
        life_ = Descriptor(ends[1]);
        char byte = 0;
        if (::read(ready[0], &byte, 1) != 1) throw std::runtime_error("namespace");
        ::close(ready[0]);
    }
    ~Elsewhere() {
        life_.close();
        waitpid(child_, nullptr, 0);
    }
    std::string run(const std::string& command) const {
        return output_of("nsenter --net=/proc/" + std::to_string(child_) + "/ns/net " + command);
    }
    std::string pid() const { return std::to_string(child_); }

  private:
    pid_t child_ = -1;
    Descriptor life_;
};

}  // namespace

TEST_CASE("a bare device is down and has an MTU and nothing else") {
    CHECK(in_namespace([]() -> std::string {
              auto device = TunDevice::create_bare("sluice-bare", 1420, 2);
              if (!device) return device.error().message;
              const auto queues = device->take_queues();
              if (device->queue_count() != 2 || queues.size() != 2) return "queues";
              const std::string link = output_of("ip -d link show dev sluice-bare");
              if (has(link, ",UP") || has(link, "<UP")) return link;
              if (!has(link, "mtu 1420") || !has(link, "vnet_hdr on")) return link;
              if (!has(link, "persist off")) return link;
              if (!output_of("ip -o address show dev sluice-bare").empty()) return "address";
              return "";
          }) == "");
}

TEST_CASE("a descriptor that somebody attached is adopted with its device") {
    CHECK(in_namespace([]() -> std::string {
              for (const bool many : {false, true}) {
                  const std::string name = many ? "sluice-many" : "sluice-one";
                  const int tun = open_tun(name, many ? kPlain | IFF_MULTI_QUEUE : kPlain);
                  output_of("ip link set " + name + " mtu 1333");
                  {
                      auto device = TunDevice::adopt(tun, 3);
                      if (!device) return device.error().message;
                      if (device->interface() != name) return device->interface();
                      if (device->queue_count() != (many ? 3 : 1)) return "queues of " + name;
                      if ((fcntl(tun, F_GETFL) & O_NONBLOCK) == 0) return "it blocks";
                      if ((fcntl(tun, F_GETFD) & FD_CLOEXEC) == 0) return "it is inherited";
                      if (!has(output_of("ip link show dev " + name), "mtu 1333")) return "mtu";
                      std::vector<contract::OffloadReport> offloads;
                      device->report(offloads);
                      if (offloads.empty() || offloads[0].state != "on") return "offloads";
                      if (auto set = device->set_mtu(1400); !set) return set.error().message;
                  }
                  if (has(output_of("ip -o link show"), name)) return "it stays";
              }
              return "";
          }) == "");
}

TEST_CASE("queues are never added to another device of the same name") {
    CHECK(in_namespace([]() -> std::string {
              const Elsewhere elsewhere;
              const int tun = open_tun("sluice-twin", kPlain | IFF_MULTI_QUEUE);
              output_of("ip link set sluice-twin netns " + elsewhere.pid());
              const Descriptor twin(open_tun("sluice-twin", kPlain | IFF_MULTI_QUEUE));
              auto device = TunDevice::adopt(tun, 2);
              if (!device) return device.error().message;
              return device->queue_count() == 1 ? "" : "a queue of the twin was taken";
          }) == "");
}

TEST_CASE("what is no TUN descriptor of our kind is refused, and closed if it was open") {
    CHECK(in_namespace([]() -> std::string {
              std::string error = refusal_of(987);
              if (!has(error, "descriptor 987 is not open")) return error;
              const int null = ::open("/dev/null", O_RDWR);
              error = refusal_of(null);
              if (!has(error, "not attached to a TUN device")) return error;
              if (fcntl(null, F_GETFD) >= 0) return "it was left open";
              error = refusal_of(::open("/dev/net/tun", O_RDWR));
              if (!has(error, "not attached to a TUN device")) return error;
              for (const int flags : {IFF_TUN | IFF_NO_PI, (kPlain & ~IFF_TUN) | IFF_TAP}) {
                  error = refusal_of(open_tun("sluice-odd", flags));
                  if (!has(error, "IFF_TUN | IFF_NO_PI | IFF_VNET_HDR")) {
                      return std::to_string(flags) + ": " + error;
                  }
              }
              return "";
          }) == "");
}

TEST_CASE("the watch wakes for what is done to the device, and tells it") {
    CHECK(in_namespace([]() -> std::string {
              auto device = TunDevice::create_bare("sluice-seen", 1420, 1);
              if (!device) return device.error().message;
              const auto watch = watch_of(*device);
              TunLink expected{.exists = true,
                               .is_elsewhere = false,
                               .is_up = false,
                               .mtu = 1420,
                               .interface = "sluice-seen"};
              if (watch->look() != expected) return "at first";
              const auto becomes = [&](const std::string& change) -> std::string {
                  output_of(change);
                  if (!is_readable(watch->descriptor())) return change + ": no wake-up";
                  return watch->look() == expected ? "" : change;
              };
              expected.is_up = true;
              if (auto wrong = becomes("ip link set sluice-seen up"); !wrong.empty()) return wrong;
              expected.mtu = 1300;
              if (auto wrong = becomes("ip link set sluice-seen mtu 1300"); !wrong.empty()) {
                  return wrong;
              }
              expected.is_up = false;
              expected.interface = "sluice-new";
              if (auto wrong = becomes("ip link set sluice-seen down; ip link set sluice-seen name "
                                       "sluice-new");
                  !wrong.empty()) {
                  return wrong;
              }
              expected = {};
              return becomes("ip link delete sluice-new");
          }) == "");
}

TEST_CASE("a device in another namespace is seen there, and back again, and its end") {
    CHECK(in_namespace([]() -> std::string {
              auto device = TunDevice::create_bare("sluice-far", 1420, 1);
              if (!device) return device.error().message;
              const auto watch = watch_of(*device);
              const Elsewhere elsewhere;
              output_of("ip link set sluice-far netns " + elsewhere.pid());
              // One of the same name, which is not to be taken for it.
              output_of("ip link add sluice-far mtu 1111 type bridge");
              if (!is_readable(watch->descriptor())) return "no wake-up when it went";
              TunLink expected{.exists = true,
                               .is_elsewhere = true,
                               .is_up = false,
                               .mtu = 1420,
                               .interface = "sluice-far"};
              if (watch->look() != expected) return "after the move";
              elsewhere.run("ip link set sluice-far up mtu 1280");
              expected.is_up = true;
              expected.mtu = 1280;
              if (watch->look() != expected) return "up over there";
              output_of("ip link delete sluice-far");
              elsewhere.run("ip link set sluice-far netns " + std::to_string(getpid()));
              if (!is_readable(watch->descriptor())) return "no wake-up when it came back";
              expected.is_elsewhere = false;
              expected.is_up = false;
              if (watch->look() != expected) return "back again";
              return "";
          }) == "");
    CHECK(in_namespace([]() -> std::string {
              auto device = TunDevice::create_bare("sluice-far", 1420, 1);
              if (!device) return device.error().message;
              const auto watch = watch_of(*device);
              {
                  const Elsewhere elsewhere;
                  output_of("ip link set sluice-far netns " + elsewhere.pid());
                  if (!watch->look().is_elsewhere) return "it did not move";
              }
              // The namespace is gone with its process, if looking did not keep it; the kernel
              // removes it in its own time.
              for (int i = 0; i < 2000 && watch->look().exists; ++i)
                  usleep(10'000);
              return watch->look().exists ? "the watch kept the namespace" : "";
          }) == "");
}

TEST_CASE("a device that may not be asked about is taken to be up") {
    CHECK(in_namespace([]() -> std::string {
              auto device = TunDevice::create_bare("sluice-far", 1420, 1);
              if (!device) return device.error().message;
              const auto watch = watch_of(*device);
              if (watch->look().is_up) return "it is up";
              const Elsewhere elsewhere;
              output_of("ip link set sluice-far netns " + elsewhere.pid());
              if (setuid(65534) != 0) return "cannot become nobody";
              const TunLink link = watch->look();
              return link.exists && link.is_up && link.mtu == 1420 ? "" : "not up";
          }) == "");
}

}  // namespace sluice::io
