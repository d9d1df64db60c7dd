#include "dataplane/io/tun_port.h"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::io {

namespace {

// What one turn takes from the device before others get their turn; as for datagrams, about a
// millisecond of encryption.
constexpr size_t kBytesPerTurn = 1 << 20;
constexpr size_t kPacketsPerTurn = 256;

// Header plus as many pieces as one packet can sensibly be made of.
constexpr size_t kPiecesMax = 15;

// In front of what is read, so that the IP header behind the virtio header starts on a cache line.
constexpr size_t kLead = 64 - sizeof(VirtioHeader);

class DescriptorTunPort final : public TunPort, private Watcher {
  public:
    static Result<std::unique_ptr<TunPort>> open(EngineCore& engine, TunQueue queue,
                                                 TunHandler& handler) {
        std::unique_ptr<DescriptorTunPort> port(
            new DescriptorTunPort(engine, TunQueueContent(std::move(queue)), handler));
        const auto id = engine.watch(port->queue_.descriptor.get(), POLLIN, *port);
        if (!id) return fail("cannot watch the TUN device: " + error_text(id.error()));
        port->id_ = *id;
        return port;
    }

    ~DescriptorTunPort() override {
        engine_.unwatch(id_, queue_.descriptor.get());
        if (destroyed_ != nullptr) *destroyed_ = true;
    }

    bool write(const VirtioHeader& header, std::span<const Bytes> pieces) override {
        std::array<iovec, kPiecesMax + 1> vectors;
        if (pieces.size() > kPiecesMax) return false;
        vectors[0] = {const_cast<VirtioHeader*>(&header), sizeof header};
        size_t size = sizeof header;
        for (size_t i = 0; i < pieces.size(); ++i) {
            vectors[i + 1] = {const_cast<uint8_t*>(pieces[i].data()), pieces[i].size()};
            size += pieces[i].size();
        }
        ssize_t written;
        do {
            written = writev(queue_.descriptor.get(), vectors.data(),
                             static_cast<int>(pieces.size() + 1));
        } while (written < 0 && errno == EINTR);
        if (written != static_cast<ssize_t>(size)) return false;
        count(header);
        return true;
    }

  private:
    DescriptorTunPort(EngineCore& engine, TunQueueContent queue, TunHandler& handler)
        : engine_(engine), queue_(std::move(queue)), handler_(handler) {}

    void count(const VirtioHeader& header) {
        switch (header.gso_type & ~VirtioHeader::kGsoEcn) {
            case VirtioHeader::kGsoTcp4:
            case VirtioHeader::kGsoTcp6:
                queue_.uses->tcp.add();
                break;
            case VirtioHeader::kGsoUdpL4:
                queue_.uses->udp.add();
                break;
            default:
                break;
        }
    }

    void on_ready(uint32_t) override {
        bool destroyed = false;
        destroyed_ = &destroyed;
        size_t bytes = 0;
        size_t packets = 0;
        bool is_empty = false;
        while (!is_empty && bytes < kBytesPerTurn && packets < kPacketsPerTurn) {
            uint8_t* start = buffer_.data() + kLead;
            const ssize_t got = read(queue_.descriptor.get(), start, kTunPacketBytesMax);
            if (got < 0 && errno == EINTR) continue;
            // EAGAIN; or EBADFD, when somebody removed the device: then nothing comes any more.
            if (got < static_cast<ssize_t>(sizeof(VirtioHeader))) {
                is_empty = true;
                continue;
            }
            VirtioHeader header;
            std::memcpy(&header, start, sizeof header);
            count(header);
            const size_t size = static_cast<size_t>(got) - sizeof header;
            handler_.on_tun_packet(header, {start + sizeof header, size});
            if (destroyed) return;
            bytes += size;
            ++packets;
        }
        // The edge is used up and packets may be left.
        if (!is_empty) engine_.run_again(id_);
        if (packets > 0) handler_.on_tun_packets_end();
        if (!destroyed) destroyed_ = nullptr;
    }

    EngineCore& engine_;
    TunQueueContent queue_;
    TunHandler& handler_;
    SlotId id_ = kNoSlot;
    bool* destroyed_ = nullptr;
    alignas(64) std::array<uint8_t, kLead + kTunPacketBytesMax> buffer_;
};

}  // namespace

Result<std::unique_ptr<TunPort>> open_tun_port(EngineCore& engine, TunQueue queue,
                                               TunHandler& handler) {
    return DescriptorTunPort::open(engine, std::move(queue), handler);
}

}  // namespace sluice::io
