// The program, wired top to bottom: command line, configuration, control socket, TUN device,
// workers, loop. This is the only file of control/ that knows of workers, threads and devices.
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/access_log.h"
#include "control/admin/server.h"
#include "control/api.h"
#include "control/cli/command_line.h"
#include "control/control_loop.h"
#include "control/log.h"
#include "control/main_wireguard.h"
#include "control/node.h"
#include "control/node_tunnel.h"
#include "control/uapi/server.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/io/kernel_tls.h"
#include "dataplane/io/tun.h"
#include "dataplane/worker/tunnel_offloads.h"
#include "dataplane/worker/worker_threads.h"

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

// The kernel's routes into the tunnel: what peers may send from is where answers go. A peer that
// may send from everywhere (0.0.0.0/0) does not become the machine's default route; that is for the
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

Result<io::TunDevice> make_tunnel_device(const contract::WireguardConfig& config,
                                         const contract::OffloadConfig& offloads, unsigned queues) {
    auto device = io::TunDevice::create({.interface = config.interface,
                                         .mtu = config.mtu,
                                         .addresses = config.addresses,
                                         .tso = offloads.tun_tso != contract::Wanted::kOff,
                                         .uso = offloads.tun_uso != contract::Wanted::kOff},
                                        queues);
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

int failed(const std::string& reason) {
    std::fprintf(stderr, "sluice: %s\n", reason.c_str());
    return cli::kFailed;
}

// Where the switch says "on", somebody counts on it.
void tell_of_kernel_tls(const contract::TlsConfig& tls) {
    if (tls.ktls != contract::Wanted::kOn) return;
    const io::KernelTlsAbility& ability = io::kernel_tls_ability();
    if (ability.transmit) return;
    log::warning("[tls] ktls is \"on\", but bodies are encrypted in user space: " +
                 ability.why_not);
}

// What the first reading gave, for people. False: the node cannot start.
bool tell_start(const LoadOutcome& outcome) {
    for (const std::string& warning : outcome.warnings)
        log::warning(warning);
    for (const std::string& error : outcome.errors)
        std::fprintf(stderr, "%s\n", error.c_str());
    return outcome.ok;
}

// Reload for SIGHUP. A drain lets requests in progress end, so it is what an orderly SIGTERM is;
// whoever is in a hurry sends SIGINT, or SIGTERM a second time.
void on_signal(Node& node, int signal) {
    if (signal == SIGHUP) {
        node.reload([](const LoadOutcome&) {});
    } else if (signal == SIGTERM && node.state() == NodeState::kServing) {
        node.drain();
    } else {
        node.stop();
    }
}

int run_node(const std::string& config_file) {
    raise_descriptor_limit();
    SystemClock clock;
    SystemRandom random;
    worker::WorkerThreads workers;  // before the node, which holds their mailboxes
    auto loop = ControlLoop::create(clock);
    if (!loop) return failed(loop.error().message);

    Node node(**loop, random, {.config_file = config_file, .machine = config::this_machine()});
    if (!tell_start(node.load())) return cli::kFailed;

    auto server = admin::Server::open(**loop, node.config().socket.value);
    if (!server) return failed(server.error().message);

    std::optional<io::TunDevice> tunnel;
    std::vector<io::TunQueue> tunnel_queues;
    const uint32_t worker_count = node.config().node.workers.value;
    if (const auto& wireguard = node.snapshot()->wireguard) {
        auto device = make_tunnel_device(*wireguard, node.snapshot()->offloads,
                                         worker::WorkerThreads::queues_of(worker_count));
        if (!device) return failed(device.error().message);
        worker::choose_cipher(node.snapshot()->offloads.aead);
        tunnel = std::move(*device);
        tunnel_queues = tunnel->take_queues();
        node.set_prepare([&tunnel](const contract::Snapshot& next, const contract::Snapshot&) {
            return update_tunnel_device(*tunnel, *next.wireguard);
        });
    }
    std::unique_ptr<AccessLog> access_log;  // once there are workers
    const auto device_offloads = [&tunnel] {
        std::vector<contract::OffloadReport> offloads;
        if (tunnel) tunnel->report(offloads);
        return offloads;
    };
    const auto access_status = [&access_log] {
        return access_log ? access_log->status() : AccessLog::Status{};
    };
    serve_api(
        **server, node, **loop,
        {.version = SLUICE_VERSION, .offloads = device_offloads, .access_log = access_status});

    // wg(8) works without it no less than before, so that another program's socket does not keep
    // the node from serving.
    NodeTunnel node_tunnel(node);
    std::unique_ptr<uapi::Server> wg_socket;
    if (tunnel) {
        auto opened =
            uapi::Server::open(**loop, node_tunnel, tunnel->interface(), config::public_key_of);
        if (opened) {
            wg_socket = std::move(*opened);
        } else {
            log::warning("wg(8) cannot see the tunnel: " + opened.error().message);
        }
    }

    // Before the threads, which inherit that these are blocked.
    if (auto handled = (*loop)->handle_signals({SIGHUP, SIGTERM, SIGINT},
                                               [&node](int signal) { on_signal(node, signal); });
        !handled) {
        return failed(handled.error().message);
    }
    workers.start(worker_count, engine_kind(node.config().engine.value), std::move(tunnel_queues),
                  clock);
    access_log = std::make_unique<AccessLog>(workers.access_rings(), workers.access_bell());
    const auto open_access_log = [&] { access_log->write_to(node.config().access_log.value); };
    open_access_log();
    node.set_on_reloaded(open_access_log);
    int exit_code = cli::kDone;
    bool clean = false;
    node.set_on_stopped([&](bool all_left) {
        clean = all_left;
        (*loop)->stop();
    });
    node.start(workers.mailboxes(), [&](const LoadOutcome& outcome) {
        for (const std::string& error : outcome.worker_errors)
            failed(error);
        if (outcome.worker_errors.empty()) {
            log::info("serving with " + std::to_string(node.worker_count()) + " workers; " +
                      (*server)->path() + " is the control socket");
            tell_of_kernel_tls(node.snapshot()->tls);
            return;
        }
        exit_code = cli::kFailed;
        node.stop();
    });
    (*loop)->run();
    // A worker that does not leave its loop cannot be joined; the kernel takes back what it holds.
    if (!clean) std::_Exit(failed("a worker did not stop in time"));
    workers.join();
    return exit_code;
}

}  // namespace
}  // namespace sluice::control

int main(int argc, char** argv) {
    return sluice::cli::run_command_line(argc, argv,
                                         {.version = SLUICE_VERSION,
                                          .run = sluice::control::run_node,
                                          .wireguard = sluice::control::run_wireguard},
                                         std::cout, std::cerr);
}
