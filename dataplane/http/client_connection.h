// One client's connection: heads are awaited, exchanges follow one another, and at the end it is
// closed so that the client gets everything that was sent.
//
// Internal to this room. Thread: the worker's. Memory: from Core's pool; a buffer only while bytes
// are there.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "dataplane/base/byte_stream.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/http/core.h"
#include "dataplane/http/proxy.h"
#include "dataplane/http/relay.h"

namespace sluice::http {

class ClientConnection final : public StreamHandler, public Timer {
  public:
    ClientConnection(Core& core, std::unique_ptr<ByteStream> stream, const ClientFacts& facts);
    ~ClientConnection();

    // Goes on as far as it can. May destroy the connection, as may every call below.
    void run();
    void on_stream_ready() override;
    // Closes if no request is in progress; if one is, after it.
    void drain();
    // Nobody is there any more to read or write: it ends at once.
    void client_is_gone() { settle(Step::kGone); }

    // For the exchange in progress.
    ByteStream& stream() { return *stream_; }
    const ClientFacts& facts() const { return facts_; }
    std::string_view address_text() const { return address_text_; }
    Relay& upload() { return upload_; }
    // Our direction ends, after what was written. False: some of it is still held back; the handler
    // is called when to try again.
    bool end_writing();
    uint8_t wasted = 0;    // server connections that its requests have spoilt
    bool readable = true;  // not known to be empty
    bool writable = true;  // not known to be full
    bool flushed = true;   // nothing that was written is known to be held back

    // Place in Core's list of all connections.
    ClientConnection* previous = nullptr;
    ClientConnection* next = nullptr;
    ClientConnection* next_pending() const { return next_pending_; }

    // What one connection may move in one turn before others get theirs: some 200 µs of work.
    static constexpr size_t kTurnBytes = 256 * 1024;
    // What a request costs of that, whatever its size: so many small ones are no way around it.
    static constexpr size_t kRequestCost = 4 * 1024;
    // How long we wait for the client to end its side after we ended ours. Closing earlier could
    // make the kernel answer late bytes with a reset, which would destroy what the client has not
    // read yet (RFC 9112 section 9.6). A few round trips of the slowest link.
    static constexpr Duration kLinger = std::chrono::seconds(2);

    // Who makes us open connections to servers has to open one itself after so many: then it costs
    // both the same.
    static constexpr uint8_t kWastedMax = 16;

  private:
    enum class Phase : uint8_t {
        kHead,  // between requests, or within a head
        kExchange,
        kFarewell,  // what was written goes out, then the end
        kLinger,    // the client's end is awaited
    };
    enum class Step : uint8_t { kGoOn, kWait, kYield, kGone };

    void on_timer(Now now) override;
    Step step(size_t& budget);
    Step read_head(size_t& budget);
    Step run_exchange(size_t& budget);
    Step say_farewell();
    Step linger(size_t& budget);
    void begin_exchange();
    void end_exchange();
    void begin_farewell();
    bool handshake_done() const;
    bool hand_over();
    Instant due() const;
    void set_timer();
    Step time_out();
    void settle(Step result);
    void join_pending();
    void leave_pending();

    Core& core_;
    std::unique_ptr<ByteStream> stream_;
    ClientFacts facts_;
    std::string address_text_;
    Relay upload_;
    wire::Http1HeadScanner scanner_;
    Exchange* exchange_ = nullptr;
    ClientConnection* previous_pending_ = nullptr;
    ClientConnection* next_pending_ = nullptr;
    Instant phase_since_;
    Phase phase_ = Phase::kHead;
    bool maybe_http2_ = true;  // no request has come yet
    bool said_end_ = false;
    bool pending_turn_ = false;
};

}  // namespace sluice::http
