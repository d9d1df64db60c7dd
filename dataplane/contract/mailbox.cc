#include "dataplane/contract/mailbox.h"

#include <utility>

namespace sluice::contract {

void Mailbox::set_worker_waker(std::function<void()> waker) {
    const std::lock_guard lock(mutex_);
    wake_worker_ = std::move(waker);
}

void Mailbox::set_control_waker(std::function<void()> waker) {
    const std::lock_guard lock(mutex_);
    wake_control_ = std::move(waker);
}

void Mailbox::send(Command command) {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
    if (wake_worker_) wake_worker_();
}

std::vector<Command> Mailbox::take_commands() {
    const std::lock_guard lock(mutex_);
    return std::exchange(commands_, {});
}

void Mailbox::answer(Answer answer) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(answer));
    if (wake_control_) wake_control_();
}

std::vector<Answer> Mailbox::take_answers() {
    const std::lock_guard lock(mutex_);
    return std::exchange(answers_, {});
}

}  // namespace sluice::contract
