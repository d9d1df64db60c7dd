// Accepting through io_uring: one multishot accept stands as long as the listener does.
#pragma once

#include <memory>

#include "dataplane/io/listener.h"
#include "dataplane/io/uring_engine.h"

namespace sluice::io {

class UringListener final : public Listener {
  public:
    static std::unique_ptr<Acceptor> start(UringEngine& engine, Descriptor socket,
                                           AcceptHandler& handler);
    ~UringListener() override;

  private:
    class Request;

    UringListener(UringEngine& engine, Descriptor socket, AcceptHandler& handler);
    void on_ready(uint32_t events) override;  // a pause is over
    void accepted(Descriptor socket);
    void ended(int result);

    UringEngine& uring_;
    std::unique_ptr<Request> request_;
};

}  // namespace sluice::io
