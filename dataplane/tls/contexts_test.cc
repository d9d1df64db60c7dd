// Which certificate and which settings a client gets. The client is OpenSSL's own.
#include "dataplane/tls/contexts.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

constexpr int kAlertHandshakeFailure = SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE;
constexpr int kAlertUnknownName = SSL_AD_REASON_OFFSET + SSL_AD_UNRECOGNIZED_NAME;
constexpr int kAlertNoProtocol = SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL;
constexpr int kAlertVersion = SSL_R_TLSV1_ALERT_PROTOCOL_VERSION;

struct Node {
    explicit Node(std::vector<std::shared_ptr<const contract::CertificateConfig>> certificates,
                  uint16_t min_version = TLS1_2_VERSION) {
        config.certificates = std::move(certificates);
        config.min_version = min_version;
        contexts.set_ticket_keys(keys);
        REQUIRE(contexts.apply(config));
    }
    uint64_t count(DropReason reason) const { return drops.value(reason); }

    DropCounters drops;
    contract::TlsConfig config;
    std::shared_ptr<const contract::TicketKeys> keys = make_ticket_keys();
    Contexts contexts{drops};
};

std::string name_answered(Node& node, std::optional<std::string> asked) {
    Link link(node.contexts, {.server_name = std::move(asked)});
    link.run();
    return link.client.connected() ? link.client.certificate_name() : "none";
}

TEST_CASE("TLS 1.2 and 1.3 work with ECDSA and RSA certificates") {
    const auto [version, text] =
        GENERATE(std::pair(TLS1_2_VERSION, "TLSv1.2"), std::pair(TLS1_3_VERSION, "TLSv1.3"));
    const auto kind = GENERATE(KeyKind::kEcdsa, KeyKind::kRsa);
    Node node({make_certificate({"a.example.org"}, kind)});
    Link link(node.contexts,
              {.server_name = "a.example.org", .min_version = version, .max_version = version});
    CHECK_FALSE(link.facts().done);
    link.client.to_send = "ping";
    link.app.to_send = "pong";
    link.run();
    REQUIRE(link.client.connected());
    CHECK(link.app.received == "ping");
    CHECK(link.client.received == "pong");
    CHECK(link.facts().done);
    CHECK(link.facts().version == text);
    CHECK(link.facts().cipher == SSL_get_cipher_name(link.client.ssl()));
    CHECK(link.facts().server_name == "a.example.org");
    CHECK(link.facts().alpn.empty());
    CHECK_FALSE(link.facts().resumed);
    CHECK_FALSE(link.facts().ktls_transmit);
    CHECK(node.contexts.handshakes() == 1);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 0);
}

TEST_CASE("The server name chooses the certificate") {
    Node node({make_certificate({"first.example.org"}),
               make_certificate({"a.example.org", "b.example.org"}),
               make_certificate({"*.example.org", "*.deep.example.org"}),
               make_certificate({"x.deep.example.org"})});
    CHECK(name_answered(node, "first.example.org") == "first.example.org");
    CHECK(name_answered(node, "a.example.org") == "a.example.org");
    CHECK(name_answered(node, "b.example.org") == "a.example.org");
    CHECK(name_answered(node, "A.EXAMPLE.org") == "a.example.org");
    CHECK(name_answered(node, "a.example.org.") == "a.example.org");
    CHECK(name_answered(node, "other.example.org") == "*.example.org");
    CHECK(name_answered(node, "OTHER.Example.Org.") == "*.example.org");
    CHECK(name_answered(node, "y.deep.example.org") == "*.example.org");
    CHECK(name_answered(node, "x.deep.example.org") == "x.deep.example.org");
    CHECK(name_answered(node, "deep.example.org") == "*.example.org");
    CHECK(name_answered(node, std::nullopt) == "first.example.org");
    CHECK(node.contexts.handshakes() == 11);
    CHECK(node.count(DropReason::kTlsUnknownServerName) == 0);

    for (const char* unknown :
         {"example.org", "a.b.example.org", "a.b.deep.example.org", "example.com", "org", "..",
          "a..example.org", "*.example.org", "a b.example.org", "a\n.example.org"}) {
        CAPTURE(unknown);
        const uint64_t before = node.count(DropReason::kTlsUnknownServerName);
        Link link(node.contexts, {.server_name = unknown});
        link.run();
        CHECK_FALSE(link.client.connected());
        CHECK(link.client.failure == kAlertUnknownName);
        CHECK(link.app.status == IoStatus::kError);
        CHECK(link.wire->server_finished);
        CHECK(node.count(DropReason::kTlsUnknownServerName) == before + 1);
    }
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 0);
    CHECK(node.contexts.handshakes() == 11);
}

