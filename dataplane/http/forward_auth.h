// Asks an auth service whether a request may pass, as Traefik's ForwardAuth does.
//
// The service is asked with a GET that has the client's own headers, and X-Forwarded-* of ours that
// say what is wanted. 2xx: the request may pass, with the headers that the service answered in the
// place of whatever the client sent under their names. Anything else is its answer to the client: a
// redirect to its sign-in page with its cookies, a 401, a page that says why not.
//
// Fails closed: whatever is not a whole and valid answer in time is a refusal of ours, and so is a
// service that cannot be reached.
//
// Internal to this room. Thread: the worker's. Ownership: the exchange's that inquires. Memory: the
// question, the answer up to ForwardAuthConfig::answer_bytes_max, and the client's body if that is
// wanted.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/http/body_framing.h"
#include "dataplane/http/core.h"
#include "dataplane/http/inquiry.h"
#include "dataplane/http/request_target.h"
#include "dataplane/wire/http1_chunked.h"

namespace sluice::http {

// What the service gives to a request that may pass.
struct Granted {
    std::vector<std::pair<std::string, std::string>> headers;  // for the server
    std::vector<std::string> cookies;                          // for the client; Set-Cookie values
    std::string user;                                          // for the log; empty: not said
};

// What it says to a client that may not.
struct AuthAnswer {
    std::string head;      // valid, as it came
    std::string body;      // without its framing
    std::string location;  // absolute; empty: none
};

class ForwardAuth final : public Inquiry, public StreamHandler {
  public:
    enum class Verdict : uint8_t {
        kUndecided,
        kPass,
        kAnswer,  // the service's own
        kSignIn,  // a redirect to ForwardAuthConfig::signin_url
        kRefuse,  // ours
    };
    struct Refusal {
        uint16_t status = 503;
        std::string_view sentence;
    };

    // `config`: of the site's snapshot.
    ForwardAuth(Core& core, ClientConnection& client, std::shared_ptr<Site> site,
                const contract::ForwardAuthConfig& config);
    ~ForwardAuth() override;

    // First. The head's views need not outlive the call. A refusal: it cannot be asked at all.
    std::optional<Refusal> ask(const wire::Http1RequestHead& head, const RequestTarget& target,
                               const BodyFraming& body, size_t head_size);

    bool pump(size_t& budget) override;
    bool decided() const override { return verdict_ != Verdict::kUndecided; }
    Instant deadline() const override { return deadline_; }
    void on_deadline() override;
    size_t body_wanted() const override { return phase_ == Phase::kBody ? body_wanted_ : 0; }
    void on_stream_ready() override;

    // Once decided.
    Verdict verdict() const { return verdict_; }
    Granted take_granted() { return std::move(granted_); }
    const AuthAnswer& answer() const { return answer_; }
    const Refusal& refusal() const { return refusal_; }
    const contract::ForwardAuthConfig& config() const { return config_; }

  private:
    enum class Phase : uint8_t {
        kBody,    // the client's, which the service is to see
        kHead,    // of the answer
        kAnswer,  // its body
    };

    bool collect_body(size_t& budget);
    // Nothing: it is not complete. Otherwise it was taken, or refused.
    bool take_body(Bytes raw);
    void complete_question(bool has_body);
    void connect(bool fresh);
    bool pick_server();
    bool send(size_t& budget);
    bool receive(size_t& budget);
    void take_head(Bytes head);
    void judge(const wire::Http1ResponseHead& response, Bytes head);
    void grant(const wire::Http1ResponseHead& response);
    bool take_answer_body();
    void finish(bool whole);
    void server_failed();
    void refuse(uint16_t status, std::string_view sentence);

    Core& core_;
    ClientConnection& client_;
    std::shared_ptr<Site> site_;
    const contract::ForwardAuthConfig& config_;
    Backend& backend_;
    std::shared_ptr<Server> picked_;
    std::unique_ptr<ServerConnection> server_;  // of the picked one, which must outlive it

    std::string question_;  // head and body
    size_t sent_ = 0;
    std::string received_;  // of the answer, from the head's first byte
    size_t looked_at_ = 0;  // of received_, behind the head
    wire::Http1HeadScanner scanner_;
    wire::Http1ChunkedDecoder decoder_;
    BodyFraming request_body_;
    wire::Http1ChunkedDecoder body_decoder_;
    std::string body_;         // of the client's request, without its framing
    size_t body_decoded_ = 0;  // of the client's bytes behind the head
    ResponseFraming framing_;
    size_t head_size_ = 0;    // of the client's request
    size_t body_wanted_ = 0;  // of the client's, framing included
    size_t answer_size_ = 0;  // of the answer's body

    Granted granted_;
    AuthAnswer answer_;
    Refusal refusal_;
    Verdict judged_ = Verdict::kUndecided;  // by the answer's head
    Verdict verdict_ = Verdict::kUndecided;
    Instant deadline_ = kNever;
    uint16_t status_ = 0;
    uint8_t interim_count_ = 0;
    uint8_t tries_ = 0;
    Phase phase_ = Phase::kHead;
    bool to_head_ = false;
    bool meaningless_body_ = false;  // the question's method may have none
    bool repeated_ = false;
    bool trying_ = false;
    bool readable_ = false;
    bool writable_ = false;
};

// Where a Location leads that was given in answer to a request for this address (RFC 3986 section
// 5.3; dot segments stay for the client to resolve). `path` may have a query.
std::string resolve_location(std::string_view location, std::string_view scheme,
                             std::string_view authority, std::string_view path);

}  // namespace sluice::http
