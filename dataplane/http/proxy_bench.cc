// What the proxy itself adds to a request and to a megabyte, without sockets and TLS: streams that
// only copy.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "dataplane/http/proxy.h"

namespace sluice::http {
namespace {

// Gives what it was told to give, and swallows what is written.
class Pipe final : public ByteStream {
  public:
    void set_handler(StreamHandler* handler) override { handler_ = handler; }
    IoResult read(MutableBytes into) override {
        if (left_ == 0) return {};
        const size_t head = std::min(into.size(), text_.size() - std::min(at_, text_.size()));
        const size_t size = std::min(into.size(), left_);
        if (head > 0) std::memcpy(into.data(), text_.data() + at_, head);
        // Behind the text come bytes of no meaning: a body.
        if (size > head) std::memset(into.data() + head, 'x', size - head);
        at_ += size;
        left_ -= size;
        return {IoStatus::kOk, size};
    }
    IoResult write(std::span<const Bytes> pieces) override {
        size_t size = 0;
        for (const Bytes piece : pieces)
            size += piece.size();
        return {IoStatus::kOk, size};
    }
    bool flush() override { return true; }
    void shutdown_write() override {}

    void give(std::string_view text, size_t body) {
        text_ = text;
        at_ = 0;
        left_ = text.size() + body;
        handler_->on_stream_ready();
    }

  private:
    StreamHandler* handler_ = nullptr;
    std::string_view text_;
    size_t at_ = 0;
    size_t left_ = 0;
};

struct Around final : Connector, PeerDirectory {
    std::unique_ptr<ByteStream> connect(const contract::ServerConfig&,
                                        contract::UpstreamProtocol) override {
        auto stream = std::make_unique<Pipe>();
        server = stream.get();
        return stream;
    }
    const std::string* peer_name(const IpAddress&) const override { return &name; }

    Pipe* server = nullptr;
    std::string name = "pixel";
};

void relay(benchmark::State& state) {
    const auto body = static_cast<size_t>(state.range(0));
    Around around;
    SeededRandom random(1);
    const Now now{Instant(std::chrono::hours(1)), WallTime(std::chrono::hours(1))};
    TimerWheel timers(now.mono);
    DropCounters drops;
    Proxy proxy(around, around, random, timers, drops);
    auto snapshot = std::make_shared<contract::Snapshot>();
    snapshot->backends.resize(1);
    snapshot->backends[0].servers.push_back({});
    snapshot->routes.resize(1);
    snapshot->routes[0].hosts = {"happy.k2.k8s.best"};
    proxy.apply(snapshot, now);
    auto stream = std::make_unique<Pipe>();
    Pipe& client = *stream;
    proxy.accept(std::move(stream),
                 {.remote = *Endpoint::parse("10.98.0.2:50000"),
                  .local = {},
                  .encrypted = true,
                  .through_tunnel = true},
                 now);
    const std::string request =
        "GET /app/api/v1/items?page=3 HTTP/1.1\r\nHost: happy.k2.k8s.best\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-GB,en;q=0.8,de;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
        "Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";
    const std::string response =
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Content-Type: application/json\r\nContent-Length: " +
        std::to_string(body) + "\r\nConnection: keep-alive\r\nETag: \"5f3c\"\r\n\r\n";
    for (auto unused : state) {
        client.give(request, 0);
        around.server->give(response, body);
        while (proxy.run_pending()) {
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * body));
}
BENCHMARK(relay)->Arg(0)->Arg(1000)->Arg(1 << 20);

}  // namespace
}  // namespace sluice::http
