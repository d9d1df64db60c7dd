#include "control/node.h"

#include <algorithm>
#include <set>
#include <utility>

#include "control/log.h"
#include "dataplane/base/check.h"

namespace sluice::control {

namespace {

log::Level log_level(config::LogLevel level) {
    switch (level) {
        case config::LogLevel::kDebug:
            return log::Level::kDebug;
        case config::LogLevel::kInfo:
            return log::Level::kInfo;
        case config::LogLevel::kWarning:
            return log::Level::kWarning;
        case config::LogLevel::kError:
            return log::Level::kError;
    }
    return log::Level::kInfo;
}

// Puts what was found into the outcome, errors and warnings apart.
void tell(const config::Diagnostics& diagnostics, const std::string& file, LoadOutcome& outcome) {
    config::Diagnostics errors;
    config::Diagnostics warnings;
    for (const config::Diagnostic& entry : diagnostics.sorted()) {
        if (entry.severity == config::Severity::kError) {
            errors.error(entry.at, entry.message);
        } else {
            warnings.warning(entry.at, entry.message);
        }
    }
    outcome.errors = errors.lines(file);
    outcome.warnings = warnings.lines(file);
}

// Between two tries to start; see NodeOptions::start_patience.
constexpr Duration kStartAgain = std::chrono::milliseconds(20);

bool lacks_key(const config::Loaded& loaded) {
    return loaded.config.wireguard && loaded.files.private_key.is_zero();
}

// What was decided when the process started and cannot follow the file any more. A tunnel that
// would have to be made or renamed refuses the file, because peers would be lost; the rest keeps
// its value until the next start.
void keep_what_needs_a_restart(const config::Config& running, config::Config& next,
                               config::Diagnostics& diagnostics) {
    if (running.wireguard.has_value() != next.wireguard.has_value()) {
        const config::Position at = next.wireguard ? next.wireguard->at : config::Position{};
        diagnostics.error(at, std::string("[wireguard] was ") +
                                  (next.wireguard ? "added" : "removed") +
                                  "; the tunnel is made and ended with the process, so restart it");
    } else if (next.wireguard &&
               next.wireguard->interface.value != running.wireguard->interface.value) {
        diagnostics.error(next.wireguard->interface.at,
                          "\"interface\" was " +
                              config::in_quotes(running.wireguard->interface.value) +
                              " when the node started and cannot change while it runs; restart it");
    }
    const auto keep = [&diagnostics](auto& value, const auto& old, std::string_view key) {
        if (value.value == old.value) return;
        diagnostics.warning(value.at, config::in_quotes(key) +
                                          " has changed, which takes effect at the next start");
        value.value = old.value;
    };
    keep(next.node.workers, running.node.workers, "workers");
    keep(next.engine, running.engine, "engine");
    keep(next.socket, running.socket, "socket");
    keep(next.offloads.udp_gso, running.offloads.udp_gso, "udp_gso");
    keep(next.offloads.udp_gro, running.offloads.udp_gro, "udp_gro");
    keep(next.offloads.tun_tso, running.offloads.tun_tso, "tun_tso");
    keep(next.offloads.tun_uso, running.offloads.tun_uso, "tun_uso");
    keep(next.offloads.tcp_coalescing, running.offloads.tcp_coalescing, "tcp_coalescing");
    keep(next.offloads.udp_coalescing, running.offloads.udp_coalescing, "udp_coalescing");
    keep(next.offloads.aead, running.offloads.aead, "aead");
}

}  // namespace

std::string_view name_of(NodeState state) {
    switch (state) {
        case NodeState::kStarting:
            return "starting";
        case NodeState::kServing:
            return "serving";
        case NodeState::kDraining:
            return "draining";
        case NodeState::kStopping:
            return "stopping";
        case NodeState::kStopped:
            return "stopped";
    }
    return "unknown";
}

Node::Node(ControlLoop& loop, Random& random, NodeOptions options)
    : loop_(loop),
      random_(random),
      options_(std::move(options)),
      started_(loop.now().mono),
      ticket_keys_(random),
      self_(std::make_shared<Node*>(this)) {}

Node::~Node() {
    // After this no worker calls us any more: the mailbox's lock is held while it does.
    for (const Worker& worker : workers_)
        worker.mailbox->set_control_waker(nullptr);
    loop_.cancel(apply_timer_);
    loop_.cancel(stop_timer_);
    loop_.cancel(ticket_key_timer_);
    loop_.cancel(start_timer_);
    for (const auto& [ticket, collection] : collections_)
        loop_.cancel(collection.timer);
}

LoadOutcome Node::load() {
    SLUICE_CHECK(!builder_.current());
    LoadOutcome outcome;
    const auto read = [&] {
        config::Diagnostics diagnostics;
        auto loaded =
            config::load(options_.config_file, options_.machine, loop_.now().wall, diagnostics);
        tell(diagnostics, options_.config_file, outcome);
        return loaded;
    };
    std::optional<config::Loaded> loaded = read();
    if (loaded && lacks_key(*loaded)) {
        const std::string path =
            config::resolved_path(loaded->config, loaded->config.wireguard->private_key_file.value);
        const auto made = config::make_private_key(path, random_);
        if (!made) {
            outcome.errors.push_back(made.error().message);
            return outcome;
        }
        if (*made) log::info("made the private key " + config::in_quotes(path));
        loaded = read();
        SLUICE_CHECK(!loaded || !lacks_key(*loaded));
    }
    if (!loaded) return outcome;
    outcome.ok = take_on(std::move(*loaded), outcome);
    return outcome;
}

void Node::serve_only(const contract::WireguardConfig& wireguard) {
    builder_.take(builder_.build_tunnel_only(wireguard));
}

bool Node::prepare_and_take(const snapshot::Builder::Built& built, LoadOutcome& outcome) {
    if (built.changed && builder_.current() && prepare_) {
        const contract::Snapshot& running = *builder_.current();
        if (const auto prepared = prepare_(*built.snapshot, running); !prepared) {
            outcome.errors.push_back(prepared.error().message);
            // What it may have done before it failed is undone as far as that goes.
            if (const auto undone = prepare_(running, *built.snapshot); !undone) {
                log::error("going back failed too: " + undone.error().message);
            }
            return false;
        }
    }
    builder_.take(built);
    outcome.changed = built.changed;
    outcome.generation = built.snapshot->generation;
    return true;
}

bool Node::take_on(config::Loaded loaded, LoadOutcome& outcome) {
    if (!prepare_and_take(builder_.build(loaded), outcome)) return false;
    loaded_ = std::move(loaded);
    log::set_level(log_level(loaded_->config.log_level));
    return true;
}

void Node::start(std::vector<contract::Mailbox*> mailboxes, LoadDone done) {
    SLUICE_CHECK(builder_.current() && workers_.empty() && !mailboxes.empty());
    for (contract::Mailbox* const mailbox : mailboxes) {
        workers_.emplace_back().mailbox = mailbox;
        mailbox->set_control_waker([this, weak = std::weak_ptr(self_)] {
            loop_.post([weak] {
                if (const auto self = weak.lock()) (*self)->take_answers();
            });
        });
    }
    rotate_ticket_keys();
    send_first(loop_.now().mono + options_.start_patience, std::move(done));
}

void Node::send_first(Instant until, LoadDone done) {
    LoadOutcome outcome;
    outcome.ok = true;
    outcome.changed = true;
    outcome.generation = builder_.current()->generation;
    send_snapshot(
        std::move(outcome), [this, until, done = std::move(done)](const LoadOutcome& result) {
            if (state_ == NodeState::kStarting && !result.worker_errors.empty() &&
                loop_.now().mono < until) {
                start_timer_ =
                    loop_.after(kStartAgain, [this, until, done] { send_first(until, done); });
                return;
            }
            if (state_ == NodeState::kStarting) state_ = NodeState::kServing;
            done(result);
        });
}

void Node::rotate_ticket_keys() {
    const auto keys = ticket_keys_.rotate(loop_.now().mono);
    for (const Worker& worker : workers_) {
        if (!worker.gone) worker.mailbox->send(contract::SetTicketKeys{keys});
    }
    ticket_key_timer_ = loop_.after(options_.ticket_key_period, [this] { rotate_ticket_keys(); });
}

void Node::reload(LoadDone done) {
    reloads_next_.push_back(std::move(done));
    begin_next();
}

void Node::change_tunnel(contract::WireguardConfig wireguard, LoadDone done) {
    SLUICE_CHECK(builder_.current()->wireguard.has_value());
    tunnel_changes_.push_back({std::move(wireguard), std::move(done)});
    begin_next();
}

void Node::begin_next() {
    if (is_busy()) return;
    if (!tunnel_changes_.empty()) {
        TunnelChange change = std::move(tunnel_changes_.front());
        tunnel_changes_.pop_front();
        run_tunnel_change(std::move(change));
    } else if (!reloads_next_.empty()) {
        reloads_running_ = std::exchange(reloads_next_, {});
        run_reload();
    }
}

void Node::begin_next_later() {
    if (tunnel_changes_.empty() && reloads_next_.empty()) return;
    loop_.post([weak = std::weak_ptr(self_)] {
        if (const auto self = weak.lock()) (*self)->begin_next();
    });
}

void Node::run_tunnel_change(TunnelChange change) {
    LoadOutcome outcome;
    outcome.generation = builder_.current()->generation;
    const contract::WireguardConfig before = *builder_.current()->wireguard;
    if (state_ != NodeState::kServing) {
        outcome.errors.push_back("the node is " + std::string(name_of(state_)) +
                                 " and takes no new configuration");
    } else {
        outcome.ok = prepare_and_take(builder_.build_with(change.wireguard), outcome);
    }
    if (!outcome.ok || !outcome.changed) {
        change.done(outcome);
        begin_next_later();
        return;
    }
    send_snapshot(std::move(outcome), [this, done = std::move(change.done),
                                       before](const LoadOutcome& result) mutable {
        if (result.worker_errors.empty()) {
            log::info("the tunnel was changed: generation " + std::to_string(result.generation) +
                      " serves" + (loaded_ ? " until the next reload" : ""));
            done(result);
        } else {
            undo_tunnel_change(before, result, std::move(done));
        }
    });
}

// A file's snapshot may be served but for a part, because the file says what was meant and a reload
// tries again. Here the caller is told yes or no, so no has to mean that nothing has changed.
void Node::undo_tunnel_change(const contract::WireguardConfig& before, const LoadOutcome& refused,
                              LoadDone done) {
    LoadOutcome undone;
    if (!prepare_and_take(builder_.build_with(before), undone)) {
        log::error("going back failed too: " + undone.errors.front());
        done(refused);
        return;
    }
    send_snapshot(std::move(undone), [refused, done = std::move(done)](const LoadOutcome& result) {
        LoadOutcome outcome = refused;
        outcome.ok = false;
        outcome.changed = false;
        outcome.generation = result.generation;
        done(outcome);
    });
}

LoadOutcome Node::reread() {
    LoadOutcome outcome;
    outcome.generation = builder_.current()->generation;
    if (state_ != NodeState::kServing) {
        outcome.errors.push_back("the node is " + std::string(name_of(state_)) +
                                 " and takes no new configuration");
        return outcome;
    }
    if (!loaded_) {
        outcome.errors.emplace_back("there is no configuration file to read again");
        return outcome;
    }
    config::Diagnostics diagnostics;
    auto loaded =
        config::load(options_.config_file, options_.machine, loop_.now().wall, diagnostics);
    if (loaded) {
        keep_what_needs_a_restart(loaded_->config, loaded->config, diagnostics);
        if (lacks_key(*loaded)) {
            const auto& file = loaded->config.wireguard->private_key_file;
            // A new one would be another identity, and every peer would be cut off.
            diagnostics.error(file.at, "the private key file " + config::in_quotes(file.value) +
                                           " is gone; put it back");
        }
    }
    tell(diagnostics, options_.config_file, outcome);
    if (!loaded || diagnostics.has_errors()) return outcome;
    outcome.ok = take_on(std::move(*loaded), outcome);
    return outcome;
}

void Node::run_reload() {
    LoadOutcome outcome = reread();
    const bool workers_lag = !worker_errors().empty();
    if (!outcome.ok || (!outcome.changed && !workers_lag)) {
        finish_reload(outcome);
        return;
    }
    // Also what did not change, if a worker could not take on all of it: the port may be free now.
    send_snapshot(std::move(outcome), [this](const LoadOutcome& result) { finish_reload(result); });
}

void Node::finish_reload(const LoadOutcome& outcome) {
    last_reload_ = LastReload{outcome, loop_.now().wall};
    for (const std::string& line : outcome.warnings)
        log::warning(line);
    for (const std::string& line : outcome.worker_errors)
        log::error(line);
    for (const std::string& line : outcome.errors)
        log::error(line);
    const std::string generation = "generation " + std::to_string(outcome.generation);
    if (!outcome.ok) {
        log::error("reload refused; " + generation + " serves on");
    } else {
        log::info(outcome.changed ? "reloaded: " + generation + " serves"
                                  : "reloaded: nothing changed, " + generation + " serves on");
        if (on_reloaded_) on_reloaded_();
    }
    for (const LoadDone& done : std::exchange(reloads_running_, {}))
        done(outcome);
    begin_next_later();
}

void Node::send_snapshot(LoadOutcome outcome, LoadDone done) {
    applying_ = std::move(outcome);
    apply_done_ = std::move(done);
    for (Worker& worker : workers_) {
        if (worker.gone) continue;
        worker.applying = true;
        worker.error = "has not taken on the snapshot in time";
        worker.mailbox->send(contract::ApplySnapshot{builder_.current()});
    }
    apply_timer_ = loop_.after(options_.answer_timeout, [this] { finish_apply(); });
    follow_names(*builder_.current());
    settle();
}

void Node::follow_names(const contract::Snapshot& snapshot) {
    std::set<std::string> names;
    for (const contract::BackendConfig& backend : snapshot.backends) {
        for (const contract::ServerConfig& server : backend.servers) {
            if (!server.dns_name.empty()) names.insert(server.dns_name);
        }
    }
    if (names.empty() && resolver_ == nullptr) return;
    if (resolver_ == nullptr) {
        const auto changed = [this](const std::shared_ptr<const contract::AddressBook>& book) {
            for (const Worker& worker : workers_) {
                if (!worker.gone) worker.mailbox->send(contract::SetAddresses{book});
            }
        };
        resolver_ = std::make_unique<Resolver>(loop_, random_, options_.resolver, changed);
    }
    resolver_->follow(names);
}

void Node::finish_apply() {
    loop_.cancel(apply_timer_);
    applying_.worker_errors = worker_errors();
    const LoadDone done = std::exchange(apply_done_, nullptr);
    done(std::exchange(applying_, {}));
    begin_next_later();
}

std::vector<std::string> Node::worker_errors() const {
    std::vector<std::string> result;
    std::map<std::string_view, std::vector<size_t>> by_text;
    for (size_t i = 0; i < workers_.size(); ++i) {
        if (!workers_[i].error.empty()) by_text[workers_[i].error].push_back(i);
    }
    // What all of them say is said once.
    for (const auto& [text, who] : by_text) {
        if (who.size() == workers_.size()) {
            result.emplace_back(text);
            continue;
        }
        for (const size_t i : who) {
            result.push_back("worker " + std::to_string(i) + ": " + std::string(text));
        }
    }
    return result;
}

void Node::collect_reports(ReportsDone done) {
    const uint64_t ticket = next_ticket_++;
    Collection& collection = collections_[ticket];
    collection.reports.resize(workers_.size());
    collection.done = std::move(done);
    collection.timer =
        loop_.after(options_.answer_timeout, [this, ticket] { finish_collection(ticket); });
    for (const Worker& worker : workers_) {
        if (!worker.gone) worker.mailbox->send(contract::SendReport{ticket});
    }
    settle();
}

bool Node::is_complete(const Collection& collection) const {
    for (size_t i = 0; i < workers_.size(); ++i) {
        if (!collection.reports[i] && !workers_[i].gone) return false;
    }
    return true;
}

void Node::finish_collection(uint64_t ticket) {
    const auto found = collections_.find(ticket);
    if (found == collections_.end()) return;  // a callback before this one ended it
    Collection collection = std::move(found->second);
    collections_.erase(found);
    loop_.cancel(collection.timer);
    CollectedReports result;
    for (size_t i = 0; i < collection.reports.size(); ++i) {
        if (collection.reports[i]) {
            result.reports.push_back(std::move(*collection.reports[i]));
        } else {
            result.silent.push_back(static_cast<uint32_t>(i));
        }
    }
    collection.done(std::move(result));
}

void Node::drain() {
    if (state_ != NodeState::kServing && state_ != NodeState::kStarting) return;
    state_ = NodeState::kDraining;
    log::info("draining: no new connections; the node stops when the requests in progress end");
    for (const Worker& worker : workers_) {
        if (!worker.gone) worker.mailbox->send(contract::Drain{});
    }
    stop_timer_ = loop_.after(options_.drain_timeout, [this] {
        log::warning("requests are still in progress, but the time for draining is over");
        stop();
    });
    settle();
}

void Node::stop() {
    if (state_ == NodeState::kStopping || state_ == NodeState::kStopped) return;
    state_ = NodeState::kStopping;
    log::info("stopping");
    loop_.cancel(stop_timer_);
    for (const Worker& worker : workers_) {
        if (!worker.gone) worker.mailbox->send(contract::Stop{});
    }
    stop_timer_ = loop_.after(options_.answer_timeout, [this] { finish_stop(false); });
    settle();
}

void Node::finish_stop(bool clean) {
    state_ = NodeState::kStopped;
    loop_.cancel(stop_timer_);
    if (on_stopped_) on_stopped_(clean);
}

void Node::take_answers() {
    for (Worker& worker : workers_) {
        for (contract::Answer& answer : worker.mailbox->take_answers()) {
            std::visit([&](auto& taken) { handle(worker, taken); }, answer);
        }
    }
    settle();
}

void Node::handle(Worker& worker, const contract::Applied& answer) {
    // Of an older generation: it came too late, and another one is on its way. 0: the worker could
    // not even begin.
    if (worker.gone) return;
    if (answer.generation != builder_.current()->generation && answer.generation != 0) return;
    worker.applying = false;
    worker.error = answer.error;
}

void Node::handle(Worker& worker, contract::Reported& answer) {
    const auto found = collections_.find(answer.ticket);
    if (found == collections_.end()) return;  // too late
    const auto index = static_cast<size_t>(&worker - workers_.data());
    found->second.reports[index] = std::move(answer.report);
}

void Node::handle(Worker& worker, const contract::Drained&) {
    worker.drained = true;
}

void Node::handle(Worker& worker, const contract::Stopped&) {
    worker.gone = true;
    const bool owed_an_answer = std::exchange(worker.applying, false);
    if (state_ == NodeState::kStopping) return;
    if (owed_an_answer || worker.error.empty()) worker.error = "has stopped";
    log::error("a worker has stopped by itself: " + worker.error);
}

void Node::settle() {
    const auto all = [this](auto is) { return std::all_of(workers_.begin(), workers_.end(), is); };
    if (apply_done_ && all([](const Worker& worker) { return !worker.applying; })) finish_apply();

    std::vector<uint64_t> complete;
    for (const auto& [ticket, collection] : collections_) {
        if (is_complete(collection)) complete.push_back(ticket);
    }
    for (const uint64_t ticket : complete)
        finish_collection(ticket);

    if (state_ == NodeState::kDraining &&
        all([](const Worker& worker) { return worker.drained || worker.gone; })) {
        stop();
        return;
    }
    // Workers may also leave without being asked; then nobody serves, and that is a stop too.
    const bool may_end = state_ == NodeState::kStopping || !workers_.empty();
    if (state_ != NodeState::kStopped && may_end &&
        all([](const Worker& worker) { return worker.gone; })) {
        finish_stop(true);
    }
}

}  // namespace sluice::control
