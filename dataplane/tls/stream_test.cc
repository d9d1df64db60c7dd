// The stream's behaviour as bytes come and go: fragments, full transports, endings, hostile input.
#include "dataplane/tls/stream.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

// One node whose certificate is made once for all tests.
struct Node {
    Node() {
        static const auto kCertificate = make_certificate({"a.example.org"});
        contract::TlsConfig config;
        config.certificates = {kCertificate};
        REQUIRE(contexts.apply(config));
    }
    uint64_t failures() const { return drops.value(DropReason::kTlsHandshakeFailed); }
    uint64_t unknown() const { return drops.value(DropReason::kTlsUnknownServerName); }

    DropCounters drops;
    Contexts contexts{drops};
};

std::string pattern(size_t size, uint32_t seed) {
    std::mt19937 random(seed);
    std::string bytes(size, '\0');
    for (char& byte : bytes)
        byte = static_cast<char>(random());
    return bytes;
}

// The same handshake message in records of at most `portion` bytes.
std::string in_small_records(const std::string& records, size_t portion) {
    std::string small;
    for (size_t at = 0; at + 5 <= records.size();) {
        const size_t size = load_be16(as_bytes(records).data() + at + 3);
        for (size_t from = 0; from < size; from += portion) {
            const size_t part = std::min(portion, size - from);
            small += records.substr(at, 3);
            small += static_cast<char>(part >> 8);
            small += static_cast<char>(part & 0xff);
            small += records.substr(at + 5 + from, part);
        }
        at += 5 + size;
    }
    return small;
}

void deliver(Wire& wire, std::string_view bytes, size_t step) {
    for (size_t at = 0; at < bytes.size(); at += step) {
        wire.to_server += bytes.substr(at, step);
        wire.ready();
    }
}

TEST_CASE("A ClientHello cut in any way gives the same decision") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const bool known = GENERATE(true, false);
    Node node;
    const ClientOptions options{.server_name = known ? "A.example.org." : "b.example.org",
                                .max_version = version};
    uint64_t expected = 0;
    const auto connect = [&](size_t portion, size_t step) {
        CAPTURE(portion, step);
        Link link(node.contexts, options);
        link.client.step(*link.wire);
        std::string hello = std::exchange(link.wire->to_server, {});
        if (portion > 0) hello = in_small_records(hello, portion);
        deliver(*link.wire, hello, step);
        link.run();
        ++expected;
        CHECK(link.client.connected() == known);
        CHECK(link.facts().done == known);
        CHECK(link.facts().server_name == (known ? "a.example.org" : ""));
        CHECK((known ? node.contexts.handshakes() : node.unknown()) == expected);
    };
    connect(0, SIZE_MAX);
    for (const size_t step : {1, 2, 3, 4, 5, 6, 7, 11, 64, 200})
        connect(0, step);
    for (const size_t portion : {1, 2, 3, 4, 5, 9, 50, 100}) {
        connect(portion, SIZE_MAX);
        connect(portion, 1);
        connect(portion, 7);
    }
    // Cut once, at every place.
    Link sample(node.contexts, options);
    sample.client.step(*sample.wire);
    for (size_t at = 1; at < sample.wire->to_server.size(); ++at) {
        Link link(node.contexts, options);
        link.client.step(*link.wire);
        const std::string hello = std::exchange(link.wire->to_server, {});
        deliver(*link.wire, hello.substr(0, at), SIZE_MAX);
        CHECK(link.wire->to_client.empty());
        deliver(*link.wire, hello.substr(at), SIZE_MAX);
        CHECK_FALSE(link.wire->to_client.empty());
        CHECK((known ? node.failures() : node.unknown()) == (known ? 0 : ++expected));
    }
    CHECK(node.failures() == 0);
}

