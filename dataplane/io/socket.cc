#include "dataplane/io/socket.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "dataplane/io/conduit.h"
#include "dataplane/io/socket_address.h"

namespace sluice::io {

namespace {

constexpr uint32_t kStreamEvents = POLLIN | POLLOUT | POLLRDHUP;

// More pieces than protocols here put into one write (head, chunk size, body, chunk end, …); a
// longer list is written in parts, which is allowed and only costs calls.
constexpr size_t kPiecesMax = 64;

// How often a socket is asked whether the kernel has handed its last TLS records to TCP, when
// nothing else happens on it. This decides how long after a slow reader's last acknowledgement the
// connection ends; the connection is over by then for everybody else.
constexpr Duration kLookAgain = std::chrono::milliseconds(50);

// What the network or the far end can say to a connect; a Unix socket's far end says that it is not
// there, lets nobody in, or has too many waiting (EAGAIN). Everything else is a matter of this
// machine.
bool is_answer_of_far_end(int error) {
    return error == ECONNREFUSED || error == ECONNRESET || error == ETIMEDOUT ||
           error == EHOSTUNREACH || error == ENETUNREACH || error == ENOENT || error == EACCES ||
           error == EAGAIN;
}

}  // namespace

std::unique_ptr<Socket> Socket::adopt(EngineCore& engine, Descriptor socket) {
    std::unique_ptr<Socket> stream(new Socket(engine, std::move(socket), State::kOpen));
    const auto id = engine.watch(stream->socket_.get(), kStreamEvents, *stream);
    if (!id) return nullptr;
    stream->id_ = *id;
    return stream;
}

Result<std::unique_ptr<ByteStream>> Socket::connect(EngineCore& engine, const Endpoint& to) {
    const int family = to.address.is_v6() ? AF_INET6 : AF_INET;
    Descriptor socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    // Every write here is a whole piece of a protocol; waiting for more would only add delay.
    const int on = 1;
    if (socket.is_open()) setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SocketAddress address;
    const socklen_t length = to_kernel(to, family, address);
    return connect(engine, std::move(socket), &address.any, length, to.text());
}

Result<std::unique_ptr<ByteStream>> Socket::connect_unix(EngineCore& engine,
                                                         const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail("the path of the Unix socket " + path + " is too long: 107 bytes are the most");
    std::memcpy(address.sun_path, path.data(), path.size());
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    return connect(engine, std::move(socket), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address, path);
}

Result<std::unique_ptr<ByteStream>> Socket::connect(EngineCore& engine, Descriptor socket,
                                                    const sockaddr* address, uint32_t length,
                                                    const std::string& name) {
    const auto failure = [&name](int error) {
        std::string message = "cannot connect to " + name + ": " + error_text(error);
        if (error == EMFILE) message += "; raise the limit of open files (LimitNOFILE)";
        if (error == EADDRNOTAVAIL) message += "; all local ports towards it are in use";
        return fail(std::move(message));
    };
    if (!socket.is_open()) return failure(errno);
    State state = State::kConnecting;
    if (::connect(socket.get(), address, length) == 0) {
        state = State::kOpen;
    } else if (is_answer_of_far_end(errno)) {
        // On loopback the refusal is there at once. The caller hears of it as of any other one.
        state = State::kBroken;
    } else if (errno != EINPROGRESS) {
        return failure(errno);
    }
    std::unique_ptr<Socket> stream(new Socket(engine, std::move(socket), state));
    if (state == State::kBroken) {
        stream->socket_.close();
        stream->id_ = engine.enroll(*stream);
        engine.run_again(stream->id_);
        return stream;
    }
    const auto id = engine.watch(stream->socket_.get(), kStreamEvents, *stream);
    if (!id) return failure(id.error());
    stream->id_ = *id;
    return stream;
}

Socket::~Socket() {
    engine_.unwatch(id_, socket_.get());
}

void Socket::on_ready(uint32_t events) {
    drained_ = false;
    ending_ = ending_ || (events & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    if (events == 0) looks_again_ = false;
    if (state_ == State::kConnecting) finish_connecting();
    // Last: the handler may destroy this.
    if (handler_ != nullptr) handler_->on_stream_ready();
}

void Socket::finish_connecting() {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        state_ = State::kBroken;
        return;
    }
    SocketAddress address;
    length = sizeof address;
    // No error and no peer: not decided yet.
    if (getpeername(socket_.get(), &address.any, &length) != 0) return;
    state_ = State::kOpen;
    if (shutdown_when_connected_) shutdown_write();
}

IoResult Socket::failed(int error) {
    if (error == EAGAIN) return {IoStatus::kWouldBlock, 0};
    state_ = State::kBroken;
    return {IoStatus::kError, 0};
}

IoResult Socket::read(MutableBytes into) {
    if (state_ == State::kBroken) return {IoStatus::kError, 0};
    if (into.empty()) return {IoStatus::kOk, 0};  // recv() of nothing looks like an end
    if (drained_) return {IoStatus::kWouldBlock, 0};
    for (;;) {
        const ssize_t got = recv(socket_.get(), into.data(), into.size(), 0);
        if (got > 0) {
            // Less came than there was room for, so all of it came; whatever follows makes an event
            // of its own. Asking once more, to hear EAGAIN, was three of seven system calls of a
            // small request. Only a FIN may have come in the very event that brought the bytes.
            drained_ = static_cast<size_t>(got) < into.size() && !ending_;
            return {IoStatus::kOk, static_cast<size_t>(got)};
        }
        if (got == 0) return {IoStatus::kEnd, 0};
        if (errno != EINTR) return failed(errno);
    }
}

IoResult Socket::write(std::span<const Bytes> pieces) {
    if (state_ == State::kBroken) return {IoStatus::kError, 0};
    std::array<iovec, kPiecesMax> vectors;
    size_t count = 0;
    for (const Bytes piece : pieces) {
        if (piece.empty()) continue;
        if (count == vectors.size()) break;
        vectors[count++] = {const_cast<uint8_t*>(piece.data()), piece.size()};
    }
    if (count == 0) return {IoStatus::kOk, 0};
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    for (;;) {
        // Without MSG_NOSIGNAL a peer that closed would end the process with SIGPIPE.
        // The kernel takes one piece more cheaply by itself than as a list of one.
        const ssize_t sent =
            count == 1 ? send(socket_.get(), vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                       : sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        if (sent >= 0) return wrote(static_cast<size_t>(sent));
        if (errno != EINTR) return failed(errno);
    }
}

void Socket::shutdown_write() {
    // Linux tears a connection down that is told to end its direction before it is established.
    if (state_ == State::kConnecting) shutdown_when_connected_ = true;
    if (state_ != State::kOpen) return;
    // The kernel takes a record and tells so before TCP has room for all of it, and after the end
    // of the direction TCP takes nothing more.
    shutdown_when_sent_ = !records_are_in_tcp();
    if (!shutdown_when_sent_) ::shutdown(socket_.get(), SHUT_WR);
}

bool Socket::flush() {
    if (encryption_ == nullptr || state_ != State::kOpen) return true;
    if (!records_are_in_tcp()) {
        // Room in TCP lets the kernel go on by itself, a moment later and without an event.
        if (!looks_again_) engine_.run_at(engine_.now().mono + kLookAgain, id_);
        looks_again_ = true;
        return false;
    }
    if (std::exchange(shutdown_when_sent_, false)) ::shutdown(socket_.get(), SHUT_WR);
    return true;
}

IoResult Socket::wrote(size_t bytes) {
    if (encryption_ != nullptr) encryption_->content += bytes;
    return {IoStatus::kOk, bytes};
}

bool Socket::encrypt_writes(const RecordKeys& keys) {
    if (state_ != State::kOpen || !kernel_tls_ability().transmit) return false;
    auto next = std::make_unique<Encryption>();
    next->keys = keys;
    if (encryption_ == nullptr) {
        if (!bytes_given_to_tcp(socket_.get(), next->tcp_at_start)) return false;
    } else {
        if (!kernel_tls_ability().new_keys) return false;
        uint64_t sequence = 0;
        if (!transmit_sequence(socket_.get(), encryption_->keys, sequence)) return false;
        next->content = encryption_->content;
        next->records = encryption_->records + sequence - encryption_->keys.sequence;
        next->tcp_at_start = encryption_->tcp_at_start;
    }
    if (set_transmit_keys(socket_.get(), keys) != 0) return false;
    next->keys.key.clear();  // the kernel's from now on
    encryption_ = std::move(next);
    return true;
}

// Whether TCP has been given as many bytes as the records have that were made of our writes.
bool Socket::records_are_in_tcp() const {
    if (encryption_ == nullptr) return true;
    const Encryption& encryption = *encryption_;
    uint64_t sequence = 0;
    uint64_t in_tcp = 0;
    // Where the kernel cannot tell there is nothing to wait for.
    if (!transmit_sequence(socket_.get(), encryption.keys, sequence) ||
        !bytes_given_to_tcp(socket_.get(), in_tcp)) {
        return true;
    }
    const uint64_t records = encryption.records + sequence - encryption.keys.sequence;
    return in_tcp - encryption.tcp_at_start >=
           encryption.content + records * encryption.keys.overhead();
}

IoResult Socket::write_record(uint8_t type, Bytes content) {
    if (state_ == State::kBroken || encryption_ == nullptr) return {IoStatus::kError, 0};
    for (;;) {
        const long sent = send_tls_record(socket_.get(), type, content);
        if (sent >= 0) return wrote(static_cast<size_t>(sent));
        if (errno != EINTR) return failed(errno);
    }
}

std::unique_ptr<Conduit> Socket::conduit_from(ByteStream& source, uint64_t) {
    auto* const socket = dynamic_cast<Socket*>(&source);
    if (socket == nullptr || &socket->engine_ != &engine_) return nullptr;
    if (state_ != State::kOpen || socket->state_ != State::kOpen) return nullptr;
    return SocketConduit::between(*socket, *this, engine_.pipes());
}

IoResult Socket::splice_into(int pipe, size_t bytes_max) {
    if (state_ == State::kBroken) return {IoStatus::kError, 0};
    for (;;) {
        const ssize_t moved = splice(socket_.get(), nullptr, pipe, nullptr, bytes_max,
                                     SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (moved > 0) return {IoStatus::kOk, static_cast<size_t>(moved)};
        if (moved == 0) return {IoStatus::kEnd, 0};
        if (errno != EINTR) return failed(errno);
    }
}

// Without SPLICE_F_MORE: it would keep back what does not fill a segment or a TLS record until more
// comes, and a server may pause for long in the middle of a body.
IoResult Socket::splice_out_of(int pipe, size_t bytes_max) {
    if (state_ == State::kBroken) return {IoStatus::kError, 0};
    for (;;) {
        const ssize_t moved = splice(pipe, nullptr, socket_.get(), nullptr, bytes_max,
                                     SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (moved > 0) return wrote(static_cast<size_t>(moved));
        if (moved == 0) return {IoStatus::kWouldBlock, 0};
        if (errno != EINTR) return failed(errno);
    }
}

}  // namespace sluice::io
