// One request and its response, from the moment the request's head is complete.
//
//   begin()  parse → frame → host and path → route → auth (→ inquiry) → server → new head
//   pump()   request up, response down, both at once, as far as the streams go
//
// The steps are tried in the order above and the first that fails gives the answer; README.md has
// the whole path. Retrying: while no byte of the response has come, a request may be sent once more
// if nothing of it was taken by a server, or if the connection had been used before, the method is
// idempotent and no part of the body is gone (RFC 9110 section 9.2.2).
//
// Internal to this room. Thread: the worker's. Memory: from Core's pools.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/http/core.h"
#include "dataplane/http/forward_auth.h"
#include "dataplane/http/header_rules.h"
#include "dataplane/http/inquiry.h"
#include "dataplane/http/relay.h"
#include "dataplane/http/request_target.h"
#include "dataplane/wire/websocket_frames.h"

namespace sluice::http {

class Exchange final : public StreamHandler {
  public:
    enum class Result : uint8_t {
        kWaiting,    // for a stream or a deadline
        kYield,      // could go on, but used its share of this turn
        kKeepAlive,  // over; the client's connection is ready for its next request
        kClose,      // over; the client's connection ends in an orderly way
        kAbort,      // cut off; the client must be able to tell, so its connection just breaks
    };

    Exchange(Core& core, ClientConnection& client);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // One of the three, first. `head`: complete, at the front of the client's raw bytes.
    void begin(Bytes head);
    void refuse(wire::Http1Fault fault);
    void refuse_slow_head();

    Result pump(size_t& budget);

    Instant deadline() const;
    // The deadline has come. pump() afterwards tells what became of it.
    void on_deadline();

    void on_stream_ready() override;

    // Not a request any more that ends by itself.
    bool in_tunnel() const { return download_ == Download::kTunnel; }

  private:
    enum class Upload : uint8_t {
        kGoing,
        kDone,       // the whole request was written
        kAbandoned,  // nothing more of it will be: the server broke, or the answer is our own
    };
    enum class Download : uint8_t {
        kInquiry,   // it is not yet decided whether the request may go on
        kAwaiting,  // the head of the server's response
        kBody,
        kTunnel,  // no HTTP any more, in both directions
        kOwnAnswer,
    };

    // exchange_request.cc: what the client asked for
    struct Asked {
        wire::Http1RequestHead head;
        RequestTarget target;
    };
    // The request's head, taken apart anew, because Core's place for it serves all connections.
    // Nothing: a reload has lowered the limits in the meantime. Precondition: it was not left.
    std::optional<Asked> asked();
    // What follows in the client's buffer is the body. The head's bytes stay good until the next
    // read.
    void leave_head();
    void route(const wire::Http1RequestHead& head, const RequestTarget& target);
    // Of the route. Precondition: there is one.
    const RouteAction& action() const;
    // The route's rate limit; false: refused.
    bool take_turn(const contract::RouteConfig& route);
    // Who was let in, and what they proved; null: nothing.
    struct Admitted {
        const std::string* peer = nullptr;
        ClientCertificate* certificate = nullptr;
    };
    // Everybody has agreed: to the redirect or the backend.
    void proceed(const wire::Http1RequestHead& head, const RequestTarget& target,
                 const Admitted& admitted);
    void forward(const wire::Http1RequestHead& head, const RequestTarget& target,
                 const Admitted& admitted);
    void redirect(const contract::Redirect& redirect, const RequestTarget& target);
    void redirect(uint16_t status, std::string_view location);
    // Another server wants another Host.
    void name_server();
    // The inquiry is decided: forward or refuse. Precondition: inquiry_ is what inquire() got.
    void inquiry_ended();
    // What the client is told beside the server's headers; called for each final response.
    void describe(ForwardedResponse& forwarded);
    void welcome(std::string_view host, const std::string* peer);
    void refuse(uint16_t status, std::string_view sentence);
    void answer(uint16_t status, std::string_view content_type, std::string_view body,
                std::string_view location = {}, uint32_t retry_after_s = 0);
    // What our own answers of any kind begin with.
    void begin_own_answer(uint16_t status);
    void pass_on(const AuthAnswer& answer);