TEST_CASE("A second ClientHello cannot ask for another name") {
    Node node;
    Link link(node.contexts, {.server_name = "a.example.org", .groups = "P-521:P-256"});
    link.client.step(*link.wire);
    link.wire->ready();  // answers with a HelloRetryRequest
    REQUIRE_FALSE(link.wire->to_client.empty());
    REQUIRE(link.client.step(*link.wire));
    std::string& second = link.wire->to_server;
    const size_t at = second.find("a.example.org");
    REQUIRE(at != std::string::npos);
    const bool change = GENERATE(true, false);
    if (change) second[at] = 'b';
    link.wire->ready();
    // Refused at once, before the server names a certificate: an alert, illegal_parameter.
    const std::string alert("\x15\x03\x03\x00\x02\x02\x2f", 7);
    CHECK((link.wire->to_client == alert) == change);
    link.run();
    CHECK(link.client.connected() == !change);
    CHECK(node.failures() == (change ? 1 : 0));
}

TEST_CASE("The handler hears of the end of the handshake, and not of its steps") {
    Node node;
    Link link(node.contexts);
    link.client.step(*link.wire);
    link.wire->ready();
    CHECK(link.app.calls == 0);
    CHECK(link.app.stream->write(std::array{as_bytes("early")}).status == IoStatus::kWouldBlock);
    std::array<uint8_t, 8> buffer{};
    CHECK(link.app.stream->read(buffer).status == IoStatus::kWouldBlock);
    link.app.to_send = "now";
    link.client.step(*link.wire);
    link.wire->ready();
    CHECK(link.app.calls == 1);
    link.run();
    CHECK(link.client.received == "now");
}

TEST_CASE("Data that comes with the last handshake message is there at the first call") {
    Node node;
    Link link(node.contexts);
    link.client.to_send = "GET / HTTP/1.1\r\n\r\n";
    link.client.step(*link.wire);
    link.wire->ready();
    link.client.step(*link.wire);  // Finished and the request together
    link.wire->ready();
    CHECK(link.app.calls == 1);
    CHECK(link.app.received == "GET / HTTP/1.1\r\n\r\n");
}

TEST_CASE("Small pieces leave in one record and one write, large ones in full records") {
    Node node;
    Link link(node.contexts);
    link.run();
    const std::string head = "HTTP/1.1 200 OK\r\n\r\n";
    const std::string body = pattern(100, 1);
    const uint64_t writes = link.wire->server_writes;
    const std::array pieces{Bytes(), as_bytes(head), Bytes(), as_bytes(body), Bytes()};
    const IoResult small = link.app.stream->write(pieces);
    CHECK(small.status == IoStatus::kOk);
    CHECK(small.bytes == head.size() + body.size());
    CHECK(link.wire->server_writes == writes + 1);
    link.run();
    CHECK(link.client.received == head + body);
    CHECK(link.client.read_sizes == std::vector{head.size() + body.size()});

    const std::string large = pattern(100000, 2);
    link.client.received.clear();
    link.client.read_sizes.clear();
    const uint64_t before = link.wire->server_writes;
    const IoResult first = link.app.stream->write(std::array{as_bytes(head), as_bytes(large)});
    CHECK(first.bytes == kBatchMax);
    CHECK(link.wire->server_writes == before + 1);
    link.app.to_send = large.substr(first.bytes - head.size());
    link.run();
    CHECK(link.client.received == head + large);
    REQUIRE(link.client.read_sizes.size() == 7);
    for (size_t i = 0; i < 6; ++i)
        CHECK(link.client.read_sizes[i] == kRecordMax);
}

TEST_CASE("Nothing to write is no error and no record") {
    Node node;
    Link link(node.contexts);
    link.run();
    const uint64_t writes = link.wire->server_writes;
    CHECK(link.app.stream->write({}).status == IoStatus::kWouldBlock);
    CHECK(link.app.stream->write(std::array{Bytes()}).bytes == 0);
    CHECK(link.wire->server_writes == writes);
    CHECK(link.app.stream->flush());
}

