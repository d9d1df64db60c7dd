// A datagram port over a UDP socket: the part that does not depend on how datagrams are received.
#pragma once

#include <memory>

#include "dataplane/io/datagram_sender.h"
#include "dataplane/io/datagram_socket.h"
#include "dataplane/io/engine_core.h"

namespace sluice::io {

class DatagramSocketPort : public DatagramPort, protected TurnParticipant {
  public:
    ~DatagramSocketPort() override;

    uint16_t local_port() const override { return socket_.port; }
    Result<void> set_mark(uint32_t mark) override;
    MutableBytes buffer(size_t size, const Path& path, uint8_t tos) override {
        return sender_.buffer(size, path, tos);
    }
    void commit(size_t size) override { sender_.commit(size); }
    void flush() override;
    void report(std::vector<contract::OffloadReport>& offloads) const override;

  protected:
    DatagramSocketPort(EngineCore& engine, DatagramSocket socket, DatagramHandler& handler);

    // One received message. False: the port was destroyed by the handler.
    bool deliver(const msghdr& message, const SocketAddress& from, MutableBytes bytes);
    // Tells the handler that there is nothing more for now, if it was given anything.
    // False: the port was destroyed by the handler.
    bool end_batch();
    void before_wait() override { flush(); }

    EngineCore& engine_;
    DatagramSocket socket_;

  private:
    // Tries again to send, some time after the kernel took no more.
    class Retry final : public Watcher {
      public:
        explicit Retry(DatagramSocketPort& port) : port_(port), id_(port.engine_.enroll(*this)) {}
        ~Retry() { port_.engine_.unwatch(id_, -1); }
        void start();

      private:
        void on_ready(uint32_t events) override;
        DatagramSocketPort& port_;
        const SlotId id_;
        bool is_pending_ = false;
    };

    DatagramHandler& handler_;
    DatagramSender sender_;
    Retry retry_;
    bool delivered_ = false;
    bool* destroyed_ = nullptr;
    Counter gro_uses_;
};

// Over readiness: recvmmsg until there is nothing more.
Result<std::unique_ptr<DatagramPort>> open_readiness_datagram_port(
    EngineCore& engine, DatagramSocket socket, const DatagramPortOptions& options,
    DatagramHandler& handler);

}  // namespace sluice::io
