// The node as control sees it: one configuration file (or only a tunnel), the snapshot made of it,
// and the workers that serve it. Everything that takes time answers later, through a callback on
// the loop's thread.
//
// Not its job: making threads, engines and the TUN device (main.cc), and speaking to people
// (admin/). Thread: the loop's. Workers are reached through their mailboxes only. Failure: a file
// that is wrong, or a snapshot that the machine refuses, never replaces the one that is being
// served. A worker that does not answer in time is named; nothing waits for it for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/config/load.h"
#include "control/control_loop.h"
#include "control/resolver.h"
#include "control/snapshot/builder.h"
#include "control/ticket_key_rotation.h"
#include "dataplane/base/random.h"
#include "dataplane/contract/mailbox.h"

namespace sluice::control {

struct NodeOptions {
    std::string config_file;
    config::Environment machine;
    // How long a worker may take to answer. A turn of its loop lasts microseconds, and taking on
    // ten thousand routes milliseconds, so a worker that needs seconds is stuck.
    Duration answer_timeout = std::chrono::seconds(5);
    // How long requests in progress may go on after drain(): less than the 30 seconds that
    // Kubernetes gives a pod, so that we leave by ourselves and are not killed.
    Duration drain_timeout = std::chrono::seconds(25);
    // How long one key seals TLS session tickets. Whoever learns it can read what TLS 1.2 clients
    // said in that time and a day more; shorter only means more keys to try.
    Duration ticket_key_period = std::chrono::hours(12);
    // For how long a start that workers could not take on is tried again. When a process is killed,
    // the kernel ends its io_uring a little later than it, and until then the ports are in use:
    // milliseconds, unless the machine is busy. Without it, a node that is started again at once
    // does not start.
    Duration start_patience = std::chrono::seconds(1);
    ResolverOptions resolver;
};

// What became of reading the configuration file.
struct LoadOutcome {
    bool ok = false;
    bool changed = false;               // a new generation is served
    uint64_t generation = 0;            // that is served now; 0: none yet
    std::vector<std::string> errors;    // why it was refused; "FILE:LINE:COLUMN: …"
    std::vector<std::string> warnings;  // taken all the same
    // What workers could not take on of a snapshot that is otherwise served, such as a port in use.
    std::vector<std::string> worker_errors;
};

struct CollectedReports {
    std::vector<contract::WorkerReport> reports;  // by worker
    std::vector<uint32_t> silent;                 // workers that did not answer in time
};

enum class NodeState : uint8_t { kStarting, kServing, kDraining, kStopping, kStopped };
std::string_view name_of(NodeState state);

class Node {
  public:
    // Brings what belongs to the whole machine (addresses, routes and MTU of the TUN device) to
    // what `next` says, before workers get it. An error refuses the snapshot. `previous`: never
    // null.
    using Prepare = std::function<Result<void>(const contract::Snapshot& next,
                                               const contract::Snapshot& previous)>;
    using LoadDone = std::function<void(const LoadOutcome&)>;
    using ReportsDone = std::function<void(CollectedReports)>;

    // References outlive the node.
    Node(ControlLoop& loop, Random& random, NodeOptions options);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // The first reading, before anything runs. Makes the private key file if there is none.
    LoadOutcome load();

    // Instead of load(): a tunnel and nothing else, without a file behind it. Only change_tunnel()
    // changes it; reload() is refused, and config() may not be asked for.
    void serve_only(const contract::WireguardConfig& wireguard);

    // After a good load().
    const config::Config& config() const { return loaded_->config; }
    const std::shared_ptr<const contract::Snapshot>& snapshot() const { return builder_.current(); }

    void set_prepare(Prepare prepare) { prepare_ = std::move(prepare); }

    // Gives the snapshot to the workers, one mailbox each; `done` hears what they could not take
    // on. Mailboxes outlive the node. Their threads may start before or after.
    void start(std::vector<contract::Mailbox*> mailboxes, LoadDone done);

    // Reads the file again. Calls while one is running share the next, so a storm of them costs
    // two.
    void reload(LoadDone done);

    // Serves another tunnel configuration than the file's, until the next reload. Precondition: the
    // node has a tunnel, and `wireguard` is one that the file could have. All or nothing: what a
    // worker refuses (a port in use) is taken back.
    void change_tunnel(contract::WireguardConfig wireguard, LoadDone done);

    // Called after every reload that was not refused, also where nothing changed.
    void set_on_reloaded(std::function<void()> on_reloaded) {
        on_reloaded_ = std::move(on_reloaded);
    }