TEST_CASE("The facts hold the canonical server name") {
    Node node({make_certificate({"*.example.org"})});
    Link link(node.contexts, {.server_name = "App.Example.ORG."});
    link.run();
    CHECK(link.facts().server_name == "app.example.org");
    Link unnamed(node.contexts);
    unnamed.run();
    CHECK(unnamed.facts().done);
    CHECK(unnamed.facts().server_name.empty());
}

TEST_CASE("The server confirms that it used the name") {
    Node node({make_certificate({"a.example.org"})});
    Link link(node.contexts, {.server_name = "a.example.org", .max_version = TLS1_2_VERSION});
    link.client.step(*link.wire);
    link.wire->ready();
    // In the ServerHello: renegotiation_info, and then server_name, empty as it is in an answer.
    CHECK(link.wire->to_client.find(std::string("\xff\x01\0\x01\0"
                                                "\0\0\0\0",
                                                9)) != std::string::npos);
    link.run();
    CHECK(link.client.connected());
}

TEST_CASE("Two certificates for one host: the client gets the type that it can verify") {
    const bool ecdsa_first = GENERATE(true, false);
    const auto ecdsa = make_certificate({"a.example.org", "b.example.org"}, KeyKind::kEcdsa);
    const auto rsa = make_certificate({"a.example.org", "b.example.org"}, KeyKind::kRsa);
    Node node(ecdsa_first ? std::vector{ecdsa, rsa} : std::vector{rsa, ecdsa});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto key_type = [&](std::optional<std::string> name, std::string signatures) {
        Link link(node.contexts, {.server_name = std::move(name),
                                  .min_version = version,
                                  .max_version = version,
                                  .signatures = std::move(signatures)});
        link.run();
        return link.client.connected() ? link.client.certificate_key_type() : 0;
    };
    for (const auto& name :
         {std::optional<std::string>("a.example.org"), std::optional<std::string>("b.example.org"),
          std::optional<std::string>()}) {
        CHECK(key_type(name, "ECDSA+SHA256") == EVP_PKEY_EC);
        CHECK(key_type(name, "RSA-PSS+SHA256:RSA+SHA256") == EVP_PKEY_RSA);
        CHECK(key_type(name, "") == EVP_PKEY_EC);  // both would do: the cheaper one to sign with
    }
}

TEST_CASE("Of two certificates for one host with one type of key the first counts") {
    Node node({make_certificate({"one.example.org", "a.example.org"}),
               make_certificate({"two.example.org", "a.example.org"})});
    CHECK(name_answered(node, "a.example.org") == "one.example.org");
    CHECK(name_answered(node, "two.example.org") == "two.example.org");
}

TEST_CASE("A client that cannot verify the certificate gets a clean failure, counted once") {
    Node node({make_certificate({"a.example.org"}, KeyKind::kEcdsa)});
    Link link(node.contexts, {.signatures = "RSA-PSS+SHA256"});
    link.run();
    CHECK_FALSE(link.client.connected());
    CHECK(link.client.failure == kAlertHandshakeFailure);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 1);
    link.wire->ready();
    CHECK(link.app.stream->read({}).status == IoStatus::kError);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 1);
}

TEST_CASE("No certificates: every handshake fails, and a later apply brings them") {
    Node node({});
    CHECK(name_answered(node, "a.example.org") == "none");
    CHECK(name_answered(node, std::nullopt) == "none");
    CHECK(node.count(DropReason::kTlsUnknownServerName) == 1);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 1);
    node.config.certificates.push_back(make_certificate({"a.example.org"}));
    REQUIRE(node.contexts.apply(node.config));
    CHECK(name_answered(node, "a.example.org") == "a.example.org");
}

TEST_CASE("The lowest version is configured, and a new one counts for new connections") {
    Node node({make_certificate({"a.example.org"})}, TLS1_3_VERSION);
    const ClientOptions old{.max_version = TLS1_2_VERSION};
    Link refused(node.contexts, old);
    refused.run();
    CHECK(refused.client.failure == kAlertVersion);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 1);
    node.config.min_version = TLS1_2_VERSION;
    REQUIRE(node.contexts.apply(node.config));
    Link taken(node.contexts, old);
    taken.run();
    CHECK(taken.client.connected());
}

