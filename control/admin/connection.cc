#include "control/admin/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace sluice::admin {

namespace {

std::string_view reason_of(uint16_t status) {
    switch (status) {
        case 200:
            return "OK";
        case 202:
            return "Accepted";
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 411:
            return "Length Required";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 431:
            return "Request Header Fields Too Large";
        case 501:
            return "Not Implemented";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Status";
    }
}

}  // namespace

Server::Connection::Connection(Server& server, int descriptor)
    : server_(server),
      descriptor_(descriptor),
      reader_(server.options_.head_bytes_max, server.options_.body_bytes_max) {}

Server::Connection::~Connection() {
    server_.loop_.cancel(timer_);
    server_.loop_.forget(descriptor_);
    ::close(descriptor_);
}

void Server::Connection::begin() {
    // Raw: the connection forgets its descriptor before it goes.
    server_.loop_.watch(descriptor_, EPOLLIN, [this](uint32_t events) { on_event(events); });
    restart_timer(server_.options_.request_timeout, [this] {
        if (reader_.untouched()) {
            server_.close(*this);
        } else {
            answer(error_response(408, "the request did not come in time"));
        }
    });
}

void Server::Connection::restart_timer(Duration delay, std::function<void()> task) {
    server_.loop_.cancel(timer_);
    timer_ = server_.loop_.after(delay, std::move(task));
}

void Server::Connection::on_event(uint32_t events) {
    // What is called below may let the server drop us.
    const auto alive = shared_from_this();
    if ((events & EPOLLERR) != 0) {
        server_.close(*this);
        return;
    }
    switch (state_) {
        case State::kReading:
            read_request();
            break;
        case State::kWaiting:
            server_.close(*this);
            break;  // only EPOLLHUP comes: the caller left
        case State::kWriting:
            write_more();
            break;
        case State::kLeaving:
            discard_rest();
            break;
    }
}

void Server::Connection::read_request() {
    std::array<uint8_t, 4096> bytes;
    // One read a turn: level-triggered epoll comes back, and nobody holds the loop by sending.
    const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) server_.close(*this);
        return;
    }
    if (got == 0) {
        if (reader_.untouched()) {
            server_.close(*this);
        } else {
            answer(error_response(400, "the request ends before it is complete"));
        }
        return;
    }
    switch (reader_.feed({bytes.data(), static_cast<size_t>(got)})) {
        case RequestReader::State::kMore:
            break;
        case RequestReader::State::kRefused:
            answer(reader_.refusal());
            return;
        case RequestReader::State::kComplete:
            dispatch();
            return;
    }
    if (reader_.expects_continue() && !continue_sent_) {
        continue_sent_ = true;
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        // Nothing was sent before, so there is room; a caller that cannot take it gets no more.
        if (::send(descriptor_, kContinue.data(), kContinue.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(kContinue.size())) {
            server_.close(*this);
        }
    }
}

void Server::Connection::dispatch() {
    state_ = State::kWaiting;
    server_.loop_.change(descriptor_, 0);
    restart_timer(server_.options_.answer_timeout,
                  [this] { answer(error_response(504, "the node did not answer in time")); });
    server_.dispatch(reader_.request(), [weak = weak_from_this()](const Response& response) {
        const auto self = weak.lock();
        if (self && self->state_ == State::kWaiting) self->answer(response);
    });
}

void Server::Connection::answer(const Response& response) {
    const auto alive = shared_from_this();
    output_ = "HTTP/1.1 " + std::to_string(response.status) + " ";
    output_ += reason_of(response.status);
    output_ += "\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n";
    for (const auto& [name, value] : response.headers)
        output_ += name + ": " + value + "\r\n";
    output_ += "Connection: close\r\nContent-Length: " + std::to_string(response.body.size() + 1);
    output_ += "\r\n\r\n" + response.body + "\n";
    state_ = State::kWriting;
    restart_timer(server_.options_.request_timeout, [this] { server_.close(*this); });
    write_more();
}

void Server::Connection::write_more() {
    while (written_ < output_.size()) {
        const ssize_t sent =
            ::send(descriptor_, &output_[written_], output_.size() - written_, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            server_.loop_.change(descriptor_, EPOLLOUT);
            return;
        }
        if (sent < 0) {
            server_.close(*this);
            return;
        }
        written_ += static_cast<size_t>(sent);
    }
    leave();
}

// Closing a socket that holds unread bytes would reset it, and the caller might lose an answer that
// is on its way; so what is still coming is read and thrown away first, for a moment.
void Server::Connection::leave() {
    ::shutdown(descriptor_, SHUT_WR);
    state_ = State::kLeaving;
    server_.loop_.change(descriptor_, EPOLLIN);
    // A caller on this machine has its answer after microseconds; one that goes on sending loses
    // it.
    restart_timer(std::chrono::seconds(1), [this] { server_.close(*this); });
}

void Server::Connection::discard_rest() {
    std::array<uint8_t, 4096> bytes;
    const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return;
    server_.close(*this);
}

}  // namespace sluice::admin