    // Asks every worker for its report.
    void collect_reports(ReportsDone done);

    // Requests in progress end, then the node stops; at the latest after drain_timeout. A second
    // call changes nothing.
    void drain();
    // Stops at once. `on_stopped` (set_on_stopped) is called when every worker has left, or at the
    // latest after answer_timeout.
    void stop();
    // `clean`: every worker has left its loop, so that its thread can be joined.
    void set_on_stopped(std::function<void(bool clean)> on_stopped) {
        on_stopped_ = std::move(on_stopped);
    }

    NodeState state() const { return state_; }
    size_t worker_count() const { return workers_.size(); }
    Instant started() const { return started_; }

    struct LastReload {
        LoadOutcome outcome;
        WallTime time{};
    };
    // Unset before the first reload().
    const std::optional<LastReload>& last_reload() const { return last_reload_; }

  private:
    struct Worker {
        contract::Mailbox* mailbox = nullptr;
        bool gone = false;      // answered Stopped
        bool drained = false;   // answered Drained
        bool applying = false;  // owes an Applied
        std::string error;      // of the last Applied
    };
    struct Collection {
        // By worker; unset: has not answered.
        std::vector<std::optional<contract::WorkerReport>> reports;
        ControlLoop::TimerId timer = 0;
        ReportsDone done;
    };

    struct TunnelChange {
        contract::WireguardConfig wireguard;
        LoadDone done;
    };

    void send_first(Instant until, LoadDone done);
    bool is_busy() const { return apply_done_ != nullptr || !reloads_running_.empty(); }
    LoadOutcome reread();
    bool prepare_and_take(const snapshot::Builder::Built& built, LoadOutcome& outcome);
    bool take_on(config::Loaded loaded, LoadOutcome& outcome);
    // After one change is through: begins the next that waits, from the loop and not from inside
    // the last one, so that callers who ask again and again do not deepen the stack.
    void begin_next_later();
    void rotate_ticket_keys();
    void begin_next();
    void run_reload();
    void run_tunnel_change(TunnelChange change);
    void undo_tunnel_change(const contract::WireguardConfig& before, const LoadOutcome& refused,
                            LoadDone done);
    void finish_reload(const LoadOutcome& outcome);
    void send_snapshot(LoadOutcome outcome, LoadDone done);
    // Looks up the names of the snapshot's servers from now on, and tells workers where they are.
    void follow_names(const contract::Snapshot& snapshot);
    void finish_apply();
    std::vector<std::string> worker_errors() const;
    void take_answers();
    void handle(Worker& worker, const contract::Applied& answer);
    void handle(Worker& worker, contract::Reported& answer);
    void handle(Worker& worker, const contract::Drained& answer);
    void handle(Worker& worker, const contract::Stopped& answer);
    bool is_complete(const Collection& collection) const;
    void finish_collection(uint64_t ticket);
    // After every change of what workers have answered: ends what is complete.
    void settle();
    void finish_stop(bool clean);

    ControlLoop& loop_;
    Random& random_;
    NodeOptions options_;
    Prepare prepare_;
    std::function<void(bool)> on_stopped_;
    std::function<void()> on_reloaded_;
    NodeState state_ = NodeState::kStarting;
    Instant started_;
    std::optional<config::Loaded> loaded_;
    snapshot::Builder builder_;
    std::vector<Worker> workers_;
    TicketKeyRotation ticket_keys_;
    ControlLoop::TimerId ticket_key_timer_ = 0;
    ControlLoop::TimerId start_timer_ = 0;
    std::unique_ptr<Resolver> resolver_;  // null: no server was ever configured by name

    // The snapshot on its way to the workers.
    LoadOutcome applying_;
    LoadDone apply_done_;  // set: on its way
    ControlLoop::TimerId apply_timer_ = 0;

    std::vector<LoadDone> reloads_running_;    // share the reload that is running
    std::vector<LoadDone> reloads_next_;       // came meanwhile
    std::deque<TunnelChange> tunnel_changes_;  // wait for their turn
    std::optional<LastReload> last_reload_;

    uint64_t next_ticket_ = 1;
    std::map<uint64_t, Collection> collections_;
    ControlLoop::TimerId stop_timer_ = 0;

    // Tasks that workers' threads posted may run after the node is gone; they look here first.
    std::shared_ptr<Node*> self_;
};

}  // namespace sluice::control
