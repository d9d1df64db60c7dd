// TCP through both engines: real sockets on loopback, both ends ours unless said otherwise.
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <set>

#include "dataplane/base/random.h"
#include "dataplane/io/descriptor.h"
#include "dataplane/io/socket_address.h"
#include "dataplane/io/test_engine.h"

namespace sluice::io {

namespace {

std::vector<uint8_t> random_bytes(size_t size, uint64_t seed) {
    std::vector<uint8_t> bytes(size);
    SeededRandom(seed).fill(bytes);
    return bytes;
}

// Sends back what it gets, as the handlers of the product do: read and write until neither moves.
class Echo final : public StreamHandler {
  public:
    explicit Echo(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {
        stream_->set_handler(this);
        on_stream_ready();
    }
    bool closed = false;

    void on_stream_ready() override {
        if (!stream_) return;
        for (;;) {
            if (used_ < held_.size()) {
                const Bytes rest = Bytes(held_).subspan(used_);
                // Two pieces, so that gathering and a stop in the middle are on the way.
                const Bytes pieces[] = {rest.first(rest.size() / 3), rest.subspan(rest.size() / 3)};
                const IoResult result = stream_->write(pieces);
                if (result.status == IoStatus::kWouldBlock) return;
                if (result.status != IoStatus::kOk) return close();
                used_ += result.bytes;
                continue;
            }
            if (ended_) {
                stream_->shutdown_write();
                return close();
            }
            held_.resize(1 << 20);
            used_ = 0;
            const IoResult result = stream_->read(held_);
            held_.resize(result.bytes);
            if (result.status == IoStatus::kWouldBlock) return;
            if (result.status == IoStatus::kError) return close();
            if (result.status == IoStatus::kEnd) ended_ = true;
        }
    }

  private:
    void close() {
        closed = true;
        stream_.reset();
    }
    std::unique_ptr<ByteStream> stream_;
    std::vector<uint8_t> held_;
    size_t used_ = 0;
    bool ended_ = false;
};

class EchoServer final : public AcceptHandler {
  public:
    EchoServer(Engine& engine, const Endpoint& address) {
        auto opened = engine.listen({.address = address, .interface = {}}, *this);
        if (!opened) throw std::runtime_error(opened.error().message);
        acceptor = std::move(*opened);
    }
    void on_accept(Accepted accepted) override {
        remotes.push_back(accepted.remote);
        locals.push_back(accepted.local);
        echoes.push_back(std::make_unique<Echo>(std::move(accepted.stream)));
    }
    std::unique_ptr<Acceptor> acceptor;
    std::vector<Endpoint> remotes;
    std::vector<Endpoint> locals;
    std::vector<std::unique_ptr<Echo>> echoes;
};

// Sends `data`, ends its direction, and collects what comes back.
class Client final : public StreamHandler {
  public:
    Client(Engine& engine, const Endpoint& to, Bytes data) : data_(data) {
        auto connected = engine.connect(to);
        if (!connected) throw std::runtime_error(connected.error().message);
        stream = std::move(*connected);
        stream->set_handler(this);
    }
    void on_stream_ready() override {
        ++calls;
        if (failed || ended) return;
        write_some();
        read_some();
    }
    std::unique_ptr<ByteStream> stream;
    std::vector<uint8_t> received;
    size_t calls = 0;
    size_t partial_writes = 0;
    bool failed = false;
    bool ended = false;

