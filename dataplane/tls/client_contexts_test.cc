// The client side of TLS against the server side of this room, over a wire in memory. What other
// people's servers make of it is shown by the system tests.
#include "dataplane/tls/client_contexts.h"

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "dataplane/tls/certificate.h"
#include "dataplane/tls/contexts.h"
#include "dataplane/tls/pem.h"
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

// Self-signed and good for servers of this name, for so many seconds by the machine's clock, which
// is what OpenSSL goes by.
std::shared_ptr<const contract::CertificateConfig> believable(const std::string& host,
                                                              long seconds = 3600) {
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr leaf = testing::make_leaf(key.get(), host);
    X509_gmtime_adj(X509_getm_notAfter(leaf.get()), seconds);
    X509_EXTENSION* const name =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + host).c_str());
    REQUIRE(name != nullptr);
    X509_add_ext(leaf.get(), name, -1);
    X509_EXTENSION_free(name);
    REQUIRE(X509_sign(leaf.get(), key.get(), EVP_sha256()) > 0);
    auto config = std::make_shared<contract::CertificateConfig>();
    config->hosts = {host};
    config->certificate_pem =
        testing::pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, leaf.get()); });
    config->private_key_pem = testing::pem_of([&](BIO* bio) {
        PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    return config;
}

struct Bench {
    explicit Bench(std::shared_ptr<const contract::CertificateConfig> shown =
                       testing::make_certificate({"backend.test"}))
        : certificate(std::move(shown)), contexts(drops) {
        contract::TlsConfig config;
        config.certificates = {certificate};
        REQUIRE(contexts.apply(config));
        contexts.set_ticket_keys(testing::make_ticket_keys());
    }
    // One that believes this certificate.
    std::shared_ptr<contract::ServerTls> believing() const {
        auto tls = std::make_shared<contract::ServerTls>();
        tls->ca_pem = certificate->certificate_pem;
        tls->server_name = "backend.test";
        return tls;
    }
    // A whole connection. What the client's handshake came to.
    enum class Met : uint8_t { kFull, kResumed, kRefused };
    Met meet(const std::shared_ptr<const contract::ServerTls>& tls) {
        connect(tls);
        client->to_send = "hello";
        server->to_send = "hello";
        pump();
        if (!client->stream->tls_facts()->done) return Met::kRefused;
        REQUIRE(client->received == "hello");
        return client->stream->tls_facts()->resumed ? Met::kResumed : Met::kFull;
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
        client.reset();
        server.reset();
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

using Met = Bench::Met;

TEST_CASE("a session is taken up where nothing else counts than before") {
    Bench bench(believable("backend.test"));
    const auto tls = bench.believing();
    REQUIRE(bench.meet(tls) == Met::kFull);
    REQUIRE(bench.meet(tls) == Met::kResumed);
    REQUIRE(bench.meet(tls) == Met::kResumed);

    auto next = bench.believing();
    SECTION("another CA") {
        next->ca_pem = believable("backend.test")->certificate_pem;
        CHECK(bench.meet(next) == Met::kRefused);
    }
    SECTION("one more CA") {
        next->ca_pem += believable("backend.test")->certificate_pem;
        CHECK(bench.meet(next) == Met::kFull);
    }
    SECTION("another name") {
        next->server_name = "other.test";
        CHECK(bench.meet(next) == Met::kRefused);
    }
    SECTION("a certificate of ours") {
        const auto own = testing::make_certificate({"us"});
        next->certificate_pem = own->certificate_pem;
        next->private_key_pem = own->private_key_pem;
        CHECK(bench.meet(next) == Met::kFull);
    }
    SECTION("whoever answers was believed before") {
        next->verify = false;
        REQUIRE(bench.meet(next) == Met::kFull);
        REQUIRE(bench.meet(next) == Met::kResumed);
        auto strict = bench.believing();
        CHECK(bench.meet(strict) == Met::kFull);
    }
}

TEST_CASE("what no snapshot names any more is kept by nobody") {
    // Two workers, who both hold what their snapshot has.
    std::array<ClientContexts, 2> workers;
    auto gone = std::make_shared<contract::ServerTls>();
    const std::weak_ptr<const contract::ServerTls> watched = gone;
    const auto stays = std::make_shared<contract::ServerTls>();
    using All = std::vector<std::shared_ptr<const contract::ServerTls>>;
    for (ClientContexts& worker : workers)
        worker.prepare(All{gone, stays});
    gone.reset();
    CHECK_FALSE(watched.expired());
    for (ClientContexts& worker : workers)
        worker.prepare(All{stays});
    CHECK(watched.expired());
}

TEST_CASE("a session does not outlive the server's certificate") {
    // On a machine that is too slow for two handshakes in so many seconds: once more, with more.
    bool resumed = false;
    for (long seconds = 2; seconds < 100 && !resumed; seconds *= 2) {
        const auto certificate = believable("backend.test", seconds);
        Bench bench(certificate);
        const auto tls = bench.believing();
        if (bench.meet(tls) != Met::kFull || bench.meet(tls) != Met::kResumed) continue;
        resumed = true;
        // The last session came with a connection that was itself taken up.
        const BioPtr reader = reader_of(certificate->certificate_pem);
        const X509Ptr leaf = next_certificate(reader.get(), nullptr);
        REQUIRE(leaf != nullptr);
        while (X509_cmp_current_time(X509_get0_notAfter(leaf.get())) > 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        CHECK(bench.meet(tls) == Met::kRefused);
        CHECK(bench.client->stream->failure().find("expired") != std::string_view::npos);
    }
    CHECK(resumed);
}

TEST_CASE("the machine's CAs count where no other is named") {
    Bench bench(believable("backend.test"));
    auto tls = bench.believing();
    const auto all = std::make_shared<const std::string>(
        believable("another.test")->certificate_pem + bench.certificate->certificate_pem);
    SECTION("they do") {
        tls->ca_pem.clear();
        tls->machine_cas_pem = all;
        bench.clients.prepare(std::array<std::shared_ptr<const contract::ServerTls>, 1>{tls});
        CHECK(bench.meet(tls) == Met::kFull);
        CHECK(bench.meet(tls) == Met::kResumed);
        auto changed = std::make_shared<contract::ServerTls>();
        changed->server_name = "backend.test";
        changed->machine_cas_pem =
            std::make_shared<const std::string>(believable("another.test")->certificate_pem);
        CHECK(bench.meet(changed) == Met::kRefused);
    }
    SECTION("they do not") {
        tls->ca_pem = believable("another.test")->certificate_pem;
        tls->machine_cas_pem = all;
        CHECK(bench.meet(tls) == Met::kRefused);
    }
    SECTION("there are none") {
        tls->ca_pem.clear();
        CHECK(bench.meet(tls) == Met::kRefused);
        CHECK(bench.client->stream->failure().find("no CA") != std::string_view::npos);
    }
    SECTION("they are damaged") {
        tls->ca_pem.clear();
        tls->machine_cas_pem = std::make_shared<const std::string>(
            bench.certificate->certificate_pem + "-----BEGIN CERTIFICATE-----\nx\n");
        CHECK(bench.meet(tls) == Met::kRefused);
    }
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
