// One TLS connection of the load generator: asks for one small thing over and over, over HTTP/1.1.
// Nothing but what is needed to load a server: the answers are known to be good (200, with a
// Content-Length); anything else ends the program, because it would measure something else.
// Thread: one. Failure: the program ends with the reason.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::perf {

[[noreturn]] void fail(const std::string& what);

// What all connections have in common.
struct Target {
    std::string ip;
    uint16_t port = 0;
    std::string host;
    std::string path;
    SSL_CTX* context = nullptr;
    std::string request;  // the bytes of one
};

class Client {
  public:
    enum class State : uint8_t { kClosed, kConnecting, kHandshake, kIdle, kWaiting };

    explicit Client(const Target& target) : target_(&target) {}
    ~Client() { close(); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Begins to connect; `session` (may be null) is offered for resumption.
    void open(int epoll, uint64_t tag, SSL_SESSION* session);
    // What epoll said of it: goes on as far as it can. True: an answer has become complete.
    bool advance();
    // Precondition: idle. True: the answer is complete already (it never is).
    void ask();
    // With a word of farewell; a resumable session of it may be taken before.
    void close();

    State state() const { return state_; }
    bool resumed() const { return SSL_session_reused(ssl_) == 1; }
    SSL_SESSION* take_session() { return SSL_get1_session(ssl_); }

    uint64_t asked_at_ns = 0;  // or when it should have been asked, if it had to wait

  private:
    bool read_answer();
    void wants(int result);

    const Target* target_;
    SSL* ssl_ = nullptr;
    int socket_ = -1;
    State state_ = State::kClosed;
    std::string answer_;
};

}  // namespace sluice::perf
