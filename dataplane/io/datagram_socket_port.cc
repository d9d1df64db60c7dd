#include "dataplane/io/datagram_socket_port.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace sluice::io {

namespace {

// When the socket's send buffer is full, it is tried again at every turn, and after this time if
// nothing else makes a turn. At 10 Gbit/s a buffer of 7 MB drains in 5.6 ms, so 1 ms wastes none of
// it; being told by POLLOUT instead would cost a wake-up for every single packet that leaves.
constexpr Duration kSendRetry = std::chrono::milliseconds(1);

// What one turn takes from the socket before others get their turn: about a millisecond's work at
// the 1 GB/s at which one core decrypts, or at some 4 µs for each message.
constexpr size_t kBytesPerTurn = 1 << 20;
constexpr size_t kMessagesPerTurn = 256;

// Messages in one recvmmsg. Small datagrams: 64, to share the call. GRO batches: as many as fill
// kBatchBytes, so that what the kernel copied is still in the L2 cache when it is decrypted.
constexpr size_t kMessagesMax = 64;
constexpr size_t kMessagesMin = 4;
constexpr size_t kBatchBytes = 256 << 10;

class ReadinessDatagramPort final : public DatagramSocketPort, private Watcher {
  public:
    ~ReadinessDatagramPort() override { engine_.unwatch(id_, socket_.descriptor.get()); }

    static Result<std::unique_ptr<DatagramPort>> open(EngineCore& engine, DatagramSocket socket,
                                                      const DatagramPortOptions& options,
                                                      DatagramHandler& handler) {
        std::unique_ptr<ReadinessDatagramPort> port(new ReadinessDatagramPort(
            engine, std::move(socket), options.receive_buffer_bytes, handler));
        const auto id = engine.watch(port->socket_.descriptor.get(), POLLIN, *port);
        if (!id) return fail("cannot watch a UDP socket: " + error_text(id.error()));
        port->id_ = *id;
        return port;
    }

  private:
    struct Message {
        SocketAddress from;
        iovec bytes;
        alignas(cmsghdr) std::array<uint8_t, kReceiveControlBytes> control;
    };

    ReadinessDatagramPort(EngineCore& engine, DatagramSocket socket, size_t buffer_bytes,
                          DatagramHandler& handler)
        : DatagramSocketPort(engine, std::move(socket), handler),
          buffer_bytes_(buffer_bytes),
          memory_(std::make_unique_for_overwrite<uint8_t[]>(kMessagesMax * buffer_bytes)) {
        for (size_t i = 0; i < kMessagesMax; ++i) {
            messages_[i].bytes = {memory_.get() + i * buffer_bytes, buffer_bytes};
            make_ready(i);
        }
    }

    void make_ready(size_t i) {
        msghdr& header = headers_[i].msg_hdr;
        header.msg_name = &messages_[i].from;
        header.msg_namelen = sizeof messages_[i].from;
        header.msg_iov = &messages_[i].bytes;
        header.msg_iovlen = 1;
        header.msg_control = messages_[i].control.data();
        header.msg_controllen = messages_[i].control.size();
        header.msg_flags = 0;
    }

    void on_ready(uint32_t) override {
        size_t bytes = 0;
        size_t messages = 0;
        while (bytes < kBytesPerTurn && messages < kMessagesPerTurn) {
            const int got =
                recvmmsg(socket_.descriptor.get(), headers_.data(), batch_, MSG_DONTWAIT, nullptr);
            if (got < 0 && errno == EINTR) continue;
            // No other error is expected: nothing is connected, so ICMP errors do not come here.
            if (got <= 0) {
                end_batch();
                return;
            }
            const size_t batch_bytes = hand_up(static_cast<size_t>(got));
            if (batch_bytes == SIZE_MAX) return;
            bytes += batch_bytes;
            messages += static_cast<size_t>(got);
            const size_t average = batch_bytes / static_cast<size_t>(got) + 1;
            batch_ = static_cast<unsigned>(
                std::clamp(kBatchBytes / average, kMessagesMin, kMessagesMax));
        }
        // The edge is used up and datagrams may be left.
        engine_.run_again(id_);
        end_batch();
    }

    // How many bytes came; SIZE_MAX: the port is gone.
    size_t hand_up(size_t count) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; ++i) {
            const size_t size = headers_[i].msg_len;
            bytes += size;
            if (!deliver(headers_[i].msg_hdr, messages_[i].from,
                         {memory_.get() + i * buffer_bytes_, size})) {
                return SIZE_MAX;
            }
            make_ready(i);
        }
        return bytes;
    }

    void after_dispatch() override {}

    const size_t buffer_bytes_;
    std::unique_ptr<uint8_t[]> memory_;
    std::array<Message, kMessagesMax> messages_{};
    std::array<mmsghdr, kMessagesMax> headers_{};
    unsigned batch_ = kMessagesMax;
    SlotId id_ = kNoSlot;
};

}  // namespace

DatagramSocketPort::DatagramSocketPort(EngineCore& engine, DatagramSocket socket,
                                       DatagramHandler& handler)
    : engine_(engine),
      socket_(std::move(socket)),
      handler_(handler),
      sender_(socket_, engine.drops()),
      retry_(*this) {
    engine_.join(*this);
}

DatagramSocketPort::~DatagramSocketPort() {
    engine_.leave(*this);
    if (destroyed_ != nullptr) *destroyed_ = true;
}

Result<void> DatagramSocketPort::set_mark(uint32_t mark) {
    if (setsockopt(socket_.descriptor.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0)
        return {};
    return fail("cannot set the firewall mark of the UDP socket: " + error_text(errno) +
                "; it needs CAP_NET_ADMIN");
}

void DatagramSocketPort::flush() {
    if (!sender_.flush()) retry_.start();
}

void DatagramSocketPort::Retry::start() {
    if (is_pending_) return;
    is_pending_ = true;
    port_.engine_.run_at(port_.engine_.now().mono + kSendRetry, id_);
}

void DatagramSocketPort::Retry::on_ready(uint32_t) {
    is_pending_ = false;
    port_.flush();
}

bool DatagramSocketPort::deliver(const msghdr& message, const SocketAddress& from,
                                 MutableBytes bytes) {
    // Without all of its control messages the segment size may be missing.
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        engine_.drops().add(DropReason::kDatagramTruncated);
        return true;
    }
    const ReceivedFacts facts = facts_of(message, from, bytes.size());
    if (facts.segment_size < bytes.size()) gro_uses_.add();
    delivered_ = true;
    bool destroyed = false;
    destroyed_ = &destroyed;
    handler_.on_datagrams(bytes, facts.segment_size, facts.path, facts.tos);
    if (destroyed) return false;
    destroyed_ = nullptr;
    return true;
}

bool DatagramSocketPort::end_batch() {
    if (!delivered_) return true;
    delivered_ = false;
    bool destroyed = false;
    destroyed_ = &destroyed;
    handler_.on_datagrams_end();
    if (destroyed) return false;
    destroyed_ = nullptr;
    return true;
}

void DatagramSocketPort::report(std::vector<contract::OffloadReport>& offloads) const {
    sender_.report(offloads);
    offloads.push_back(socket_.gro.report("udp_gro", gro_uses_.value()));
}

Result<std::unique_ptr<DatagramPort>> open_readiness_datagram_port(
    EngineCore& engine, DatagramSocket socket, const DatagramPortOptions& options,
    DatagramHandler& handler) {
    return ReadinessDatagramPort::open(engine, std::move(socket), options, handler);
}

}  // namespace sluice::io
