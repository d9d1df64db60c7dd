// As many UDP packets of one size as the tunnel carries, each from a system call's worth of its
// own: nothing here asks for segmentation offload.
//
// A TUN device gives its senders no pushback. Sent without a bound, most packets would be made only
// to be dropped at its queue, and the two processors of a small machine would measure who is
// scheduled. So at most a window of packets is on its way at a time; the receiving thread tells the
// sending one over memory that they share, not over the tunnel. What is lost on the way leaves the
// window with the next that arrives.
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "perf/load/options.h"
#include "perf/load/sockets.h"

namespace sluice::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kHeaders = 28;  // IPv4 and UDP
// Packets of one system call. Fewer make the generator dear; more let the window open in jumps.
constexpr size_t kBatch = 32;
// Nothing has come for so long: what is on its way is lost. Longer than a scheduler keeps a program
// waiting on a busy machine.
constexpr auto kLostAfter = std::chrono::milliseconds(20);

// What the two threads share. Packets carry their number, so the highest that came tells what is
// still on its way even when some were lost.
class Window {
  public:
    explicit Window(uint64_t size) : size_(size) {}

    // The receiver: everything up to `number` has come or is lost.
    void arrived_up_to(uint32_t number) {
        highest_.store(number, std::memory_order_release);
        // Half of it open is worth waking up for; each packet would be a system call each.
        if (waiting_.load(std::memory_order_seq_cst) && sent_.load() - number <= size_ / 2) {
            waiting_.store(false);
            futex(FUTEX_WAKE_PRIVATE, 1, nullptr);
        }
    }

    // The sender: waits until a batch more may go. False: what was on its way seems to be lost.
    bool wait_for_room(uint32_t sent) {
        sent_.store(sent);
        uint32_t seen = highest_.load(std::memory_order_acquire);
        while (sent - seen + kBatch > size_) {
            waiting_.store(true, std::memory_order_seq_cst);
            if (const uint32_t now = highest_.load(); now != seen) {
                seen = now;
                continue;
            }
            const timespec limit{.tv_sec = 0,
                                 .tv_nsec = std::chrono::nanoseconds(kLostAfter).count()};
            futex(FUTEX_WAIT_PRIVATE, seen, &limit);
            const uint32_t now = highest_.load(std::memory_order_acquire);
            if (now == seen) {
                highest_.compare_exchange_strong(seen, sent);
                return false;
            }
            seen = now;
        }
        return true;
    }

  private:
    void futex(int operation, uint32_t value, const timespec* limit) {
        syscall(SYS_futex, &highest_, operation, value, limit, nullptr, 0);
    }

    static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "a futex is 32 bits");
    const uint64_t size_;
    std::atomic<uint32_t> highest_ = 0;
    std::atomic<uint32_t> sent_ = 0;
    std::atomic<bool> waiting_ = false;
};

// Room for one system call's packets.
struct Batch {
    Batch(size_t packets, size_t size)
        : bytes(packets * size), vectors(packets), messages(packets) {
        for (size_t i = 0; i < packets; ++i) {
            vectors[i] = {.iov_base = bytes.data() + i * size, .iov_len = size};
            messages[i].msg_hdr.msg_iov = &vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
    }
    std::vector<uint8_t> bytes;
    std::vector<iovec> vectors;
    std::vector<mmsghdr> messages;
};

struct Arrivals {
    uint64_t packets = 0;
    Clock::time_point last;
};

void receive(const Descriptor& socket, size_t payload, const std::atomic<bool>& stop,
             Window& window, Arrivals& arrivals) {
    Batch batch(2 * kBatch, payload);
    while (true) {
        const int count =
            recvmmsg(socket.number(), batch.messages.data(),
                     static_cast<unsigned>(batch.messages.size()), MSG_WAITFORONE, nullptr);
        if (count < 0) {
            if (errno != EAGAIN && errno != EINTR) fail_with_errno("recvmmsg");
            if (stop.load()) return;  // and nothing came for a while
            continue;
        }
        arrivals.packets += static_cast<uint64_t>(count);
        arrivals.last = Clock::now();
        uint32_t number = 0;
        std::memcpy(&number, batch.vectors[static_cast<size_t>(count) - 1].iov_base, sizeof number);
        window.arrived_up_to(number);
    }
}

}  // namespace

void flood(Options& options) {
    const Descriptor from =
        open_udp(options.text("from-namespace"), address_of(options.text("from"), 0));
    const std::string to_address = options.text("to");
    const Descriptor to = open_udp(options.text("to-namespace"), address_of(to_address, 0));
    const uint64_t size = options.number("size");
    const auto duration = std::chrono::milliseconds(options.number("milliseconds"));
    const uint64_t window_size = options.number("window");
    options.finish();
    if (size < kHeaders + sizeof(uint32_t)) fail("--size is too small for a number");
    if (window_size < 2 * kBatch) fail("--window is too small for two batches");

    set_receive_timeout(to, 100);
    const sockaddr_in target = address_of(to_address, port_of(to));
    if (connect(from.number(), reinterpret_cast<const sockaddr*>(&target), sizeof target))
        fail_with_errno("connect");

    const size_t payload = size - kHeaders;
    Window window(window_size);
    std::atomic<bool> stop = false;
    Arrivals arrivals;
    std::thread receiver([&] { receive(to, payload, stop, window, arrivals); });

    Batch batch(kBatch, payload);
    uint32_t sent = 0;
    uint64_t stalls = 0;
    const auto start = Clock::now();
    while (Clock::now() - start < duration) {
        if (!window.wait_for_room(sent)) ++stalls;
        for (size_t i = 0; i < kBatch; ++i) {
            const uint32_t number = sent + static_cast<uint32_t>(i) + 1;
            std::memcpy(batch.vectors[i].iov_base, &number, sizeof number);
        }
        const int count = sendmmsg(from.number(), batch.messages.data(), kBatch, 0);
        if (count < 0) fail_with_errno("sendmmsg");
        sent += static_cast<uint32_t>(count);
    }
    stop = true;
    receiver.join();

    const double seconds = arrivals.packets
                               ? std::chrono::duration<double>(arrivals.last - start).count()
                               : std::chrono::duration<double>(duration).count();
    std::printf("{\"sent\": %u, \"received\": %llu, \"seconds\": %.6f, \"stalls\": %llu}\n", sent,
                static_cast<unsigned long long>(arrivals.packets), seconds,
                static_cast<unsigned long long>(stalls));
}

}  // namespace sluice::perf
