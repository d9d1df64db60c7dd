#include "dataplane/worker/worker.h"

#include <algorithm>
#include <utility>

namespace sluice::worker {

Worker::Worker(WorkerOptions options, contract::Mailbox& mailbox, Clock& clock)
    : options_(std::move(options)), mailbox_(mailbox), timers_(clock.now().mono) {
    if (options_.access_ring != nullptr) {
        access_lines_.emplace(*options_.access_ring, options_.index);
    }
}

Result<std::unique_ptr<Worker>> Worker::create(WorkerOptions options, contract::Mailbox& mailbox,
                                               Clock& clock) {
    std::unique_ptr<Worker> worker(new Worker(std::move(options), mailbox, clock));
    auto engine = io::Engine::create(worker->options_.engine, clock, worker->drops_);
    if (!engine) return std::unexpected(engine.error());
    worker->engine_ = std::move(*engine);
    worker->front_ =
        std::make_unique<Front>(*worker->engine_, worker->random_, worker->timers_, worker->drops_);
    if (SourceLimits* limits = worker->options_.source_limits)
        worker->front_->share_limits(*limits);
    worker->engine_->set_turn_handler(worker.get());
    worker->engine_->set_wake_handler(worker.get());
    return worker;
}

Worker::~Worker() {
    // The engine goes last: what it made (streams, ports) belongs to these.
    front_.reset();
    tunnel_.reset();
}

void Worker::run() {
    mailbox_.set_worker_waker([this] { engine_->wake(); });
    on_wake();  // what was sent before the waker was known
    bool pending = false;
    while (!stopping_) {
        Instant deadline = timers_.next_deadline();
        if (tunnel_) deadline = std::min(deadline, tunnel_->next_deadline());
        if (pending) deadline = Instant::min();
        engine_->turn(deadline);
        const Now now = engine_->now();
        timers_.advance(now);
        if (tunnel_) tunnel_->tick(now);
        pending = front_->run_pending();
        if (draining_ && front_->idle()) {
            draining_ = false;
            mailbox_.answer(contract::Drained{});
        }
    }
    mailbox_.set_worker_waker(nullptr);
    mailbox_.answer(contract::Stopped{});
}

void Worker::on_turn(Now now) {
    front_->set_now(now);
}

void Worker::on_wake() {
    for (contract::Command& command : mailbox_.take_commands()) {
        std::visit([this](auto& taken) { handle(taken); }, command);
    }
    if (tunnel_) tunnel_->take_handed_over();
}

void Worker::handle(contract::ApplySnapshot& command) {
    snapshot_ = std::move(command.snapshot);
    std::string error;
    std::shared_ptr<const wireguard::PeerDirectory> peers;
    if (snapshot_->wireguard && options_.tunnel_group != nullptr) {
        std::shared_ptr<const TunnelPlan> plan = options_.tunnel_group->plan_for(snapshot_);
        peers = plan->directory;
        error = apply_tunnel(std::move(plan));
    }
    const bool logged = snapshot_->access_log && access_lines_;
    front_->set_access_log(logged ? &*access_lines_ : nullptr);
    const std::string front_error = front_->apply(snapshot_, std::move(peers), engine_->now());
    if (!error.empty() && !front_error.empty()) error += "; ";
    mailbox_.answer(contract::Applied{snapshot_->generation, error + front_error});
}

std::string Worker::apply_tunnel(std::shared_ptr<const TunnelPlan> plan) {
    if (tunnel_) {
        const auto applied = tunnel_->apply(std::move(plan));
        return applied ? std::string() : "wireguard: " + applied.error().message;
    }
    // It owns no peers, or has had its only try.
    if (!options_.tun) return tunnel_error_;
    auto opened = TunnelPath::open(*engine_, options_.tun, *options_.tunnel_group, options_.index,
                                   std::move(plan), random_, drops_);
    if (!opened) return tunnel_error_ = "wireguard: " + opened.error().message;
    tunnel_ = std::move(*opened);
    return {};
}

void Worker::handle(contract::SetTicketKeys& command) {
    front_->set_ticket_keys(std::move(command.keys), engine_->now());
}

void Worker::handle(const contract::SetAddresses& command) {
    front_->set_addresses(command.book, engine_->now());
}

void Worker::handle(const contract::SendReport& command) {
    contract::WorkerReport report;
    report.worker = options_.index;
    report.generation = snapshot_ ? snapshot_->generation : 0;
    report.engine = io::name_of(engine_->report().kind);
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        report.drops[i] = drops_.value(static_cast<DropReason>(i));
    }
    front_->report(report);
    if (tunnel_) tunnel_->report(report);
    mailbox_.answer(contract::Reported{command.ticket, std::move(report)});
}

void Worker::handle(const contract::Drain&) {
    draining_ = true;
    front_->drain(engine_->now());
}

void Worker::handle(const contract::Stop&) {
    stopping_ = true;
}

void run_worker(WorkerOptions options, contract::Mailbox& mailbox, Clock& clock) {
    auto worker = Worker::create(std::move(options), mailbox, clock);
    if (!worker) {
        mailbox.answer(contract::Applied{0, worker.error().message});
        mailbox.answer(contract::Stopped{});
        return;
    }
    (*worker)->run();
}

}  // namespace sluice::worker
