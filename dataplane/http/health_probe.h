// Asks one server again and again whether it is well: GET of the path that the configuration names,
// over a connection of its own each time, because a server that takes no new connections is not
// well. 200 to 399 within the time-out is a good answer; its body is not read.
//
// The first question goes out at once, later ones after the interval and up to a tenth more or
// less, so that the workers of all nodes do not ask in step.
//
// Thread: the worker's. Ownership: the server's.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

class Server;
class UpstreamPool;

class HealthProbe final : public StreamHandler, public Timer {
  public:
    // Both outlive it.
    HealthProbe(UpstreamPool& pool, Server& server, contract::HealthCheck check);
    ~HealthProbe();

    const contract::HealthCheck& check() const { return check_; }
    void on_stream_ready() override;

  private:
    void on_timer(Now now) override;
    void ask(Now now);
    bool send();
    void receive();
    void judge(Bytes head);
    void conclude(bool good, std::string_view reason);

    UpstreamPool& pool_;
    Server& server_;
    contract::HealthCheck check_;
    std::unique_ptr<ByteStream> stream_;  // null: between two questions
    std::string question_;
    size_t sent_ = 0;
    std::string answer_;
    wire::Http1HeadScanner scanner_;
};

}  // namespace sluice::http
