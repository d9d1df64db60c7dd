// The program, wired top to bottom: command line, configuration, control socket, TUN device, workers,
// loop. This is the only file of control/ that knows of workers, threads and devices.
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/admin/server.h"
#include "control/api.h"
#include "control/cli/cli.h"
#include "control/control_loop.h"
#include "control/log.h"
#include "control/node.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/contract/mailbox.h"
#include "dataplane/io/tun.h"
#include "dataplane/worker/worker.h"

namespace sluice::control {
namespace {

// Each connection needs a descriptor, and one to its backend; the soft limit of 1024 that most
// systems start programs with would be the first thing to run out.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// The kernel's routes into the tunnel: what peers may send from is where answers go. A peer that may
// send from everywhere (0.0.0.0/0) does not become the machine's default route; that is for the
// operator to say.
std::vector<IpPrefix> tunnel_routes(const contract::WireguardConfig& config) {
    std::vector<IpPrefix> routes;
    for (const contract::PeerConfig& peer : config.peers) {
        for (const IpPrefix& prefix : peer.allowed_ips) {
            if (prefix.length > 0) routes.push_back(prefix.masked());
        }
    }
    return routes;
}

Result<io::TunDevice> make_tunnel_device(const contract::WireguardConfig& config) {
    auto device = io::TunDevice::create(
        {.interface = config.interface, .mtu = config.mtu, .addresses = config.addresses}, 1);
    if (!device) return device;
    if (auto routed = device->set_routes(tunnel_routes(config)); !routed) {
        return std::unexpected(routed.error());
    }
    return device;
}

// What the whole machine has of a snapshot, before workers take it.
Result<void> update_tunnel_device(io::TunDevice& device, const contract::WireguardConfig& config) {
    if (auto set = device.set_mtu(config.mtu); !set) return set;
    if (auto set = device.set_addresses(config.addresses); !set) return set;
    return device.set_routes(tunnel_routes(config));
}

std::optional<io::EngineKind> engine_kind(config::Engine engine) {
    switch (engine) {
        case config::Engine::kIoUring:
            return io::EngineKind::kUring;
        case config::Engine::kEpoll:
            return io::EngineKind::kEpoll;
        case config::Engine::kAuto:
            break;
    }
    return std::nullopt;
}

// The workers' threads with their mailboxes, which stay where they are.
class WorkerThreads {
  public:
    WorkerThreads(uint32_t count, std::optional<io::EngineKind> engine,
                  std::optional<io::TunQueue> tunnel, Clock& clock)
        : mailboxes_(count) {
        for (uint32_t index = 0; index < count; ++index) {
            worker::WorkerOptions options{.index = index, .engine = engine, .tun = std::nullopt};
            if (index == 0) options.tun = std::move(tunnel);
            threads_.emplace_back(
                [options = std::move(options), &mailbox = mailboxes_[index], &clock]() mutable {
                    worker::run_worker(std::move(options), mailbox, clock);
                });
        }
    }

    std::vector<contract::Mailbox*> mailboxes() {
        std::vector<contract::Mailbox*> pointers;
        for (contract::Mailbox& mailbox : mailboxes_) pointers.push_back(&mailbox);
        return pointers;
    }

    void join() {
        for (std::thread& thread : threads_) thread.join();
    }

  private:
    std::deque<contract::Mailbox> mailboxes_;
    std::vector<std::thread> threads_;
};

}  // namespace
}  // namespace sluice::control
