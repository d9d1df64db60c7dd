#include "dataplane/io/tun_watch.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>

#include "dataplane/io/netlink.h"

namespace sluice::io {

namespace {

// The network namespace that the device lies in now; closed: the kernel does not tell.
Descriptor namespace_of(int tun) {
    return Descriptor(ioctl(tun, TUNGETDEVNETNS));
}

bool is_this_namespace(const Descriptor& other) {
    const Descriptor own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    struct stat ours{};
    struct stat theirs{};
    if (!own.is_open() || fstat(own.get(), &ours) != 0 || fstat(other.get(), &theirs) != 0) {
        return true;
    }
    return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

// The link of this name in the calling thread's namespace; ENODEV: there is none.
int find_link(const std::string& name, Link& link) {
    auto netlink = Netlink::open();
    return netlink ? netlink->find_link(name, link) : EMFILE;
}

// The same in another namespace. A thread of its own goes there and ends, because one that had to
// come back could fail to, and then do all that it does in the wrong place.
int find_link_in(const Descriptor& there, const std::string& name, Link& link) {
    int error = 0;
    const auto go = [&] {
        error = setns(there.get(), CLONE_NEWNET) == 0 ? find_link(name, link) : errno;
    };
    try {
        std::thread(go).join();
    } catch (const std::system_error&) {
        return EAGAIN;
    }
    return error;
}

std::optional<std::string> name_of(int tun) {
    ifreq attached{};
    if (ioctl(tun, TUNGETIFF, &attached) != 0) return std::nullopt;
    attached.ifr_name[IFNAMSIZ - 1] = 0;
    return attached.ifr_name;
}

}  // namespace

bool is_in_this_namespace(int tun) {
    const Descriptor there = namespace_of(tun);
    return !there.is_open() || is_this_namespace(there);
}

Result<std::unique_ptr<TunWatch>> TunWatch::open(const TunDevice& device) {
    std::unique_ptr<TunWatch> watch(new TunWatch);
    watch->tun_ = Descriptor(fcntl(device.queues_.front().descriptor_, F_DUPFD_CLOEXEC, 0));
    watch->events_ =
        Descriptor(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (!watch->tun_.is_open() || !watch->events_.is_open() ||
        bind(watch->events_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0) {
        return fail("cannot watch interface " + device.interface_ + ": " + error_text(errno));
    }
    return watch;
}

// What the messages say is not looked at: they may be lost when many come at once, and the device
// may have changed again since.
void TunWatch::drain() {
    std::array<char, 4096> ignored;
    for (;;) {
        const ssize_t got = recv(events_.get(), ignored.data(), ignored.size(), MSG_TRUNC);
        const bool goes_on = got >= 0 || errno == EINTR || errno == ENOBUFS;
        if (!goes_on) return;
    }
}

TunLink TunWatch::look() {
    drain();
    // It may be moved or renamed between one question and the next.
    static constexpr int kTries = 3;
    bool may_ask = true;
    for (int i = 0; i < kTries; ++i) {
        const auto name = name_of(tun_.get());
        if (!name) {
            last_ = TunLink{};
            return last_;
        }
        const Descriptor there = namespace_of(tun_.get());
        may_ask = there.is_open() || errno != EPERM;
        const bool is_here = !there.is_open() || is_this_namespace(there);
        Link link;
        const int error = is_here ? find_link(*name, link) : find_link_in(there, *name, link);
        if (error == ENODEV) continue;
        last_.exists = true;
        last_.is_elsewhere = !is_here;
        last_.interface = *name;
        if (error == 0) {
            last_.is_up = link.is_up;
            last_.mtu = link.mtu;
        } else {
            last_.is_up = true;
        }
        return last_;
    }
    // It is on its way, perhaps out of the world: a namespace that ends does not let itself be
    // asked about any more.
    last_.exists = true;
    last_.is_elsewhere = true;
    if (!may_ask) last_.is_up = true;
    return last_;
}

}  // namespace sluice::io
