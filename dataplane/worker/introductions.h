// Connections from load balancers that the configuration names, until they have said on whose
// behalf they come: each begins with a header of the PROXY protocol, and what follows is the
// client's.
//
// Of the connection only the header is read, so that TLS or HTTP finds its stream as if the client
// had opened it. A connection that was introduced never counts as one that came through the tunnel,
// whatever its header says: the header is the load balancer's word, and that word may speak of any
// address.
//
// Failure: without a right header the connection is closed, and a drop is counted; only one that
// ends before it said a byte (how many load balancers look whether we are there) is not.
// Thread: the worker's. Memory: as much as of the header has been asked for, at most 4 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/drop_reason.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/http/proxy.h"
#include "dataplane/wire/proxy_protocol.h"

namespace sluice::worker {

class Introductions {
  public:
    class Host {
      public:
        // The header is read. `facts` have the addresses that it names; if it names none
        // (`for_client` is false: the load balancer speaks for itself), they are those of the
        // connection.
        virtual void on_introduced(std::unique_ptr<ByteStream> stream, http::ClientFacts facts,
                                   bool for_client) = 0;

      protected:
        ~Host() = default;
    };

    // All of these outlive it.
    Introductions(TimerWheel& timers, DropCounters& drops, Host& host)
        : timers_(timers), drops_(drops), host_(host) {}
    Introductions(const Introductions&) = delete;
    Introductions& operator=(const Introductions&) = delete;

    // Awaits the header until the deadline. May call the host at once.
    void begin(std::unique_ptr<ByteStream> stream, const http::ClientFacts& facts,
               Instant deadline);
    size_t waiting() const { return waiting_.size(); }
    void close_all() { waiting_.clear(); }

  private:
    class Waiting final : public StreamHandler, public Timer {
      public:
        Waiting(Introductions& owner, std::unique_ptr<ByteStream> stream,
                const http::ClientFacts& facts);
        ~Waiting();

        void on_stream_ready() override;
        std::list<Waiting>::iterator place;

      private:
        void on_timer(Now now) override;
        // False: nothing more now; true: `header` is decided, or the stream has ended.
        bool read_header(wire::ProxyHeader& header);
        void end(const wire::ProxyHeader& header);

        Introductions& owner_;
        std::unique_ptr<ByteStream> stream_;
        http::ClientFacts facts_;
        std::vector<uint8_t> bytes_;
    };

    TimerWheel& timers_;
    DropCounters& drops_;
    Host& host_;
    std::list<Waiting> waiting_;
};

}  // namespace sluice::worker
