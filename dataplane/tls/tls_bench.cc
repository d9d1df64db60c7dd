// What TLS costs a server: full and resumed handshakes, records out and in, taking on certificates.
// Client and server share the thread; only the server's part is timed.
#include <benchmark/benchmark.h>

#include <ctime>
#include <vector>

#include "dataplane/tls/contexts.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

// CPU time of this thread, so that a busy machine does not count.
class Stopwatch {
  public:
    void start() { begun_ = now(); }
    void stop() { total_ += now() - begun_; }
    double seconds() const { return total_; }

  private:
    static double now() {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    }

    double begun_ = 0;
    double total_ = 0;
};

struct Node {
    explicit Node(KeyKind kind) {
        config.certificates = {make_certificate({"a.example.org"}, kind)};
        contexts.set_ticket_keys(make_ticket_keys());
        SLUICE_CHECK(contexts.apply(config).has_value());
    }
    DropCounters drops;
    contract::TlsConfig config;
    Contexts contexts{drops};
};

// From the accept to the destruction of the stream; the client's steps in between are not counted.
void handshakes(benchmark::State& state, KeyKind kind, int version, bool resume) {
    Node node(kind);
    ClientOptions options{
        .server_name = "a.example.org", .min_version = version, .max_version = version};
    std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>> session;
    if (resume) {
        Link first(node.contexts, options);
        first.run();
        // A copy, because a client forgets the session of a connection that it did not shut down.
        session.reset(SSL_SESSION_dup(SSL_get_session(first.client.ssl())));
    }
    for (auto _ : state) {
        const std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>> copy(
            resume ? SSL_SESSION_dup(session.get()) : nullptr);
        options.session = copy.get();
        Stopwatch watch;
        const auto wire = std::make_shared<Wire>();
        Client client(options);
        watch.start();
        auto app = std::make_unique<Application>(
            node.contexts.accept(std::make_unique<MemoryTransport>(wire)));
        watch.stop();
        while (!client.connected() || !app->stream->tls_facts()->done) {
            client.step(*wire);
            watch.start();
            wire->ready();
            watch.stop();
        }
        SLUICE_CHECK(app->stream->tls_facts()->resumed == resume);
        watch.start();
        app.reset();
        watch.stop();
        state.SetIterationTime(watch.seconds());
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(handshakes, ecdsa_tls13, KeyKind::kEcdsa, TLS1_3_VERSION, false)->UseManualTime();
BENCHMARK_CAPTURE(handshakes, rsa2048_tls13, KeyKind::kRsa, TLS1_3_VERSION, false)->UseManualTime();
BENCHMARK_CAPTURE(handshakes, ecdsa_tls12, KeyKind::kEcdsa, TLS1_2_VERSION, false)->UseManualTime();
BENCHMARK_CAPTURE(handshakes, ecdsa_tls13_resumed, KeyKind::kEcdsa, TLS1_3_VERSION, true)
    ->UseManualTime();

// Encryption of bodies, offered in portions of the given size, into a transport that takes all.
void send(benchmark::State& state) {
    Node node(KeyKind::kEcdsa);
    Link link(node.contexts, {.ciphers13 = "TLS_AES_128_GCM_SHA256"});
    link.run();
    const std::string body(static_cast<size_t>(state.range(0)), 'x');
    for (auto _ : state) {
        link.wire->to_client.clear();
        Bytes rest = as_bytes(body);
        while (!rest.empty()) {
            rest = rest.subspan(link.app.stream->write(std::array{rest}).bytes);
        }
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(send)->Arg(100)->Arg(1400)->Arg(16 * 1024)->Arg(64 * 1024)->Arg(256 * 1024);

// Decryption of what a client sent in full records.
void receive(benchmark::State& state) {
    Node node(KeyKind::kEcdsa);
    Link link(node.contexts, {.ciphers13 = "TLS_AES_128_GCM_SHA256"});
    link.run();
    const std::string body(64 * 1024, 'x');
    std::vector<uint8_t> buffer(64 * 1024);
    for (auto _ : state) {
        link.client.to_send = body;
        link.client.step(*link.wire);
        Stopwatch watch;
        size_t received = 0;
        watch.start();
        while (received < body.size())
            received += link.app.stream->read(buffer).bytes;
        watch.stop();
        state.SetIterationTime(watch.seconds());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(body.size()));
}
BENCHMARK(receive)->UseManualTime();

contract::TlsConfig many_certificates() {
    const auto one = make_certificate({"x.example.org"});
    contract::TlsConfig config;
    for (int i = 0; i < 10000; ++i) {
        auto copy = std::make_shared<contract::CertificateConfig>(*one);
        copy->hosts = {"host" + std::to_string(i) + ".example.org"};
        config.certificates.push_back(std::move(copy));
    }
    return config;
}

// Ten thousand certificates: all new; none changed; one changed.
void apply_new(benchmark::State& state) {
    const auto config = many_certificates();
    DropCounters drops;
    for (auto _ : state) {
        Contexts contexts(drops);
        SLUICE_CHECK(contexts.apply(config).has_value());
    }
}
BENCHMARK(apply_new)->Unit(benchmark::kMillisecond)->Iterations(1);

void apply_unchanged(benchmark::State& state) {
    const auto config = many_certificates();
    DropCounters drops;
    Contexts contexts(drops);
    SLUICE_CHECK(contexts.apply(config).has_value());
    for (auto _ : state)
        SLUICE_CHECK(contexts.apply(config).has_value());
}
BENCHMARK(apply_unchanged)->Unit(benchmark::kMillisecond);

void apply_one_changed(benchmark::State& state) {
    auto config = many_certificates();
    const std::array last{config.certificates.back(), make_certificate({"new.example.org"})};
    DropCounters drops;
    Contexts contexts(drops);
    SLUICE_CHECK(contexts.apply(config).has_value());
    size_t turn = 0;
    for (auto _ : state) {
        config.certificates.back() = last[++turn % last.size()];
        SLUICE_CHECK(contexts.apply(config).has_value());
    }
}
BENCHMARK(apply_one_changed)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice::tls