    // exchange_upstream.cc: servers and what becomes of them
    bool pick_server();
    bool next_server();
    void connect(bool fresh);
    void server_failed();
    void server_misbehaved();
    void give_up(uint16_t status, std::string_view sentence);
    bool may_repeat() const;
    void repeat();
    void ask_again(bool fresh);
    std::shared_ptr<Server> other_server();
    // By what the client asked the server's connection is good for nothing else afterwards.
    bool wastes_server() const { return wants_websocket_ || odd_body_; }
    bool send_elsewhere();
    bool may_retry() const;
    bool retry(uint16_t status);
    bool retry_after(uint16_t status, const ResponseFraming& framing, size_t head_size);
    void release_server();
    void end_server();
    void begin_try();
    void end_try(RequestOutcome outcome, uint16_t status = 0);

    // exchange.cc: bytes
    // Waits for it; inquiry_ended() afterwards.
    void inquire(std::unique_ptr<Inquiry> inquiry);
    bool pump_inquiry(size_t& budget);
    void note_response(uint16_t status);
    void record() const;
    bool pump_upload(size_t& budget);
    bool read_client();
    bool pump_download(size_t& budget);
    bool await_response(size_t& budget);
    void take_response_head(Bytes head);
    bool stream_body(size_t& budget);
    void pass_trailers(Relay& relay, const contract::HeaderEdits* edits) const;
    bool write_client(size_t& budget);
    void watch_client();
    void finish();
    void abort();
    static void spend_turn(size_t& budget, size_t bytes);

    // exchange_tunnel.cc: WebSocket
    void begin_tunnel();
    bool pump_tunnel(size_t& budget);
    bool pump_tunnel_up(size_t& budget);
    bool pump_tunnel_down(size_t& budget);
    void take_from_server();
    Instant tunnel_deadline() const;
    void on_tunnel_deadline();

    Core& core_;
    ClientConnection& client_;
    std::shared_ptr<Site> site_;
    const contract::RouteConfig* route_ = nullptr;
    Backend* backend_ = nullptr;
    std::unique_ptr<Inquiry> inquiry_;
    std::unique_ptr<Granted> granted_;  // by the auth service; null: it was not asked
    std::shared_ptr<Server> picked_;
    std::shared_ptr<Server> kept_;      // the one that the client's sticky cookie names, or null
    std::vector<std::string> cookies_;  // for the response, if there is a sticky one among them
    std::unique_ptr<ServerConnection> server_;  // of the picked one, which must outlive it
    Relay down_;
    wire::Http1HeadScanner scanner_;
    // What outlives the head for the access log; null: nobody wants it.
    struct Notes {
        std::string method;
        std::string host;
        std::string path;
        std::string peer;
        std::string user;
        bool certified = false;  // by the certificate of the client's connection
    };
    std::unique_ptr<Notes> notes_;

    Instant begun_at_{};
    Instant response_at_{};                 // when the final response's head was written
    Instant attempt_at_{};                  // when the connection to the server was begun
    Instant moved_at_{};                    // when a byte moved last, in either direction
    Instant farewell_at_ = Instant::max();  // when a tunnel that is told to go away is cut
    BodyFraming request_body_;
    wire::WebsocketFrames frames_;  // from the server
    uint32_t head_size_ = 0;  // of the request's head while it is still in the client's buffer
    uint32_t tries_ = 0;
    uint16_t status_ = 0;  // of the final response

    // Servers that could not be connected to, refused, or whose answer was passed over. A route may
    // have ten retries; with three each of the others sixteen are enough, and a seventeenth is not
    // looked for.
    std::array<std::shared_ptr<Server>, 16> tried_{};
    uint8_t tried_count_ = 0;
    uint8_t unreached_ = 0;
    uint32_t retried_ = 0;
    uint8_t refused_ = 0;  // tries that the server did nothing about
    uint8_t interim_count_ = 0;
    Upload upload_ = Upload::kGoing;
    Download download_ = Download::kAwaiting;
    Result result_ = Result::kWaiting;
    bool over_ = false;
    bool trying_ = false;      // the picked server knows of this request
    bool client_old_ = false;  // HTTP/1.0
    bool to_head_ = false;
    bool idempotent_ = false;
    bool expects_continue_ = false;
    bool accepts_trailers_ = false;
    bool wants_websocket_ = false;
    bool odd_body_ = false;         // a body with a method that gives it no meaning
    bool going_away_ = false;       // the client of a tunnel was told so
    bool client_told_end_ = false;  // of a tunnel: our direction to it has ended
    bool repeated_ = false;
    bool keep_client_ = true;
    bool server_readable_ = false;
    bool server_writable_ = false;
    bool server_flushed_ = true;
    bool connected_ = false;        // the server took something, now or in an earlier exchange
    bool sent_any_ = false;         // the server took something of this request
    bool server_reusable_ = false;  // by what its response's head said
};

}  // namespace sluice::http
