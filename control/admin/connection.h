// One caller of the control socket: reads one request, waits for its answer, writes it, leaves.
// Thread: the loop's. Ownership: the server holds it; it ends by asking the server to let it go.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "control/admin/request_reader.h"
#include "control/admin/server.h"

namespace sluice::admin {

class Server::Connection : public std::enable_shared_from_this<Server::Connection> {
  public:
    // Takes over the descriptor.
    Connection(Server& server, int descriptor);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void begin();
    void refuse(const Response& response) { answer(response); }
    bool awaits_request() const { return state_ == State::kReading; }

  private:
    enum class State { kReading, kWaiting, kWriting, kLeaving };

    void on_event(uint32_t events);
    void read_request();
    void dispatch();
    void answer(const Response& response);
    void write_more();
    void leave();
    void discard_rest();
    void restart_timer(Duration delay, std::function<void()> task);

    Server& server_;
    int descriptor_;
    State state_ = State::kReading;
    RequestReader reader_;
    bool continue_sent_ = false;
    std::string output_;
    size_t written_ = 0;
    control::ControlLoop::TimerId timer_ = 0;
};

}  // namespace sluice::admin