TEST_CASE("Versions before TLS 1.2 are refused") {
    Node node({make_certificate({"a.example.org"})});
    Link link(node.contexts, {.min_version = TLS1_VERSION,
                              .max_version = TLS1_1_VERSION,
                              .ciphers12 = "ALL:@SECLEVEL=0"});
    link.run();
    CHECK_FALSE(link.client.connected());
    CHECK(link.client.failure == kAlertVersion);
}

TEST_CASE("Only ephemeral keys and authenticated ciphers, by the client's hardware") {
    Node node({make_certificate({"a.example.org"}, KeyKind::kRsa)});
    const auto cipher = [&](ClientOptions options) -> std::string {
        Link link(node.contexts, options);
        link.run();
        return link.client.connected() ? link.facts().cipher : "none";
    };
    CHECK(cipher({.ciphers13 = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"}) ==
          "TLS_AES_128_GCM_SHA256");
    CHECK(cipher({.ciphers13 = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"}) ==
          "TLS_CHACHA20_POLY1305_SHA256");
    CHECK(cipher({.ciphers13 = "TLS_AES_256_GCM_SHA384"}) == "TLS_AES_256_GCM_SHA384");
    const auto cipher12 = [&](std::string list) {
        return cipher({.max_version = TLS1_2_VERSION, .ciphers12 = std::move(list)});
    };
    CHECK(cipher12("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256") ==
          "ECDHE-RSA-AES128-GCM-SHA256");
    CHECK(cipher12("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256") ==
          "ECDHE-RSA-CHACHA20-POLY1305");
    for (const char* weak : {"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "AES256-SHA",
                             "DHE-RSA-AES128-GCM-SHA256"}) {
        CAPTURE(weak);
        CHECK(cipher12(weak) == "none");
    }
    CHECK(cipher({.groups = "P-256"}) != "none");
    CHECK(cipher({.groups = "P-521:P-384:P-256"}) != "none");  // needs a second ClientHello
    CHECK(cipher({.groups = "P-521"}) == "none");
}

TEST_CASE("ALPN: HTTP/2 before HTTP/1.1 once it can be served") {
    Node node({make_certificate({"a.example.org"})});
    node.contexts.offer_http2(true);
    const auto negotiated = [&](std::string offered) {
        Link link(node.contexts, {.alpn = std::move(offered)});
        link.run();
        return link.client.connected() ? link.facts().alpn : std::to_string(link.client.failure);
    };
    const std::string refused = std::to_string(kAlertNoProtocol);
    CHECK(negotiated("\x02h2\x08http/1.1") == "h2");
    CHECK(negotiated("\x08http/1.1\x02h2") == "h2");
    CHECK(negotiated("\x08http/1.1") == "http/1.1");
    CHECK(negotiated("\x03h2c\x08http/1.1") == "http/1.1");
    CHECK(negotiated("") == "");
    CHECK(negotiated("\x03h2c") == refused);
    node.contexts.offer_http2(false);
    CHECK(negotiated("\x02h2\x08http/1.1") == "http/1.1");
}

TEST_CASE("ALPN: HTTP/1.1, then HTTP/1.0, or nothing") {
    Node node({make_certificate({"a.example.org"})});
    const auto negotiated = [&](std::string offered) {
        Link link(node.contexts, {.alpn = std::move(offered)});
        link.run();
        return link.client.connected() ? link.facts().alpn : std::to_string(link.client.failure);
    };
    const std::string refused = std::to_string(kAlertNoProtocol);
    CHECK(negotiated("\x08http/1.1") == "http/1.1");
    CHECK(negotiated("\x02h2\x08http/1.1") == "http/1.1");
    CHECK(negotiated("") == "");
    CHECK(negotiated("\x02h2") == refused);
    CHECK(negotiated("\x08http/1.0") == "http/1.0");
    CHECK(negotiated("\x08http/1.0\x08http/1.1") == "http/1.1");
    CHECK(negotiated("\x09http/1.1x") == refused);
    CHECK(node.count(DropReason::kTlsHandshakeFailed) == 2);
}

// A session of a finished connection that got a ticket.
SSL_SESSION* session_of(Link& link) {
    SSL_SESSION* session = SSL_get1_session(link.client.ssl());
    return session;
}
using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

TEST_CASE("TLS 1.3 sessions resume with the certificates under which they began, and no others") {
    const auto first = make_certificate({"a.example.org", "b.example.org"});
    const auto second = make_certificate({"c.example.org"});
    Node node({first, second});
    Link link(node.contexts, {.server_name = "a.example.org"});
    link.run();
    CHECK(link.client.tickets() == 1);
    const SessionPtr session(session_of(link));
    REQUIRE(SSL_SESSION_is_resumable(session.get()) == 1);

    const auto resumed = [&](Contexts& contexts, const char* name) {
        // A copy, because a client forgets the session of a connection that it did not shut down.
        const SessionPtr copy(SSL_SESSION_dup(session.get()));
        Link again(contexts, {.server_name = name, .session = copy.get()});
        again.run();
        REQUIRE(again.client.connected());
        CHECK(again.facts().resumed == (SSL_session_reused(again.client.ssl()) == 1));
        return again.facts().resumed;
    };
    CHECK(resumed(node.contexts, "a.example.org"));
    CHECK(resumed(node.contexts, "b.example.org"));        // the same certificate
    CHECK_FALSE(resumed(node.contexts, "c.example.org"));  // another one

    SECTION("a reload that keeps the certificate keeps its sessions") {
        node.config.certificates = {second, first};
        REQUIRE(node.contexts.apply(node.config));
        CHECK(resumed(node.contexts, "a.example.org"));
    }
    SECTION("the same files read again keep them too") {
        node.config.certificates = {std::make_shared<contract::CertificateConfig>(*first)};
        REQUIRE(node.contexts.apply(node.config));
        CHECK(resumed(node.contexts, "a.example.org"));
    }
    SECTION("a new certificate for the host does not") {
        node.config.certificates = {make_certificate({"a.example.org"})};
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumed(node.contexts, "a.example.org"));
    }
    SECTION("another certificate beside it does not") {
        node.config.certificates.push_back(make_certificate({"a.example.org"}, KeyKind::kRsa));
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumed(node.contexts, "a.example.org"));
    }
    SECTION("another worker with the same keys resumes too, one without them does not") {
        Contexts other(node.drops);
        REQUIRE(other.apply(node.config));
        CHECK_FALSE(resumed(other, "a.example.org"));
        other.set_ticket_keys(node.keys);
        CHECK(resumed(other, "a.example.org"));
    }
}

TEST_CASE("A certificate is swapped under open streams") {
    Node node({make_certificate({"old.example.org", "a.example.org"})});
    Link open(node.contexts, {.server_name = "a.example.org"});
    open.run();
    Link halfway(node.contexts, {.server_name = "a.example.org"});
    halfway.client.step(*halfway.wire);
    halfway.wire->ready();  // its ClientHello was answered, the handshake is not over

    node.config.certificates = {make_certificate({"new.example.org", "a.example.org"})};
    REQUIRE(node.contexts.apply(node.config));

    open.client.to_send = "still here";
    open.app.to_send = "yes";
    open.run();
    CHECK(open.app.received == "still here");
    CHECK(open.client.received == "yes");
    halfway.run();
    CHECK(halfway.client.connected());
    CHECK(halfway.client.certificate_name() == "old.example.org");
    CHECK(name_answered(node, "a.example.org") == "new.example.org");
}

TEST_CASE("Streams outlive the contexts that accepted them") {
    DropCounters drops;
    auto contexts = std::make_unique<Contexts>(drops);
    contract::TlsConfig config;
    config.certificates = {make_certificate({"a.example.org"})};
    REQUIRE(contexts->apply(config));
    Link link(*contexts);
    contexts.reset();
    link.client.to_send = "ping";
    link.run();
    CHECK(link.app.received == "ping");
}

TEST_CASE("A certificate that OpenSSL refuses changes nothing and is named") {
    const auto good = make_certificate({"a.example.org"});
    const auto fresh = make_certificate({"b.example.org"});
    Node node({good});
    auto bad = std::make_shared<contract::CertificateConfig>(*make_certificate({"c.example.org"}));
    std::string expected;
    SECTION("no certificate") {
        bad->certificate_pem = "nothing";
        expected = "not a PEM certificate";
    }
    SECTION("broken base64") {
        bad->certificate_pem[bad->certificate_pem.size() / 2] = '!';
        expected = "not a PEM certificate";
    }
    SECTION("broken chain") {
        bad->certificate_pem += "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        expected = "broken chain";
    }
    SECTION("no key") {
        bad->private_key_pem.clear();
        expected = "not an unencrypted PEM key";
    }
    SECTION("encrypted key") {
        const KeyPtr key(EVP_EC_gen("P-256"));
        char password[] = "secret";
        bad->private_key_pem = pem_of([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), EVP_aes_128_cbc(), nullptr, 0, nullptr,
                                     password);
        });
        expected = "not an unencrypted PEM key";
    }
    SECTION("the public key only") {
        const BioPtr reader(BIO_new_mem_buf(bad->certificate_pem.data(), -1));
        const X509Ptr leaf(PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr));
        const KeyPtr key(X509_get_pubkey(leaf.get()));
        bad->private_key_pem = pem_of([&](BIO* bio) { PEM_write_bio_PUBKEY(bio, key.get()); });
        expected = "not an unencrypted PEM key";
    }
    SECTION("somebody else's key") {
        bad->private_key_pem = fresh->private_key_pem;
        expected = "does not belong to its key";
    }
    SECTION("a weak key") {
        const KeyPtr key(EVP_RSA_gen(1024));
        const X509Ptr leaf = make_leaf(key.get(), "c.example.org");
        bad->certificate_pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, leaf.get()); });
        bad->private_key_pem = pem_of([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        });
        expected = "not accepted";
    }
    auto config = node.config;
    config.certificates = {fresh, bad};
    config.min_version = TLS1_3_VERSION;
    const auto applied = node.contexts.apply(config);
    REQUIRE_FALSE(applied);
    CHECK_THAT(applied.error().message, Catch::Contains("c.example.org"));
    CHECK_THAT(applied.error().message, Catch::Contains(expected));
    CHECK(ERR_peek_error() == 0);

    CHECK(name_answered(node, "a.example.org") == "a.example.org");
    CHECK(name_answered(node, "b.example.org") == "none");
    Link old(node.contexts, {.max_version = TLS1_2_VERSION});
    old.run();
    CHECK(old.client.connected());
}

