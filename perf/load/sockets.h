// UDP sockets in network namespaces: one process that stands at both ends of a tunnel can count
// what arrives without asking the other end over the tunnel that it measures. Thread: any; a call
// returns with the thread in the namespace that it was in before. Failure: the program ends with
// the reason; a load generator that limps measures nothing.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <utility>

namespace sluice::perf {

[[noreturn]] void fail(const std::string& what);
// The same, with what errno says.
[[noreturn]] void fail_with_errno(const std::string& what);

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor();
    int number() const { return number_; }

  private:
    int number_;
};

sockaddr_in address_of(const std::string& ip, uint16_t port);

// A socket that belongs to the namespace, bound to the address; port 0 takes any.
Descriptor open_udp(const std::string& name_space, const sockaddr_in& own);
uint16_t port_of(const Descriptor& socket);
// How long a receiving call may wait.
void set_receive_timeout(const Descriptor& socket, int milliseconds);

}  // namespace sluice::perf
