// Tells when something in a folder was made, removed or renamed. Where the kernel has no watches
// left to give (fs.inotify.max_user_instances), it asks to look once a second instead.
//
// Thread: the loop's.
#pragma once

#include <functional>
#include <string>

#include "control/control_loop.h"

namespace sluice::control {

class FolderWatch {
  public:
    // `loop` outlives the watch. `look` is called for any change, also those that are not about
    // the file that the caller cares for; it may destroy the watch.
    FolderWatch(ControlLoop& loop, const std::string& folder, std::function<void()> look);
    ~FolderWatch();
    FolderWatch(const FolderWatch&) = delete;
    FolderWatch& operator=(const FolderWatch&) = delete;

  private:
    void look_later();

    ControlLoop& loop_;
    std::function<void()> look_;
    int descriptor_ = -1;
    ControlLoop::TimerId timer_ = 0;
};

}  // namespace sluice::control
