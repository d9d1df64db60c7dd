// Receiving datagrams through io_uring: one multishot recvmsg fills buffers out of a ring that we
// keep filled, so that a turn's datagrams have all arrived with the call that waited for them.
#pragma once

#include <memory>

#include "dataplane/io/datagram_socket_port.h"
#include "dataplane/io/uring_engine.h"

namespace sluice::io {

class UringDatagramPort final : public DatagramSocketPort, private Watcher {
  public:
    static Result<std::unique_ptr<DatagramPort>> open(UringEngine& engine, DatagramSocket socket,
                                                      const DatagramPortOptions& options,
                                                      DatagramHandler& handler);
    ~UringDatagramPort() override;

  private:
    class Request;

    UringDatagramPort(UringEngine& engine, DatagramSocket socket, DatagramHandler& handler);
    void on_ready(uint32_t events) override;  // receive again after an error
    void before_wait() override;
    void after_dispatch() override { end_batch(); }
    bool received(const msghdr& message, const SocketAddress& from, MutableBytes bytes) {
        return deliver(message, from, bytes);
    }

    UringEngine& uring_;
    const SlotId id_;
    std::unique_ptr<Request> request_;
};

}  // namespace sluice::io