TEST_CASE("Private keys are read in each of their PEM forms") {
    const auto original = make_certificate({"a.example.org"});
    const BioPtr reader(BIO_new_mem_buf(original->private_key_pem.data(), -1));
    const KeyPtr key(PEM_read_bio_PrivateKey(reader.get(), nullptr, nullptr, nullptr));
    const std::string traditional = pem_of([&](BIO* bio) {
        PEM_write_bio_PrivateKey_traditional(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    const std::string parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
        "-----END EC PARAMETERS-----\n";
    for (const std::string& pem :
         {traditional, parameters + traditional, "a comment\n" + traditional,
          original->certificate_pem + original->private_key_pem}) {
        auto config = std::make_shared<contract::CertificateConfig>(*original);
        config->private_key_pem = pem;
        Node node({config});
        CHECK(name_answered(node, "a.example.org") == "a.example.org");
    }
}

TEST_CASE("The whole chain is sent") {
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr above = make_leaf(key.get(), "the issuer");
    auto config =
        std::make_shared<contract::CertificateConfig>(*make_certificate({"a.example.org"}));
    config->certificate_pem += "text between, as some tools write it\n" +
                               pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, above.get()); });
    Node node({config});
    Link link(node.contexts);
    link.run();
    REQUIRE(link.client.connected());
    STACK_OF(X509)* chain = SSL_get_peer_cert_chain(link.client.ssl());
    REQUIRE(sk_X509_num(chain) == 2);
    CHECK(X509_cmp(sk_X509_value(chain, 1), above.get()) == 0);
}