TEST_CASE("Megabytes both ways at once arrive as they were sent, whatever the transport takes") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto seed = GENERATE(1U, 2U, 3U, 4U);
    Node node;
    Link link(node.contexts, {.max_version = version});
    std::mt19937 random(seed);
    const auto limit = [&random]() -> size_t {
        switch (random() % 4) {
            case 0:
                return 0;
            case 1:
                return 1 + random() % 20;
            case 2:
                return 1 + random() % 3000;
            default:
                return 1 + random() % 100000;
        }
    };
    link.wire->read_limit = limit;
    link.wire->write_limit = limit;
    link.wire->room = 1 + random() % 200000;
    link.app.read_size = 1 + random() % 40000;
    const std::string up = pattern(2'000'000 + random() % 1000, seed + 10);
    const std::string down = pattern(2'000'000 + random() % 1000, seed + 20);
    link.client.to_send = up;
    link.app.to_send = down;
    link.run();
    CHECK((link.app.received == up));
    CHECK((link.client.received == down));
    CHECK(link.app.stream->flush());
}

TEST_CASE("A full transport: the batch in flight is held, the rest is refused until it has gone") {
    Node node;
    Link link(node.contexts);
    link.run();
    link.client.deaf = true;
    link.wire->room = 1000;
    const std::string data = pattern(3 * kBatchMax, 5);
    const IoResult first = link.app.stream->write(std::array{as_bytes(data)});
    CHECK(first.status == IoStatus::kOk);
    CHECK(first.bytes == kBatchMax);
    CHECK_FALSE(link.app.stream->flush());
    const std::string rest = data.substr(first.bytes);
    for (int i = 0; i < 3; ++i) {
        CHECK(link.app.stream->write(std::array{as_bytes(rest)}).status == IoStatus::kWouldBlock);
        link.wire->ready();
    }
    CHECK(link.wire->to_client.size() == 1000);

    // The peer sends while it takes nothing: that must go on, or both would wait for ever.
    link.client.to_send = "from below";
    link.run();
    CHECK(link.app.received == "from below");

    link.client.deaf = false;
    link.wire->room = SIZE_MAX;
    link.app.to_send = rest;
    link.run();
    CHECK((link.client.received == data));
    CHECK(link.app.stream->flush());
}

TEST_CASE("A slow reader gets every byte through a window of a few bytes") {
    Node node;
    Link link(node.contexts);
    link.wire->room = 37;
    const std::string data = pattern(150'000, 6);
    link.app.to_send = data;
    link.run();
    CHECK((link.client.received == data));
}

TEST_CASE("close_notify is the end, and the other direction goes on") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Node node;
    Link link(node.contexts, {.max_version = version});
    link.client.to_send = "last words";
    link.run();
    SSL_shutdown(link.client.ssl());
    link.client.collect(*link.wire);
    link.wire->client_finished = true;
    link.app.to_send = "the answer";
    link.run();
    CHECK(link.app.received == "last words");
    CHECK(link.app.status == IoStatus::kEnd);
    std::array<uint8_t, 8> buffer{};
    CHECK(link.app.stream->read(buffer).status == IoStatus::kEnd);
    CHECK(link.client.received == "the answer");
}

TEST_CASE("A FIN without close_notify is an error: anybody on the path can send one") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Node node;
    Link link(node.contexts, {.max_version = version});
    link.client.to_send = "half a requ";
    link.run();
    link.wire->client_finished = true;
    link.run();
    CHECK(link.app.received == "half a requ");
    CHECK(link.app.status == IoStatus::kError);
    CHECK(link.app.stream->write(std::array{as_bytes("x")}).status == IoStatus::kError);
    CHECK(node.failures() == 0);
}

