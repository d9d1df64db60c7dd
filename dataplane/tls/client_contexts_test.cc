// The client side of TLS against the server side of this room, over a wire in memory. What other
// people's servers make of it is shown by the system tests.
#include "dataplane/tls/client_contexts.h"

#include <catch2/catch.hpp>
#include <deque>

#include "dataplane/tls/contexts.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using testing::Application;

// Two ends of one connection; each end's handler hears of what the other one did when pump() runs.
struct Pipe {
    struct End {
        std::string arriving;
        bool ended = false;
        StreamHandler* handler = nullptr;
        bool gone = false;
    };
    std::array<End, 2> ends;
    size_t most = SIZE_MAX;  // that one write moves
    bool connected = true;
};

class PipeStream final : public ByteStream {
  public:
    PipeStream(Pipe& pipe, size_t own) : pipe_(pipe), own_(own) {}
    ~PipeStream() override { pipe_.ends[own_] = {.ended = true, .gone = true}; }
    void set_handler(StreamHandler* handler) override { pipe_.ends[own_].handler = handler; }
    IoResult read(MutableBytes into) override {
        Pipe::End& end = pipe_.ends[own_];
        const size_t size = std::min(into.size(), end.arriving.size());
        if (size == 0) return {end.ended ? IoStatus::kEnd : IoStatus::kWouldBlock, 0};
        std::copy_n(end.arriving.begin(), size, into.begin());
        end.arriving.erase(0, size);
        return {IoStatus::kOk, size};
    }
    IoResult write(std::span<const Bytes> pieces) override {
        if (!pipe_.connected) return {IoStatus::kWouldBlock, 0};
        std::string& to = pipe_.ends[1 - own_].arriving;
        size_t left = pipe_.most > to.size() ? pipe_.most - to.size() : 0;
        size_t moved = 0;
        for (const Bytes piece : pieces) {
            const size_t size = std::min(left, piece.size());
            to.append(as_text(piece.first(size)));
            left -= size;
            moved += size;
        }
        if (moved == 0) return {IoStatus::kWouldBlock, 0};
        return {IoStatus::kOk, moved};
    }
    bool flush() override { return true; }
    void shutdown_write() override { pipe_.ends[1 - own_].ended = true; }

  private:
    Pipe& pipe_;
    size_t own_;
};

struct Bench {
    explicit Bench(std::vector<std::string> hosts = {"backend.test"})
        : certificate(testing::make_certificate(std::move(hosts))), contexts(drops) {
        contract::TlsConfig config;
        config.certificates = {certificate};
        REQUIRE(contexts.apply(config));
    }
    std::shared_ptr<contract::ServerTls> trusting() const {
        auto tls = std::make_shared<contract::ServerTls>();
        tls->verify = false;  // the certificates here have no alternative names
        tls->server_name = "backend.test";
        return tls;
    }
    // One connection; both sides run until nothing moves.
    void connect(const std::shared_ptr<const contract::ServerTls>& tls,
                 std::string_view alpn = "http/1.1") {
        pipe = std::make_unique<Pipe>();
        server.emplace(contexts.accept(std::make_unique<PipeStream>(*pipe, 1)));
        client.emplace(clients.connect(std::make_unique<PipeStream>(*pipe, 0), tls, "place", alpn));
    }
    void pump() {
        // What waits inside the streams is not seen here, so many rounds must pass in silence.
        for (int silent = 0; silent < 1000; ++silent) {
            const size_t before = client->received.size() + server->received.size();
            client->on_stream_ready();
            for (const size_t end : {size_t{1}, size_t{0}}) {
                if (pipe->ends[end].handler != nullptr) pipe->ends[end].handler->on_stream_ready();
            }
            if (before != client->received.size() + server->received.size()) silent = 0;
        }
    }

    std::shared_ptr<const contract::CertificateConfig> certificate;
    DropCounters drops;
    Contexts contexts;
    ClientContexts clients;
    std::unique_ptr<Pipe> pipe;
    std::optional<Application> server;
    std::optional<Application> client;
};

TEST_CASE("a server's client: both directions, in pieces of any size") {
    Bench bench;
    bench.connect(bench.trusting());
    bench.pipe->most = GENERATE(size_t{1000}, SIZE_MAX);
    std::string up(200'000, 'u');
    std::string down(300'000, 'd');
    up[77'777] = down[200'001] = 'x';
    bench.client->to_send = up;
    bench.server->to_send = down;
    bench.pump();
    CHECK((bench.server->received == up));
    CHECK((bench.client->received == down));
    const TlsFacts* facts = bench.client->stream->tls_facts();
    REQUIRE(facts != nullptr);
    CHECK(facts->done);
    CHECK(facts->version == "TLSv1.3");
    CHECK(facts->alpn == "http/1.1");
    CHECK(bench.server->stream->tls_facts()->server_name == "backend.test");
    CHECK(bench.client->stream->failure().empty());

    SECTION("close_notify is an end") {
        bench.server->finish = true;
        bench.pump();
        CHECK(bench.client->status == IoStatus::kEnd);
    }
    SECTION("a FIN without it is an error") {
        bench.pipe->ends[0].ended = true;
        bench.client->on_stream_ready();
        CHECK(bench.client->status == IoStatus::kError);
    }
    SECTION("our end is one for the server") {
        bench.client->finish = true;
        bench.pump();
        CHECK(bench.server->status == IoStatus::kEnd);
    }
}

TEST_CASE("nobody is trusted without a reason") {
    Bench bench;
    auto tls = std::make_shared<contract::ServerTls>();
    tls->server_name = "backend.test";
    std::string expected = "certificate";
    SECTION("another CA") {
        tls->ca_pem = testing::make_certificate({"backend.test"})->certificate_pem;
    }
    SECTION("the name is in the subject only") {
        tls->ca_pem = bench.certificate->certificate_pem;
    }
    SECTION("a CA file without a certificate") {
        tls->ca_pem = "nothing";
        expected = "CA file";
    }
    SECTION("no name") {
        tls->server_name.clear();
        expected = "no name";
    }
    SECTION("a key that is another's") {
        tls->verify = false;
        tls->certificate_pem = bench.certificate->certificate_pem;
        tls->private_key_pem = testing::make_certificate({"x"})->private_key_pem;
        expected = "does not belong";
    }
    bench.connect(tls);
    bench.client->to_send = "secret";
    bench.pump();
    CHECK(bench.client->status == IoStatus::kError);
    CHECK(bench.client->to_send == "secret");
    CHECK(bench.server->received.empty());
    const std::string failure(bench.client->stream->failure());
    CHECK(failure.starts_with("TLS: "));
    INFO(failure);
    CHECK(failure.find(expected) != std::string::npos);
}

TEST_CASE("a connection that is not there yet is waited for") {
    Bench bench;
    bench.connect(bench.trusting());
    bench.pipe->connected = false;
    bench.client->to_send = "hello";
    bench.client->on_stream_ready();
    CHECK(bench.client->write_status == IoStatus::kWouldBlock);
    bench.pipe->connected = true;
    bench.pump();
    CHECK(bench.server->received == "hello");
}

}  // namespace
}  // namespace sluice::tls
