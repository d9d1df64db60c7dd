// For tests: a worker that answers its mailbox as it is told to, on the loop's own thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control/control_loop.h"
#include "dataplane/contract/mailbox.h"

namespace sluice::control {

class FakeWorker {
  public:
    explicit FakeWorker(ControlLoop& loop, uint32_t index) : loop_(loop), index_(index) {
        mailbox.set_worker_waker([this, weak = std::weak_ptr(alive_)] {
            loop_.post([this, weak] {
                if (weak.lock()) serve();
            });
        });
    }
    ~FakeWorker() { mailbox.set_worker_waker(nullptr); }
    FakeWorker(const FakeWorker&) = delete;
    FakeWorker& operator=(const FakeWorker&) = delete;

    contract::Mailbox mailbox;
    // What it does from now on.
    bool answers = true;
    bool drains = true;
    bool stops = true;
    std::string apply_error;
    contract::WorkerReport report;
    // What happened to it.
    std::vector<std::shared_ptr<const contract::Snapshot>> applied;
    std::vector<std::shared_ptr<const contract::TicketKeys>> ticket_keys;
    bool keys_before_snapshot = false;
    int drains_asked = 0;
    bool stopped = false;

    void leave() { mailbox.answer(contract::Stopped{}); }

  private:
    void serve() {
        for (contract::Command& command : mailbox.take_commands()) {
            if (auto* const apply = std::get_if<contract::ApplySnapshot>(&command)) {
                applied.push_back(apply->snapshot);
                if (answers) {
                    mailbox.answer(contract::Applied{apply->snapshot->generation, apply_error});
                }
            } else if (auto* const keys = std::get_if<contract::SetTicketKeys>(&command)) {
                ticket_keys.push_back(std::move(keys->keys));
                keys_before_snapshot = keys_before_snapshot || applied.empty();
            } else if (const auto* const ask = std::get_if<contract::SendReport>(&command)) {
                report.worker = index_;
                report.generation = applied.empty() ? 0 : applied.back()->generation;
                if (answers) mailbox.answer(contract::Reported{ask->ticket, report});
            } else if (std::holds_alternative<contract::Drain>(command)) {
                ++drains_asked;
                if (drains) mailbox.answer(contract::Drained{});
            } else if (stops) {
                stopped = true;
                mailbox.answer(contract::Stopped{});
            }
        }
    }

    ControlLoop& loop_;
    uint32_t index_;
    std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace sluice::control
