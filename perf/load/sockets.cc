#include "perf/load/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice::perf {
namespace {

// A scheduler that lets the reader wait for some milliseconds must not cost packets here: what is
// lost is to be the tunnel's doing. Both kinds of forced sizes need root, as namespaces do anyway.
constexpr int kSocketBuffer = 16 << 20;

class Entered {
  public:
    explicit Entered(const std::string& name_space)
        : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
        const Descriptor target(open(("/run/netns/" + name_space).c_str(), O_RDONLY | O_CLOEXEC));
        if (before_.number() < 0 || target.number() < 0 || setns(target.number(), CLONE_NEWNET))
            fail_with_errno("cannot enter the network namespace " + name_space);
    }
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;
    ~Entered() {
        if (setns(before_.number(), CLONE_NEWNET)) fail_with_errno("cannot go back");
    }

  private:
    Descriptor before_;
};

}  // namespace

void fail(const std::string& what) {
    std::fprintf(stderr, "tunnel_load: %s\n", what.c_str());
    std::exit(1);
}

void fail_with_errno(const std::string& what) {
    const int number = errno;
    fail(what + ": " + std::strerror(number));
}

Descriptor::~Descriptor() {
    if (number_ >= 0) close(number_);
}

sockaddr_in address_of(const std::string& ip, uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1) fail("no IPv4 address: " + ip);
    return address;
}

Descriptor open_udp(const std::string& name_space, const sockaddr_in& own) {
    const Entered entered(name_space);
    Descriptor made(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (made.number() < 0) fail_with_errno("socket");
    if (setsockopt(made.number(), SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer,
                   sizeof kSocketBuffer) ||
        setsockopt(made.number(), SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer))
        fail_with_errno("cannot make socket buffers large");
    if (bind(made.number(), reinterpret_cast<const sockaddr*>(&own), sizeof own))
        fail_with_errno("bind");
    return made;
}

uint16_t port_of(const Descriptor& socket) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (getsockname(socket.number(), reinterpret_cast<sockaddr*>(&address), &size))
        fail_with_errno("getsockname");
    return ntohs(address.sin_port);
}

void set_receive_timeout(const Descriptor& socket, int milliseconds) {
    const timeval limit{.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    if (setsockopt(socket.number(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit))
        fail_with_errno("SO_RCVTIMEO");
}

}  // namespace sluice::perf
