// The way between control and one worker: commands down, answers up. Both are rare, so a lock
// guards them; a worker looks inside only after it was woken.
// Thread: any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::contract {

// Take this snapshot; connections that are open go on with it from their next request.
struct ApplySnapshot {
    std::shared_ptr<const Snapshot> snapshot;
};
// Seal session tickets with these from now on. Sent before the first snapshot, and then whenever
// control rotates them; without it a worker gives out no tickets.
struct SetTicketKeys {
    std::shared_ptr<const TicketKeys> keys;
};
// Where the servers with names are now (ServerConfig::dns_name). Control looks them up; a name that
// cannot be looked up keeps its last addresses.
struct SetAddresses {
    std::shared_ptr<const AddressBook> book;
};
// Fill a report and send it up.
struct SendReport {
    uint64_t ticket = 0;
};
// Close the listeners, close idle connections, let requests in progress end; answer Drained when
// the last has. The tunnel goes on, because connections of other workers may come through it; so
// control sends Stop when every worker has drained, or when it has waited long enough.
struct Drain {};
// Leave the loop now.
struct Stop {};

using Command = std::variant<ApplySnapshot, SetTicketKeys, SetAddresses, SendReport, Drain, Stop>;

struct Applied {
    uint64_t generation = 0;
    // Non-empty: what the worker could not take on (a listener's port is in use, …); all else in
    // the snapshot is served all the same.
    std::string error;
};
struct Reported {
    uint64_t ticket = 0;
    WorkerReport report;
};
struct Drained {};
struct Stopped {};

using Answer = std::variant<Applied, Reported, Drained, Stopped>;

class Mailbox {
  public:
    // Each is called, from the sender's thread, after something was put in.
    void set_worker_waker(std::function<void()> waker);
    void set_control_waker(std::function<void()> waker);

    void send(Command command);            // control
    std::vector<Command> take_commands();  // worker
    void answer(Answer answer);            // worker
    std::vector<Answer> take_answers();    // control

  private:
    std::mutex mutex_;
    std::vector<Command> commands_;
    std::vector<Answer> answers_;
    std::function<void()> wake_worker_;
    std::function<void()> wake_control_;
};

}  // namespace sluice::contract
