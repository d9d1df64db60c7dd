// Like main.cc, this may know of workers, threads and devices.
#include "control/main_wireguard.h"

#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "control/background.h"
#include "control/control_loop.h"
#include "control/folder_watch.h"
#include "control/log.h"
#include "control/node.h"
#include "control/plain_tunnel.h"
#include "control/uapi/server.h"
#include "control/wireguard_settings.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/io/tun.h"
#include "dataplane/io/tun_watch.h"
#include "dataplane/worker/worker_threads.h"

namespace sluice::control {
namespace {

// 1500 less the 80 bytes that WireGuard adds over IPv6; what every implementation begins with.
constexpr uint16_t kMtu = 1420;
// What the kernel gives a TUN device that nobody has given another: a packet of that size would
// leave in two fragments.
constexpr unsigned kMtuOfNewTun = 1500;

// One that is ending answers for a moment longer than its interface exists; `wg-quick down` and
// `up` in a row must not fail for that.
constexpr Duration kPatience = std::chrono::seconds(2);
constexpr Duration kPause = std::chrono::milliseconds(20);

// How often a device in another network namespace is looked at, where nobody tells us of changes.
// While it is down somebody is about to bring it up, and packets until we know are lost.
constexpr Duration kLookWhileUp = std::chrono::seconds(1);
constexpr Duration kLookWhileDown = std::chrono::milliseconds(50);

int failed(const std::string& reason) {
    std::fprintf(stderr, "sluice: %s\n", reason.c_str());
    return cli::kFailed;
}

std::optional<io::EngineKind> engine_kind(config::Engine engine) {
    if (engine == config::Engine::kAuto) return std::nullopt;
    return engine == config::Engine::kEpoll ? io::EngineKind::kEpoll : io::EngineKind::kUring;
}

Result<io::TunDevice> open_device(const WireguardSettings& settings) {
    const uint32_t queues = worker::WorkerThreads::queues_of(settings.workers);
    if (!settings.tun_descriptor) {
        return io::TunDevice::create_bare(settings.interface, kMtu, queues);
    }
    auto device = io::TunDevice::adopt(*settings.tun_descriptor, queues);
    if (!device) return fail("WG_TUN_FD: " + device.error().message);
    return device;
}

class PlainInterface {
  public:
    PlainInterface(WireguardSettings settings, std::unique_ptr<ControlLoop> loop, Clock& clock)
        : settings_(std::move(settings)), clock_(clock), loop_(std::move(loop)) {}

    // `report`: set if somebody waits for the start.
    int run(std::optional<StartReport> report) {
        if (auto opened = open(); !opened) return failed(opened.error().message);
        // As many as there are queues: a worker that owns no part of the tunnel has nothing to do.
        const auto count = static_cast<uint32_t>(device_->queue_count());
        workers_.start(count, engine_kind(settings_.engine), device_->take_queues(), clock_);
        int exit_code = cli::kDone;
        bool clean = false;
        node_.set_on_stopped([&](bool all_left) {
            clean = all_left;
            loop_->stop();
        });
        node_.start(workers_.mailboxes(), [&](const LoadOutcome& outcome) {
            for (const std::string& error : outcome.worker_errors)
                exit_code = failed(error);
            if (exit_code != cli::kDone) {
                end("it could not start");
            } else if (report && !report->ready()) {
                end("whoever started it is gone");
            }
        });
        loop_->run();
        // A worker that does not leave its loop cannot be joined; the kernel takes back all of it.
        if (!clean) std::_Exit(failed("a worker did not stop in time"));
        workers_.join();
        return exit_code;
    }

  private:
    Result<void> open() {
        // Before the socket, so that no signal leaves it behind, and before the threads, which
        // inherit that these are blocked.
        if (auto handled = loop_->handle_signals({SIGHUP, SIGTERM, SIGINT},
                                                 [this](int) { end("a signal says so"); });
            !handled) {
            return handled;
        }
        auto device = open_device(settings_);
        if (!device) return std::unexpected(device.error());
        device_ = std::move(*device);
        auto watch = io::TunWatch::open(*device_);
        if (!watch) return std::unexpected(watch.error());
        watch_ = std::move(*watch);
        io::TunLink link = watch_->look();
        if (settings_.tun_descriptor && link.mtu == kMtuOfNewTun && device_->set_mtu(kMtu)) {
            link = watch_->look();
        }
        tunnel_.emplace(node_, device_->interface(), state_of(link));
        if (auto opened = open_socket(); !opened) return opened;
        loop_->watch(watch_->descriptor(), EPOLLIN, [this](uint32_t) { look_at_device(); });
        look_again_later(link);
        return {};
    }