  private:
    void write_some() {
        while (!shut_) {
            if (data_.empty()) {
                stream->shutdown_write();
                shut_ = true;
                return;
            }
            const Bytes pieces[] = {data_};
            const IoResult result = stream->write(pieces);
            if (result.status == IoStatus::kError) failed = true;
            if (result.status != IoStatus::kOk) return;
            if (result.bytes < data_.size()) ++partial_writes;
            data_ = data_.subspan(result.bytes);
        }
    }
    void read_some() {
        std::vector<uint8_t> buffer(65536);
        for (;;) {
            const IoResult result = stream->read(buffer);
            if (result.status == IoStatus::kError) failed = true;
            if (result.status == IoStatus::kEnd) ended = true;
            if (result.status != IoStatus::kOk) return;
            received.insert(received.end(), buffer.begin(),
                            buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
        }
    }
    Bytes data_;
    bool shut_ = false;
};

}  // namespace

TEST_CASE("a large transfer comes back whole, with partial writes and half-close") {
    const EngineKind kind = any_engine();
    const bool v6 = GENERATE(false, true);
    TestEngine test(kind);
    EchoServer server(*test.engine, loopback(0, v6));
    const auto data = random_bytes(20 << 20, 1);
    Client client(*test.engine, server.acceptor->local(), data);
    REQUIRE(test.run_until([&] { return client.ended || client.failed; }));
    CHECK_FALSE(client.failed);
    CHECK(client.received == data);
    REQUIRE(server.echoes.size() == 1);
    CHECK(server.echoes[0]->closed);
    CHECK(client.partial_writes > 0);
}

TEST_CASE("an accepted connection knows both ends, and has TCP_NODELAY and keepalive") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    // Wildcard: the local address is the connection's own, not the listener's.
    EchoServer server(*test.engine, {*IpAddress::parse("0.0.0.0"), 0});
    const uint16_t port = server.acceptor->local().port;
    Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address;
    const socklen_t length = to_kernel({*IpAddress::parse("127.0.0.9"), port}, AF_INET, address);
    REQUIRE(connect(client.get(), &address.any, length) == 0);
    REQUIRE(test.run_until([&] { return !server.remotes.empty(); }));
    CHECK(server.remotes[0] == local_endpoint(client.get()));
    CHECK(server.locals[0] == Endpoint{*IpAddress::parse("127.0.0.9"), port});
    // The accepted socket is the only one in this process that is connected to the client's port.
    int nodelay = 0;
    int keepalive = 0;
    int idle = 0;
    for (int fd = 3; fd < 256; ++fd) {
        if (remote_endpoint(fd) != local_endpoint(client.get())) continue;
        socklen_t size = sizeof nodelay;
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size);
        getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &size);
        getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size);
    }
    CHECK(nodelay == 1);
    CHECK(keepalive == 1);
    CHECK(idle == 60);
}

TEST_CASE("a refused connection reports an error to its handler, once and for all") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    // A port that was just ours and listens no more.
    uint16_t port = 0;
    {
        EchoServer server(*test.engine, loopback(0));
        port = server.acceptor->local().port;
    }
    const auto data = random_bytes(10, 2);
    Client client(*test.engine, loopback(port), data);
    REQUIRE(test.run_until([&] { return client.calls > 0; }));
    CHECK(client.failed);
    std::array<uint8_t, 10> buffer;
    CHECK(client.stream->read(buffer).status == IoStatus::kError);
    const Bytes pieces[] = {data};
    CHECK(client.stream->write(pieces).status == IoStatus::kError);
}

TEST_CASE("a handler that was not set when data came finds it by reading") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    struct Keeper final : AcceptHandler {
        void on_accept(Accepted accepted) override { stream = std::move(accepted.stream); }
        std::unique_ptr<ByteStream> stream;
    } keeper;
    auto acceptor = test.engine->listen({.address = loopback(0), .interface = {}}, keeper);
    REQUIRE(acceptor);
    const auto data = random_bytes(1000, 3);
    Client client(*test.engine, (*acceptor)->local(), data);
    REQUIRE(test.run_until([&] { return keeper.stream != nullptr; }));
    test.run_until_idle();
    std::array<uint8_t, 2000> buffer;
    CHECK(keeper.stream->read(buffer).bytes == 1000);
    CHECK(keeper.stream->read(buffer).status == IoStatus::kEnd);
}

namespace {

// Destroys streams from inside a callback: its own and those of others, which may have events in
// the same turn.
class Destroyer final : public StreamHandler {
  public:
    Destroyer(std::vector<std::unique_ptr<Destroyer>>& all, std::unique_ptr<ByteStream> stream)
        : all_(all), stream_(std::move(stream)) {
        stream_->set_handler(this);
    }
    static inline size_t calls = 0;
    void on_stream_ready() override {
        ++calls;
        std::array<uint8_t, 16> buffer;
        if (stream_->read(buffer).status != IoStatus::kOk) return;
        all_.clear();  // this included
    }

  private:
    std::vector<std::unique_ptr<Destroyer>>& all_;
    std::unique_ptr<ByteStream> stream_;
};

}  // namespace

