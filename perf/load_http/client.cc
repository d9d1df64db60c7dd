#include "perf/load_http/client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice::perf {

void fail(const std::string& what) {
    std::fprintf(stderr, "http_load: %s\n", what.c_str());
    std::exit(1);
}

void Client::open(int epoll, uint64_t tag, SSL_SESSION* session) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(target_->port);
    if (inet_pton(AF_INET, target_->ip.c_str(), &address.sin_addr) != 1) fail("--to is no address");
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) fail(std::string("socket: ") + std::strerror(errno));
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 &&
        errno != EINPROGRESS)
        fail(std::string("connect: ") + std::strerror(errno));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.u64 = tag;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket_, &event) < 0) fail("epoll_ctl");

    ssl_ = SSL_new(target_->context);
    SSL_set_fd(ssl_, socket_);
    SSL_set_tlsext_host_name(ssl_, target_->host.c_str());
    SSL_set_connect_state(ssl_);
    if (session != nullptr) SSL_set_session(ssl_, session);
    state_ = State::kConnecting;
    answer_.clear();
}

void Client::wants(int result) {
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    char reason[256] = "the connection ended";
    if (const unsigned long code = ERR_get_error()) ERR_error_string_n(code, reason, sizeof reason);
    fail(std::string("the server does not serve: ") + reason);
}

bool Client::advance() {
    if (state_ == State::kConnecting) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) fail(std::string("connect: ") + std::strerror(error));
        tcp_info info{};
        size = sizeof info;
        getsockopt(socket_, IPPROTO_TCP, TCP_INFO, &info, &size);
        if (info.tcpi_state != TCP_ESTABLISHED) return false;
        state_ = State::kHandshake;
    }
    if (state_ == State::kHandshake) {
        const int result = SSL_do_handshake(ssl_);
        if (result != 1) {
            wants(result);
            return false;
        }
        state_ = State::kIdle;
        return false;
    }
    return state_ == State::kWaiting && read_answer();
}

void Client::ask() {
    // A request is far smaller than an empty socket's buffer, so it never waits.
    const int written =
        SSL_write(ssl_, target_->request.data(), static_cast<int>(target_->request.size()));
    if (written != static_cast<int>(target_->request.size())) fail("a request does not fit");
    state_ = State::kWaiting;
}

bool Client::read_answer() {
    std::array<char, 16384> buffer;
    for (;;) {
        const int count = SSL_read(ssl_, buffer.data(), buffer.size());
        if (count <= 0) {
            wants(count);
            return false;
        }
        answer_.append(buffer.data(), static_cast<size_t>(count));
        const size_t head = answer_.find("\r\n\r\n");
        if (head == std::string::npos) continue;
        if (!answer_.starts_with("HTTP/1.1 200")) fail("not 200: " + answer_.substr(0, 40));
        static constexpr std::string_view kLength = "ontent-Length: ";
        static constexpr std::string_view kLengthLower = "ontent-length: ";
        size_t at = answer_.find(kLength);
        if (at == std::string::npos) at = answer_.find(kLengthLower);
        if (at == std::string::npos) fail("an answer without Content-Length");
        size_t length = 0;
        std::from_chars(answer_.data() + at + kLength.size(), answer_.data() + answer_.size(),
                        length);
        if (answer_.size() < head + 4 + length) continue;
        answer_.clear();
        state_ = State::kIdle;
        return true;
    }
}

void Client::close() {
    if (ssl_ != nullptr) {
        SSL_shutdown(ssl_);
        SSL_free(ssl_);
        ssl_ = nullptr;
    }
    if (socket_ >= 0) {
        // A reset instead of a FIN: tens of thousands of connections in TIME_WAIT would use up the
        // ports of the one address that all come from.
        const linger now{.l_onoff = 1, .l_linger = 0};
        setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        ::close(socket_);
        socket_ = -1;
    }
    state_ = State::kClosed;
}

}  // namespace sluice::perf