    Result<void> open_socket() {
        const std::string& name = device_->interface();
        if (settings_.uapi_descriptor) {
            auto adopted = uapi::Server::adopt(*loop_, *tunnel_, *settings_.uapi_descriptor,
                                               config::public_key_of);
            if (!adopted) return fail("WG_UAPI_FD: " + adopted.error().message);
            socket_ = std::move(*adopted);
        } else {
            const Instant deadline = clock_.now().mono + kPatience;
            while (uapi::Server::is_served(name) && clock_.now().mono < deadline && !is_ending_)
                loop_->turn(kPause);
            if (is_ending_) return fail("ended by a signal while it started");
            auto opened = uapi::Server::open(*loop_, *tunnel_, name, config::public_key_of);
            if (!opened) return std::unexpected(opened.error());
            socket_ = std::move(*opened);
        }
        const std::string& path = socket_->path();
        if (path.empty()) return {};
        const auto look = [this] {
            if (socket_ && !socket_->has_its_file()) end("its socket was removed");
        };
        folder_watch_.emplace(*loop_, path.substr(0, std::max<size_t>(path.rfind('/'), 1)), look);
        loop_->post(look);  // it may have gone before anybody watched
        return {};
    }

    static LinkState state_of(const io::TunLink& link) {
        return {.is_up = link.is_up,
                .mtu = static_cast<uint16_t>(std::min<unsigned>(link.mtu, UINT16_MAX))};
    }

    void look_at_device() {
        const io::TunLink link = watch_->look();
        if (!link.exists) return end("its interface was removed");
        tunnel_->set_link(state_of(link));
        look_again_later(link);
    }

    void look_again_later(const io::TunLink& link) {
        loop_->cancel(look_timer_);
        if (!link.is_elsewhere) return;
        look_timer_ =
            loop_->after(link.is_up ? kLookWhileUp : kLookWhileDown, [this] { look_at_device(); });
    }

    // The socket goes first: where it is, the interface is usable.
    void end(const std::string& reason) {
        if (is_ending_) return;
        is_ending_ = true;
        log::info("ending, because " + reason);
        loop_->cancel(look_timer_);
        if (watch_) loop_->forget(watch_->descriptor());
        folder_watch_.reset();
        socket_.reset();
        node_.stop();
    }

    WireguardSettings settings_;
    Clock& clock_;
    SystemRandom random_;
    std::unique_ptr<ControlLoop> loop_;
    worker::WorkerThreads workers_;  // before the node, which holds their mailboxes
    std::optional<io::TunDevice> device_;
    std::unique_ptr<io::TunWatch> watch_;
    Node node_{*loop_, random_, {}};
    std::optional<PlainTunnel> tunnel_;
    std::unique_ptr<uapi::Server> socket_;
    std::optional<FolderWatch> folder_watch_;
    ControlLoop::TimerId look_timer_ = 0;
    bool is_ending_ = false;
};

}  // namespace

int run_wireguard(const cli::WireguardStart& start) {
    const auto variable = [](const std::string& name) -> std::string {
        const char* const value = std::getenv(name.c_str());
        return value == nullptr ? "" : value;
    };
    const auto settings = wireguard_settings(start.interface, start.foreground, variable,
                                             config::this_machine().cores);
    if (!settings) return failed(settings.error().message);
    log::set_level(settings->log_level);
    // A log that nobody reads any more is no reason to end.
    ::signal(SIGPIPE, SIG_IGN);
    std::optional<StartReport> report;
    if (!settings->foreground) {
        auto child = go_to_background(
            {settings->tun_descriptor.value_or(-1), settings->uapi_descriptor.value_or(-1)},
            settings->keeps_output);
        if (!child) return child.error();
        report.emplace(std::move(*child));
    }
    SystemClock clock;
    auto loop = ControlLoop::create(clock);
    if (!loop) return failed(loop.error().message);
    PlainInterface interface(*settings, std::move(*loop), clock);
    return interface.run(std::move(report));
}

}  // namespace sluice::control
