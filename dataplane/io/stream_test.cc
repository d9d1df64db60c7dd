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
    size_t partial_writes = 0;

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
                if (result.bytes < rest.size()) ++partial_writes;
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
    CHECK(server.echoes[0]->partial_writes > 0);  // else this test does not test them
}

}  // namespace sluice::io