TEST_CASE("a handler may destroy any streams in its call, and places are used again") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    struct Server final : AcceptHandler {
        void on_accept(Accepted accepted) override {
            all.push_back(std::make_unique<Destroyer>(all, std::move(accepted.stream)));
        }
        std::vector<std::unique_ptr<Destroyer>> all;
    } server;
    auto acceptor = test.engine->listen({.address = loopback(0), .interface = {}}, server);
    REQUIRE(acceptor);
    for (int round = 0; round < 5; ++round) {
        std::vector<Descriptor> senders;
        for (int i = 0; i < 20; ++i) {
            senders.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            SocketAddress address;
            const socklen_t length = to_kernel((*acceptor)->local(), AF_INET, address);
            REQUIRE(connect(senders.back().get(), &address.any, length) == 0);
        }
        REQUIRE(test.run_until([&] { return server.all.size() == 20; }));
        test.run_until_idle();
        // All get data at once, so that their events are in one turn; the first one to be called
        // destroys all others, and nobody is called after that.
        Destroyer::calls = 0;
        for (const Descriptor& sender : senders) {
            REQUIRE(send(sender.get(), "x", 1, MSG_NOSIGNAL) == 1);
        }
        REQUIRE(test.run_until([&] { return server.all.empty(); }));
        test.run_until_idle();
        CHECK(Destroyer::calls == 1);
        // The far ends see that their connections are closed indeed.
        for (const Descriptor& sender : senders) {
            char byte;
            const ssize_t got = recv(sender.get(), &byte, 1, 0);
            CHECK((got == 0 || (got < 0 && errno == ECONNRESET)));
        }
    }
}