TEST_CASE("Thousands of certificates that did not change are applied in no time") {
    // The same files under different objects; what matters is that none of them is parsed again.
    const auto one = make_certificate({"x.example.org"});
    Node node({});
    for (int i = 0; i < 2000; ++i) {
        auto copy = std::make_shared<contract::CertificateConfig>(*one);
        copy->hosts = {"host" + std::to_string(i) + ".example.org"};
        node.config.certificates.push_back(std::move(copy));
    }
    REQUIRE(node.contexts.apply(node.config));
    const auto timed = [&](const contract::TlsConfig& config) {
        const auto start = std::chrono::steady_clock::now();
        REQUIRE(node.contexts.apply(config));
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count();
    };
    const double same = timed(node.config);
    auto changed = node.config;
    changed.certificates.back() = make_certificate({"new.example.org"});
    changed.certificates.erase(changed.certificates.begin());
    const double one_changed = timed(changed);
    CAPTURE(same, one_changed);
    // Parsing all of them takes most of a second, this well below a millisecond and about three;
    // the bounds leave room for sanitizers and a busy machine.
    CHECK(same < 20);
    CHECK(one_changed < 200);
    CHECK(name_answered(node, "new.example.org") == "new.example.org");
    CHECK(name_answered(node, "host0.example.org") == "none");
    CHECK(name_answered(node, "host7.example.org") == "x.example.org");
}

}  // namespace
}  // namespace sluice::tls
