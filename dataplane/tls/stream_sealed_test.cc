// Records that we seal ourselves, as OpenSSL on the other side reads them: both versions, each
// cipher, pieces of all sizes, changes of keys by either side in the middle, the end.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dataplane/crypto/aes_gcm.h"
#include "dataplane/tls/stream.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

struct Suite {
    uint16_t version;
    const char* name;
    bool known;  // to us
};
const Suite kSuites[] = {
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", true},
    {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", true},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", false},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", true},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", false},
};

struct Bench {
    explicit Bench(const Suite& suite, uint64_t records_per_key = UINT64_MAX / 4)
        : client({.max_version = suite.version}) {
        static const auto kCertificate = make_certificate({"a.example.org"});
        contract::TlsConfig config;
        config.certificates = {kCertificate};
        REQUIRE(context->apply(config));
        context->records_per_key = records_per_key;
        REQUIRE((suite.version == TLS1_3_VERSION
                     ? SSL_set_ciphersuites(client.ssl(), suite.name)
                     : SSL_set_cipher_list(client.ssl(), suite.name)) == 1);
        app.emplace(std::make_unique<Stream>(context, std::make_unique<MemoryTransport>(wire)));
        run();
        REQUIRE(client.connected());
    }
    void run() {
        for (int i = 0; i < 20; ++i) {
            client.step(*wire);
            wire->ready();
        }
    }

    DropCounters drops;
    std::shared_ptr<ServerContext> context = std::make_shared<ServerContext>(drops);
    std::shared_ptr<Wire> wire = std::make_shared<Wire>();
    Client client;
    std::optional<Application> app;
};

std::string text_of(size_t size) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>(i * 31 + i / 251);
    return text;
}

TEST_CASE("What we seal ourselves OpenSSL reads, with every cipher") {
    const Suite& suite = GENERATE(from_range(std::begin(kSuites), std::end(kSuites)));
    const bool ours = suite.known && crypto::AesGcmKey::why_not().empty();
    CAPTURE(suite.name);
    Bench bench(suite);
    std::string expected;
    for (const size_t size : {1, 100, 16384, 1, 16385, 100000, 7}) {
        bench.app->to_send = text_of(size);
        expected += bench.app->to_send;
        bench.run();
        REQUIRE(bench.client.received == expected);
    }
    CHECK(bench.context->takeovers().value() == (ours ? 1 : 0));
    // Reading goes on beside it.
    bench.client.to_send = text_of(50000);
    bench.run();
    CHECK(bench.app->received == text_of(50000));
    bench.app->stream->shutdown_write();
    bench.run();
    CHECK(bench.client.got_close_notify());
}

TEST_CASE("A connection that asks once and goes keeps OpenSSL") {
    Bench bench(kSuites[0]);
    bench.app->to_send = text_of(4000);
    bench.run();
    CHECK(bench.client.received == text_of(4000));
    CHECK(bench.context->takeovers().value() == 0);
}

TEST_CASE("A small record is one write of many pieces, and many pieces lose nothing") {
    Bench bench(kSuites[0]);
    bench.app->to_send = "first";
    bench.run();
    const std::string text = text_of(40);
    std::vector<Bytes> pieces;
    for (size_t i = 0; i < text.size(); ++i)
        pieces.push_back(as_bytes(text).subspan(i, 1));
    const uint64_t writes = bench.wire->server_writes;
    CHECK(bench.app->stream->write(pieces).bytes == text.size());
    CHECK(bench.wire->server_writes == writes + 1);
    bench.run();
    CHECK(bench.client.received == "first" + text);
}

TEST_CASE("Keys change in the middle of what we seal, by the client's wish and by our own") {
    const uint64_t records_per_key = GENERATE(3, 1000);
    Bench bench(kSuites[GENERATE(0, 1)], records_per_key);
    std::string expected;
    std::string sent;
    for (int i = 0; i < 30; ++i) {
        if (i % 3 == 1) {
            REQUIRE(SSL_key_update(bench.client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
            bench.client.to_send = "from the client";
            sent += bench.client.to_send;
        }
        bench.app->to_send = text_of(static_cast<size_t>(i) * 2000 + 1);
        expected += bench.app->to_send;
        bench.run();
        REQUIRE(bench.client.received == expected);
        REQUIRE(bench.app->received == sent);
    }
}

}  // namespace
}  // namespace sluice::tls