TEST_CASE("a stream destroyed before its first turn is closed as any other") {
    TestEngine test(any_engine());
    Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address;
    const socklen_t length = to_kernel(loopback(0), AF_INET, address);
    REQUIRE(bind(listener.get(), &address.any, length) == 0);
    REQUIRE(listen(listener.get(), 10) == 0);
    for (int i = 0; i < 5; ++i) {
        // On loopback it is connected, and so ready, at once. The second one gets the descriptor of
        // the first, whose registration the kernel may see only after that.
        for (const bool turn_between : {false, true}) {
            auto stream = test.engine->connect(local_endpoint(listener.get()));
            REQUIRE(stream);
            if (turn_between) test.engine->turn(Instant::min());
            stream->reset();
        }
        test.engine->turn(Instant::min());
        for (int k = 0; k < 2; ++k) {
            Descriptor far(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            const timeval patience{5, 0};
            setsockopt(far.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            char byte;
            REQUIRE(recv(far.get(), &byte, 1, 0) == 0);
        }
    }
}

TEST_CASE("an acceptor may be destroyed by its own handler; what it accepted stays") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    struct Once final : AcceptHandler {
        void on_accept(Accepted accepted) override {
            echo = std::make_unique<Echo>(std::move(accepted.stream));
            acceptor.reset();
        }
        std::unique_ptr<Acceptor> acceptor;
        std::unique_ptr<Echo> echo;
    } once;
    auto opened = test.engine->listen({.address = loopback(0), .interface = {}}, once);
    REQUIRE(opened);
    once.acceptor = std::move(*opened);
    const Endpoint address = once.acceptor->local();
    const auto data = random_bytes(1 << 20, 4);
    Client first(*test.engine, address, data);
    Client second(*test.engine, address, data);
    REQUIRE(test.run_until([&] { return first.ended || first.failed; }));
    CHECK(first.received == data);
    REQUIRE(test.run_until([&] { return second.ended || second.failed; }));
    CHECK(second.received.empty());
    // The address is free at once, even for a socket that shares with nobody.
    Descriptor alone(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(alone.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // TIME_WAIT does not count
    SocketAddress kernel_address;
    const socklen_t length = to_kernel(address, AF_INET, kernel_address);
    REQUIRE(bind(alone.get(), &kernel_address.any, length) == 0);
    CHECK(listen(alone.get(), 1) == 0);
}

TEST_CASE("a flood of connections is accepted completely") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    EchoServer server(*test.engine, loopback(0));
    std::vector<Descriptor> clients;
    for (int i = 0; i < 400; ++i) {
        clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SocketAddress address;
        const socklen_t length = to_kernel(server.acceptor->local(), AF_INET, address);
        REQUIRE(connect(clients.back().get(), &address.any, length) == 0);
    }
    // One turn takes a bounded number, and the rest is not forgotten.
    test.engine->turn(Instant::min());
    CHECK(server.echoes.size() < 400);
    REQUIRE(test.run_until([&] { return server.echoes.size() == 400; }));
    std::set<Endpoint> remotes(server.remotes.begin(), server.remotes.end());
    CHECK(remotes.size() == 400);
}

TEST_CASE("a connection accepted for a listener that is gone is closed, not leaked") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    {
        EchoServer server(*test.engine, loopback(0));
        test.run_until_idle();
        SocketAddress address;
        const socklen_t length = to_kernel(server.acceptor->local(), AF_INET, address);
        REQUIRE(connect(client.get(), &address.any, length) == 0);
    }
    test.run_until_idle();
    const timeval patience{5, 0};
    setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char byte;
    const ssize_t got = recv(client.get(), &byte, 1, 0);
    CHECK((got == 0 || (got < 0 && errno == ECONNRESET)));
}

#ifndef __SANITIZE_ADDRESS__
// Not with sanitizers: to look at an object's type, UBSan needs a pipe, and reports a wrong type
// when there is no descriptor for it.
TEST_CASE("out of file descriptors: accepting pauses, is counted, and resumes by itself") {
    const EngineKind kind = any_engine();
    const std::string failure = in_child([kind]() -> std::string {
        TestEngine test(kind);
        EchoServer server(*test.engine, loopback(0));
        std::vector<Descriptor> clients;
        for (int i = 0; i < 10; ++i) {
            clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            SocketAddress address;
            const socklen_t length = to_kernel(server.acceptor->local(), AF_INET, address);
            if (connect(clients.back().get(), &address.any, length) != 0) return "connect";
        }
        rlimit old{};
        getrlimit(RLIMIT_NOFILE, &old);
        const int next = dup(0);
        ::close(next);
        rlimit tight = old;
        tight.rlim_cur = static_cast<rlim_t>(next) + 3;
        setrlimit(RLIMIT_NOFILE, &tight);
        if (!test.run_until([&] { return test.drops.value(DropReason::kDescriptorLimit) > 0; })) {
            return "the lack was not noticed";
        }
        if (server.echoes.size() != 3) {
            return "accepted " + std::to_string(server.echoes.size()) + " of the possible 3";
        }
        // Turns as often as the engine lets us, for half a second: it must wait, not spin.
        int turns = 0;
        const Instant end = test.clock.now().mono + std::chrono::milliseconds(500);
        while (test.clock.now().mono < end) {
            test.engine->turn(end);
            ++turns;
        }
        if (turns > 50) return "it spins: " + std::to_string(turns) + " turns in half a second";
        if (turns < 2) return "it did not try again";
        const uint64_t pauses = test.drops.value(DropReason::kDescriptorLimit);
        if (pauses < 2 || pauses > 20) return std::to_string(pauses) + " pauses";
        setrlimit(RLIMIT_NOFILE, &old);
        if (!test.run_until([&] { return server.echoes.size() == 10; })) return "never resumed";
        return "";
    });
    CHECK(failure == "");
}
#endif

TEST_CASE("errors of listening name the address and the remedy") {
    const EngineKind kind = any_engine();
    TestEngine test(kind);
    struct Nobody final : AcceptHandler {
        void on_accept(Accepted) override {}
    } nobody;
    const auto message = [&](const Endpoint& address, const std::string& interface = "") {
        auto opened = test.engine->listen({.address = address, .interface = interface}, nobody);
        return opened ? std::string("it works") : opened.error().message;
    };
    using Catch::Contains;
    Descriptor other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address;
    const socklen_t length = to_kernel(loopback(0), AF_INET, address);
    REQUIRE(bind(other.get(), &address.any, length) == 0);
    REQUIRE(listen(other.get(), 1) == 0);
    const Endpoint taken = local_endpoint(other.get());
    CHECK_THAT(message(taken), Contains(taken.text()) && Contains("another program"));
    CHECK_THAT(message({*IpAddress::parse("192.0.2.1"), 0}), Contains("no interface of this"));
    CHECK_THAT(message(loopback(0), "sluice-none"), Contains("no interface sluice-none"));
    CHECK_THAT(message(loopback(0), "a-name-that-is-far-too-long"), Contains("a-name-that"));
    const std::string failure = in_child([&]() -> std::string {
        if (setuid(65534) != 0) return "cannot become nobody";
        const std::string text = message(loopback(443));
        return text.find("CAP_NET_BIND_SERVICE") == std::string::npos ? "got: " + text : "";
    });
    CHECK(failure == "");
}

TEST_CASE("workers share an address") {
    const EngineKind kind = any_engine();
    TestEngine one(kind);
    TestEngine two(kind);
    EchoServer first(*one.engine, loopback(0));
    EchoServer second(*two.engine, first.acceptor->local());
    std::vector<Descriptor> clients;
    for (int i = 0; i < 50; ++i) {
        clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SocketAddress address;
        const socklen_t length = to_kernel(first.acceptor->local(), AF_INET, address);
        REQUIRE(connect(clients.back().get(), &address.any, length) == 0);
    }
    one.run_until_idle();
    two.run_until_idle();
    CHECK(first.echoes.size() + second.echoes.size() == 50);
    CHECK(!first.echoes.empty());
    CHECK(!second.echoes.empty());
}

}  // namespace sluice::io