TEST_CASE("What came before a truncation is delivered first") {
    Node node;
    Link link(node.contexts);
    link.run();
    link.client.to_send = pattern(5000, 8);
    link.client.step(*link.wire);
    link.wire->client_finished = true;
    std::vector<uint8_t> buffer(64 * 1024);
    CHECK(link.app.stream->read(buffer).bytes == 5000);
    CHECK(link.app.stream->read(buffer).status == IoStatus::kError);
}

TEST_CASE("shutdown_write sends close_notify after the data, then the FIN, and reading goes on") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Node node;
    Link link(node.contexts, {.max_version = version});
    link.run();
    link.client.deaf = true;
    link.wire->room = 100;
    const std::string data = pattern(30'000, 9);
    CHECK(link.app.stream->write(std::array{as_bytes(data)}).bytes == data.size());
    link.app.stream->shutdown_write();
    link.app.stream->shutdown_write();  // twice is once
    CHECK_FALSE(link.wire->server_finished);
    CHECK_FALSE(link.app.stream->flush());
    CHECK(link.app.stream->write(std::array{as_bytes("more")}).status == IoStatus::kError);

    link.client.deaf = false;
    link.wire->room = SIZE_MAX;
    link.run();
    CHECK((link.client.received == data));
    CHECK(link.client.got_close_notify());
    CHECK(link.wire->server_finished);
    CHECK(link.app.stream->flush());
    link.client.to_send = "heard you";
    link.run();
    CHECK(link.app.received == "heard you");
}

