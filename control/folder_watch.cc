#include "control/folder_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace sluice::control {

FolderWatch::FolderWatch(ControlLoop& loop, const std::string& folder, std::function<void()> look)
    : loop_(loop), look_(std::move(look)) {
    descriptor_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    constexpr uint32_t kEvents = IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF;
    if (descriptor_ < 0 || ::inotify_add_watch(descriptor_, folder.c_str(), kEvents) < 0) {
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
        look_later();
        return;
    }
    loop_.watch(descriptor_, EPOLLIN, [this](uint32_t) {
        alignas(inotify_event) char ignored[4096];
        while (::read(descriptor_, ignored, sizeof ignored) > 0) {
        }
        const auto call = look_;  // a copy, because the watch may go meanwhile
        call();
    });
}

FolderWatch::~FolderWatch() {
    loop_.cancel(timer_);
    if (descriptor_ < 0) return;
    loop_.forget(descriptor_);
    ::close(descriptor_);
}

void FolderWatch::look_later() {
    timer_ = loop_.after(std::chrono::seconds(1), [this] {
        look_later();
        const auto call = look_;
        call();
    });
}

}  // namespace sluice::control
