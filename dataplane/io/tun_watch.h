// What others do to our TUN device: ip(8) brings it up and down, gives it another MTU or name,
// moves it to another network namespace, or removes it.
//
// The kernel tells of changes in the namespace where the watch was opened. A device that was moved
// has to be looked at from time to time: a socket that listens in its new namespace would keep
// that namespace alive for as long as we run, and with it the device of a container that is gone.
//
// Thread: control's. look() blocks for the kernel's own work only.
// Source: rtnetlink(7), TUNGETDEVNETNS in linux/drivers/net/tun.c, setns(2).
#pragma once

#include <memory>
#include <string>

#include "dataplane/base/result.h"
#include "dataplane/io/descriptor.h"
#include "dataplane/io/tun.h"

namespace sluice::io {

// The TUN device as others see it.
struct TunLink {
    bool exists = false;
    bool is_elsewhere = false;  // or not to be found: nothing wakes us for it, so look again
    bool is_up = false;
    unsigned mtu = 0;
    std::string interface;  // its name now

    friend bool operator==(const TunLink&, const TunLink&) = default;
};

class TunWatch {
  public:
    // Precondition: the device still has its queues. The watch holds the device open like one of
    // them.
    static Result<std::unique_ptr<TunWatch>> open(const TunDevice& device);

    // Readable when something may have changed; look() makes it quiet again.
    int descriptor() const { return events_.get(); }

    // A device that we cannot ask about, because entering its namespace takes CAP_SYS_ADMIN, is
    // taken to be up, with the MTU that was seen last.
    TunLink look();

  private:
    TunWatch() = default;
    void drain();

    Descriptor tun_;
    Descriptor events_;
    TunLink last_;
};

// Whether the device behind the TUN descriptor lies in the calling thread's network namespace. A
// kernel that cannot tell (before 5.7) moves nothing that we would notice: true.
bool is_in_this_namespace(int tun);

}  // namespace sluice::io