TEST_CASE("Anything but TLS gets a clean failure, counted once") {
    Node node;
    const std::string garbage = pattern(100'000, 11);
    const std::vector<std::string> inputs{
        "GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        std::string(1000, '\0'),
        garbage,
        std::string("\x16\x03\x01\xff\xff", 5) + garbage,
        std::string("\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9) + garbage,
        std::string("\x15\x03\x01\x00\x02\x02\x28", 7),
        std::string("\x80\x2e\x01\x00\x02", 5) + garbage,  // SSL 2
    };
    uint64_t expected = 0;
    for (const std::string& input : inputs) {
        for (const size_t step : {size_t{1}, size_t{13}, SIZE_MAX}) {
            CAPTURE(input.substr(0, 20), step);
            Link link(node.contexts);
            deliver(*link.wire,
                    std::string_view(input).substr(0, step == SIZE_MAX ? SIZE_MAX : 2000),
                    std::min(step, input.size()));
            link.wire->client_finished = true;
            link.wire->ready();
            CHECK(link.app.status == IoStatus::kError);
            CHECK(link.app.stream->write(std::array{as_bytes("x")}).status == IoStatus::kError);
            CHECK(link.app.received.empty());
            CHECK_FALSE(link.facts().done);
            CHECK(link.wire->server_finished);
            CHECK(link.wire->to_client.size() <= 7);  // an alert at most
            CHECK(ERR_peek_error() == 0);
            CHECK(node.failures() == ++expected);
        }
    }
    CHECK(node.contexts.handshakes() == 0);
}

TEST_CASE("Whoever connects and leaves without a byte is not counted") {
    Node node;
    Link link(node.contexts);
    link.wire->client_finished = true;
    link.wire->ready();
    CHECK(link.app.status == IoStatus::kError);
    CHECK(node.failures() == 0);
}

TEST_CASE("A transport that breaks is an error in both directions") {
    Node node;
    Link link(node.contexts);
    const bool in_handshake = GENERATE(true, false);
    if (in_handshake) {
        link.client.step(*link.wire);
    } else {
        link.run();
    }
    link.wire->broken = true;
    link.wire->ready();
    CHECK(link.app.status == IoStatus::kError);
    CHECK(link.app.stream->write(std::array{as_bytes("x")}).status == IoStatus::kError);
    std::array<uint8_t, 8> buffer{};
    CHECK(link.app.stream->read(buffer).status == IoStatus::kError);
    link.app.stream->shutdown_write();
}

TEST_CASE("A record that was changed on the way ends the connection") {
    Node node;
    Link link(node.contexts);
    link.run();
    link.client.to_send = pattern(1000, 12);
    link.client.step(*link.wire);
    link.wire->to_server[500] = static_cast<char>(link.wire->to_server[500] ^ 1);
    link.run();
    CHECK(link.app.received.empty());
    CHECK(link.app.status == IoStatus::kError);
    CHECK(link.client.failed);  // it got the alert
    CHECK(node.failures() == 0);
}

TEST_CASE("Entries that others left in the error queue do no harm, and we leave none") {
    Node node;
    Link link(node.contexts);
    link.client.to_send = "ping";
    for (int i = 0; i < 6; ++i) {
        link.client.step(*link.wire);
        ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
        link.wire->ready();
        ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
        CHECK(link.app.stream->write(std::array{as_bytes("x")}).status != IoStatus::kError);
        CHECK(link.app.status != IoStatus::kError);
    }
    CHECK(link.client.connected());
    CHECK(link.app.received == "ping");
    CHECK(link.client.received.starts_with("xx"));
    link.app.stream->shutdown_write();
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("A handler may destroy the stream from inside its call") {
    struct Destroyer final : StreamHandler {
        explicit Destroyer(std::unique_ptr<ByteStream> accepted) : stream(std::move(accepted)) {
            stream->set_handler(this);
        }
        void on_stream_ready() override {
            ++calls;
            std::array<uint8_t, 8> buffer{};
            if (--left == 0) {
                stream->read(buffer);
                stream.reset();
            }
        }
        std::unique_ptr<ByteStream> stream;
        int left = 1;
        int calls = 0;
    };
    Node node;
    const bool succeeds = GENERATE(true, false);
    const auto wire = std::make_shared<Wire>();
    Destroyer destroyer(node.contexts.accept(std::make_unique<MemoryTransport>(wire)));
    destroyer.left = succeeds ? GENERATE(1, 2) : 1;
    Client client({.server_name = succeeds ? "a.example.org" : "b.example.org"});
    client.to_send = "ping";
    for (int i = 0; i < 5 && !wire->destroyed; ++i) {
        client.step(*wire);
        wire->ready();
    }
    if (!wire->destroyed) wire->ready();
    CHECK(wire->destroyed);
    CHECK(destroyer.stream == nullptr);
}

TEST_CASE("A handshake abandoned after any number of bytes leaves nothing behind") {
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Node node;
    size_t total = 0;
    const auto connect = [&](size_t bytes) {
        Link link(node.contexts, {.server_name = "a.example.org", .max_version = version});
        size_t left = bytes;
        for (int round = 0; round < 4; ++round) {
            link.client.step(*link.wire);
            std::string sent = std::exchange(link.wire->to_server, {});
            total += sent.size();
            sent.resize(std::min(left, sent.size()));
            left -= sent.size();
            deliver(*link.wire, sent, std::max<size_t>(sent.size(), 1));
            if (left == 0) break;
        }
        CHECK(link.app.status == IoStatus::kWouldBlock);
    };  // and here the stream is destroyed
    connect(SIZE_MAX);
    REQUIRE(node.contexts.handshakes() == 1);
    const size_t whole = total;
    for (size_t bytes = 0; bytes < whole; bytes += 3)
        connect(bytes);
    CHECK(node.contexts.handshakes() == 1);
    CHECK(node.failures() == 0);  // we ended them; whoever did knows why
}

TEST_CASE("shutdown_write in the middle of the handshake ends it") {
    Node node;
    Link link(node.contexts);
    link.client.step(*link.wire);
    link.wire->ready();
    link.app.stream->shutdown_write();
    CHECK(link.wire->server_finished);
    link.run();
    CHECK(link.app.status == IoStatus::kError);
    CHECK_FALSE(link.facts().done);
    CHECK(node.contexts.handshakes() == 0);
}

TEST_CASE("Renegotiation is refused") {
    Node node;
    Link link(node.contexts, {.max_version = TLS1_2_VERSION});
    link.run();
    REQUIRE(link.client.connected());
    CHECK(SSL_renegotiate(link.client.ssl()) == 1);
    link.client.to_send = "x";
    link.run();
    CHECK(link.client.failure == SSL_R_NO_RENEGOTIATION);  // by a warning; this client gives up
    CHECK(link.app.received.empty());
    CHECK(node.contexts.handshakes() == 1);
}

TEST_CASE("A ClientHello that claims to be huge is refused before it comes") {
    Node node;
    Link link(node.contexts);
    deliver(*link.wire, std::string_view("\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9), 1);
    CHECK(link.app.status == IoStatus::kError);
    CHECK(node.failures() == 1);
}

TEST_CASE("Changes of keys by the client are followed, a flood of them is not") {
    Node node;
    Link link(node.contexts);
    link.run();
    const auto update = [&] {
        REQUIRE(SSL_key_update(link.client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
        REQUIRE(SSL_do_handshake(link.client.ssl()) == 1);
        link.client.collect(*link.wire);
    };
    for (int i = 0; i < 100; ++i) {
        update();
        link.client.to_send = "x";
        link.run();
    }
    CHECK(link.app.received == std::string(100, 'x'));
    CHECK(link.app.status == IoStatus::kWouldBlock);
    link.app.to_send = "still fine";
    link.run();
    CHECK(link.client.received == "still fine");

    for (int i = 0; i < 40; ++i)
        update();
    link.wire->ready();
    CHECK(link.app.status == IoStatus::kError);
}

TEST_CASE("A client that asks for new keys and takes no answers cannot make us hold many") {
    Node node;
    Link link(node.contexts);
    link.run();
    link.client.deaf = true;
    link.wire->room = 0;
    for (int i = 0; i < 20'000; ++i) {
        REQUIRE(SSL_key_update(link.client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
        REQUIRE(SSL_do_handshake(link.client.ssl()) == 1);
        size_t written = 0;
        REQUIRE(SSL_write_ex(link.client.ssl(), "x", 1, &written) == 1);
        link.client.collect(*link.wire);
        link.wire->ready();
    }
    // An answer takes 27 bytes: it stopped reading after some thousands.
    CHECK(link.app.received.size() > 1000);
    CHECK(link.app.received.size() < 6000);
    CHECK(link.wire->to_server.size() > 100'000);
    link.wire->room = SIZE_MAX;
    link.client.deaf = false;
    link.run();
    CHECK(link.app.received == std::string(20'000, 'x'));
}

TEST_CASE("Our keys change before they have encrypted too much") {
    static const auto kCertificate = make_certificate({"a.example.org"});
    DropCounters drops;
    const auto context = std::make_shared<ServerContext>(drops);
    contract::TlsConfig config;
    config.certificates = {kCertificate};
    REQUIRE(context->apply(config));
    context->records_per_key = 3;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);

    const auto wire = std::make_shared<Wire>();
    Client client({.max_version = version});
    static int updates = 0;
    updates = 0;
    SSL_set_msg_callback(client.ssl(),
                         [](int sent, int, int type, const void* bytes, size_t size, SSL*, void*) {
                             if (sent == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
                                 *static_cast<const uint8_t*>(bytes) == SSL3_MT_KEY_UPDATE) {
                                 ++updates;
                             }
                         });
    Application app(std::make_unique<Stream>(context, std::make_unique<MemoryTransport>(wire)));
    const std::string data = pattern(10 * kRecordMax, 14);
    app.to_send = data;
    for (int i = 0; i < 10; ++i) {
        client.step(*wire);
        wire->ready();
    }
    CHECK((client.received == data));
    CHECK(updates == (version == TLS1_3_VERSION ? 3 : 0));
}

}  // namespace
}  // namespace sluice::tls
