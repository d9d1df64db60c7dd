// Client certificates, session tickets and OCSP responses over whole connections. The client is
// OpenSSL's own.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "dataplane/tls/contexts.h"
#include "dataplane/tls/test_ca.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;
using namespace std::chrono_literals;
using Verdict = ClientCertificate::Verdict;
using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

// "private.example.org" and "*.apps.example.org" have routes of the mode mtls-strict.
struct Node {
    Node() {
        static const auto kCertificate = make_certificate({"*.example.org", "*.apps.example.org"});
        config.certificates = {kCertificate};
        config.trusts = {make_trust(ca.pem(), "one"), make_trust(other_ca.pem(), "two")};
        config.client_certificate_hosts = {{"private.example.org", {0}},
                                           {"*.apps.example.org", {1}}};
        contexts.set_now(now);
        contexts.set_ticket_keys(keys);
        REQUIRE(contexts.apply(config));
    }

    Verdict verdict(Link& link, uint32_t trust = 0, WallTime at = kTestNow) const {
        ClientCertificate* const shown = link.app.stream->client_certificate();
        REQUIRE(shown != nullptr);
        return shown->prove(config.trusts[trust], at).verdict;
    }

    TestCa ca{"first CA"};
    TestCa other_ca{"second CA"};
    Holder holder = ca.issue();
    Now now{Instant() + 1000h, kTestNow};
    DropCounters drops;
    contract::TlsConfig config;
    std::shared_ptr<const contract::TicketKeys> keys = make_ticket_keys();
    Contexts contexts{drops};
};

ClientOptions showing(const Holder& holder, const char* name = "private.example.org",
                      int version = TLS1_3_VERSION) {
    return {.server_name = name,
            .min_version = version,
            .max_version = version,
            .certificate = holder.certificate.get(),
            .key = holder.key.get()};
}

SessionPtr session_of(Link& link) {
    return SessionPtr(SSL_get1_session(link.client.ssl()));
}

// Connects again with a copy of the session, as a client does that keeps the original.
struct Again {
    Again(Contexts& contexts, const SessionPtr& session, ClientOptions options)
        : copy(SSL_SESSION_dup(session.get())), link(contexts, with(options, copy.get())) {
        link.run();
        REQUIRE(link.client.connected());
    }
    static ClientOptions with(ClientOptions options, SSL_SESSION* session) {
        options.session = session;
        return options;
    }
    bool resumed() const { return link.facts().resumed; }

    SessionPtr copy;
    Link link;
};

std::string ticket_in(const SessionPtr& session) {
    const uint8_t* ticket = nullptr;
    size_t size = 0;
    SSL_SESSION_get0_ticket(session.get(), &ticket, &size);
    return std::string(as_text(Bytes(ticket, size)));
}

std::vector<std::string> names_shown(Link& link) {
    std::vector<std::string> names;
    const STACK_OF(X509_NAME)* list = SSL_get0_peer_CA_list(link.client.ssl());
    for (int i = 0; i < sk_X509_NAME_num(list); ++i) {
        char text[256];
        X509_NAME_get_text_by_NID(sk_X509_NAME_value(list, i), NID_commonName, text, sizeof text);
        names.emplace_back(text);
    }
    return names;
}

TEST_CASE("Only hosts with routes that need one are asked for a certificate") {
    Node node;
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto connect = [&](std::optional<std::string> name) {
        auto link = std::make_unique<Link>(
            node.contexts, ClientOptions{.server_name = std::move(name),
                                         .min_version = version,
                                         .max_version = version,
                                         .certificate = node.holder.certificate.get(),
                                         .key = node.holder.key.get()});
        link->run();
        REQUIRE(link->client.connected());
        return link;
    };
    using Names = std::vector<std::string>;
    const auto asked = [&](std::optional<std::string> name) {
        const auto link = connect(std::move(name));
        CHECK(link->facts().asked_for_certificate ==
              (link->app.stream->client_certificate() != nullptr));
        return link->facts().asked_for_certificate ? names_shown(*link) : Names{};
    };
    CHECK(asked("private.example.org") == Names{"first CA"});
    CHECK(asked("PRIVATE.example.org.") == Names{"first CA"});
    CHECK(asked("x.apps.example.org") == Names{"second CA"});
    CHECK(asked("xn--bcher-kva.apps.example.org") == Names{"second CA"});
    CHECK(asked("public.example.org").empty());
    CHECK(asked("apps.example.org").empty());
    CHECK(asked(std::nullopt).empty());

    node.config.client_certificate_hosts = {
        {"private.example.org", {0}}, {"*.example.org", {1}}, {"*", {1, 0}}};
    REQUIRE(node.contexts.apply(node.config));
    CHECK(asked("private.example.org").size() == 2);  // the names of all that may be needed
    CHECK(asked("public.example.org").size() == 2);
    CHECK(asked("x.apps.example.org").size() == 2);
    CHECK(asked(std::nullopt).size() == 2);
}

TEST_CASE("No certificate, and every certificate that is no good, still gets a connection") {
    Node node;
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Link none(node.contexts, {.server_name = "private.example.org", .max_version = version});
    none.client.to_send = "ping";
    none.run();
    CHECK(none.app.received == "ping");
    CHECK(none.facts().asked_for_certificate);
    CHECK(none.app.stream->client_certificate() == nullptr);

    const TestCa stranger("stranger");
    const std::vector<Holder> holders = [&] {
        std::vector<Holder> made;
        made.push_back(stranger.issue());
        made.push_back(node.ca.issue({.from = -2h, .until = -1h}));
        made.push_back(node.ca.issue({.extensions = {{NID_ext_key_usage, "serverAuth"}}}));
        return made;
    }();
    for (const Holder& holder : holders) {
        Link link(node.contexts, showing(holder, "private.example.org", version));
        link.client.to_send = "ping";
        link.run();
        CHECK(link.app.received == "ping");
        CHECK(node.verdict(link) == Verdict::kRefused);
    }
    Link good(node.contexts, showing(node.holder, "private.example.org", version));
    good.run();
    CHECK(node.verdict(good) == Verdict::kProved);
    CHECK(node.verdict(good, 1) == Verdict::kRefused);
    CHECK(node.drops.value(DropReason::kTlsHandshakeFailed) == 0);
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("Who does not hold the key of the certificate gets no connection") {
    Node node;
    const Holder thief = node.ca.issue();
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    // OpenSSL lets no client use a key that is not the certificate's, so this one is told another
    // public key than the certificate still has where it is sent.
    X509Ptr stolen(X509_dup(node.holder.certificate.get()));
    X509_set_pubkey(stolen.get(), thief.key.get());
    std::string as_sent = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, stolen.get()); });
    REQUIRE(as_sent == node.holder.pem());
    ClientOptions options = showing(node.holder, "private.example.org", version);
    options.certificate = stolen.get();
    options.key = thief.key.get();
    Link link(node.contexts, options);
    link.run();
    CHECK_FALSE(link.facts().done);
    CHECK(link.app.status == IoStatus::kError);
    CHECK(link.app.stream->client_certificate() == nullptr);
    CHECK(node.drops.value(DropReason::kTlsHandshakeFailed) == 1);
}

TEST_CASE("A session brings the client's certificate and its chain back, to be judged anew") {
    Node node;
    const TestCa middle = node.ca.issue_ca("middle");
    const Holder holder = middle.issue({.until = 10h});
    ClientOptions options = showing(holder);
    options.chain = {middle.certificate()};
    Link first(node.contexts, options);
    first.run();
    CHECK(node.verdict(first) == Verdict::kProved);
    CHECK(first.client.tickets() == 1);
    const SessionPtr session = session_of(first);

    Again again(node.contexts, session, options);
    CHECK(again.resumed());
    CHECK(again.link.facts().asked_for_certificate);
    CHECK(node.verdict(again.link) == Verdict::kProved);
    CHECK(node.verdict(again.link, 0, kTestNow + 11h) == Verdict::kRefused);

    // And from that one's ticket once more, by another worker.
    Contexts other(node.drops);
    other.set_now(node.now);
    other.set_ticket_keys(node.keys);
    REQUIRE(other.apply(node.config));
    Again third(other, session_of(again.link), options);
    CHECK(third.resumed());
    CHECK(node.verdict(third.link) == Verdict::kProved);

    // Revoked meanwhile, which is no change of what is demanded if lists were wanted all along.
    const auto revoking = std::make_shared<contract::TrustConfig>(*node.config.trusts[0]);
    revoking->crl_wanted = true;
    revoking->crl_pem = node.ca.crl({}) + middle.crl({holder.certificate.get()});
    CHECK(again.link.app.stream->client_certificate()->prove(revoking, kTestNow).verdict ==
          Verdict::kRefused);
}

TEST_CASE("No session resumes into other demands on the client") {
    Node node;
    Link first(node.contexts, showing(node.holder));
    first.run();
    const SessionPtr session = session_of(first);
    Link open(node.contexts, {.server_name = "public.example.org"});
    open.run();
    const SessionPtr public_session = session_of(open);
    const auto resumes = [&](const SessionPtr& from, const char* name) {
        return Again(node.contexts, from, showing(node.holder, name)).resumed();
    };
    REQUIRE(resumes(session, "private.example.org"));
    REQUIRE(resumes(public_session, "other.example.org"));
    CHECK_FALSE(resumes(public_session, "private.example.org"));
    CHECK_FALSE(resumes(session, "public.example.org"));
    CHECK_FALSE(resumes(session, "x.apps.example.org"));

    SECTION("a reload that changes nothing of it keeps sessions") {
        node.config.trusts[0] = std::make_shared<contract::TrustConfig>(*node.config.trusts[0]);
        REQUIRE(node.contexts.apply(node.config));
        CHECK(resumes(session, "private.example.org"));
    }
    SECTION("another CA ends them") {
        node.config.trusts[0] = make_trust(node.other_ca.pem());
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumes(session, "private.example.org"));
    }
    SECTION("so does one more CA") {
        node.config.client_certificate_hosts[0].trusts = {0, 1};
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumes(session, "private.example.org"));
    }
    SECTION("so do revocation lists that were not wanted before") {
        const auto stricter = std::make_shared<contract::TrustConfig>(*node.config.trusts[0]);
        stricter->crl_wanted = true;
        stricter->crl_pem = node.ca.crl({});
        node.config.trusts[0] = stricter;
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumes(session, "private.example.org"));
    }
    SECTION("so does a host that asks from now on") {
        node.config.client_certificate_hosts.push_back({"public.example.org", {0}});
        REQUIRE(node.contexts.apply(node.config));
        CHECK_FALSE(resumes(public_session, "public.example.org"));
        CHECK(resumes(public_session, "other.example.org"));
    }
}

TEST_CASE("Chains that would make the ticket too long get none") {
    Node node;
    std::string names = "DNS:a.example.org";
    for (int i = 0; i < 350; ++i)
        names += ",DNS:host-number-" + std::to_string(i) + ".example.org";
    const Holder large = node.ca.issue({.extensions = {{NID_subject_alt_name, names}}});
    REQUIRE(i2d_X509(large.certificate.get(), nullptr) > 8 * 1024);
    Link link(node.contexts, showing(large));
    link.client.to_send = "ping";
    link.run();
    CHECK(link.app.received == "ping");
    CHECK(node.verdict(link) == Verdict::kProved);
    CHECK(link.client.tickets() == 0);
}

TEST_CASE("More than 32 KiB of client certificates end the handshake") {
    Node node;
    std::string names = "DNS:a.example.org";
    for (int i = 0; i < 1500; ++i)
        names += ",DNS:host-number-" + std::to_string(i) + ".example.org";
    const Holder huge = node.ca.issue({.extensions = {{NID_subject_alt_name, names}}});
    REQUIRE(i2d_X509(huge.certificate.get(), nullptr) > 32 * 1024);
    Link link(node.contexts, showing(huge));
    link.run();
    CHECK(link.app.status == IoStatus::kError);
    CHECK(node.drops.value(DropReason::kTlsHandshakeFailed) == 1);
}

TEST_CASE("Ticket keys rotate: old ones open, and the ticket is renewed with the new one") {
    Node node;
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const ClientOptions options{
        .server_name = "public.example.org", .min_version = version, .max_version = version};
    Link first(node.contexts, options);
    first.run();
    REQUIRE(first.client.tickets() == 1);
    const SessionPtr session = session_of(first);

    const contract::TicketKey old_key = node.keys->keys[0];
    const contract::TicketKey new_key = make_ticket_key();
    node.contexts.set_ticket_keys(make_ticket_keys({new_key, old_key}));
    Again again(node.contexts, session, options);
    CHECK(again.resumed());
    const SessionPtr renewed = session_of(again.link);
    CHECK_FALSE(ticket_in(renewed).empty());
    CHECK(ticket_in(renewed) != ticket_in(session));

    node.contexts.set_ticket_keys(make_ticket_keys({new_key}));
    CHECK(Again(node.contexts, renewed, options).resumed());
    Again late(node.contexts, session, options);
    CHECK_FALSE(late.resumed());
    CHECK(late.link.client.tickets() == 1);

    // Another key under a name that is known opens nothing.
    contract::TicketKey namesake = make_ticket_key();
    namesake.name = new_key.name;
    node.contexts.set_ticket_keys(make_ticket_keys({namesake}));
    CHECK_FALSE(Again(node.contexts, renewed, options).resumed());
}

TEST_CASE("No keys, no tickets") {
    Node node;
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const ClientOptions options{
        .server_name = "public.example.org", .min_version = version, .max_version = version};
    Link with(node.contexts, options);
    with.run();
    const SessionPtr session = session_of(with);
    const auto keys = GENERATE(false, true);
    node.contexts.set_ticket_keys(keys ? make_ticket_keys({}) : nullptr);
    Again again(node.contexts, session, options);
    CHECK_FALSE(again.resumed());
    CHECK(again.link.client.tickets() == 0);
}

TEST_CASE("TLS 1.2: tickets while keys change, and none for who is asked for a certificate") {
    Node node;
    const auto tickets = [&](const char* name) {
        Link link(node.contexts, {.server_name = name, .max_version = TLS1_2_VERSION});
        link.run();
        REQUIRE(link.client.connected());
        return link.client.tickets();
    };
    CHECK(tickets("public.example.org") == 1);
    CHECK(tickets("private.example.org") == 0);
    node.contexts.set_now({node.now.mono + 23h, kTestNow + 23h});
    CHECK(tickets("public.example.org") == 1);
    node.contexts.set_now({node.now.mono + 24h, kTestNow + 24h});
    CHECK(tickets("public.example.org") == 0);
    node.contexts.set_ticket_keys(make_ticket_keys());
    CHECK(tickets("public.example.org") == 1);
}

TEST_CASE("A certificate swap under tickets: connections go on, sessions of the old one end") {
    Node node;
    const ClientOptions options{.server_name = "public.example.org"};
    Link open(node.contexts, options);
    open.run();
    const SessionPtr session = session_of(open);
    node.config.certificates = {make_certificate({"*.example.org"})};
    REQUIRE(node.contexts.apply(node.config));
    open.client.to_send = "still here";
    open.run();
    CHECK(open.app.received == "still here");
    Again again(node.contexts, session, options);
    CHECK_FALSE(again.resumed());
    CHECK(Again(node.contexts, session_of(again.link), options).resumed());
}

TEST_CASE("No early data is taken, and no renegotiation or compression agreed on") {
    Node node;
    Link first(node.contexts, {.server_name = "public.example.org"});
    first.run();
    const SessionPtr session = session_of(first);
    CHECK(SSL_SESSION_get_max_early_data(session.get()) == 0);

    Link old(node.contexts, {.server_name = "public.example.org", .max_version = TLS1_2_VERSION});
    old.run();
    REQUIRE(old.client.connected());
    CHECK(SSL_get_current_compression(old.client.ssl()) == nullptr);
    CHECK(SSL_get_secure_renegotiation_support(old.client.ssl()) == 1);
    SSL_renegotiate(old.client.ssl());
    SSL_do_handshake(old.client.ssl());
    old.client.collect(*old.wire);
    const uint64_t handshakes = node.contexts.handshakes();
    old.wire->ready();
    old.run();
    CHECK(node.contexts.handshakes() == handshakes);
    CHECK(SSL_is_init_finished(old.client.ssl()) == 0);
}

// The ClientHello as one message, in records of at most `portion` bytes.
std::string in_records(const std::string& hello, size_t portion) {
    std::string records;
    for (size_t at = 5; at < hello.size(); at += portion) {
        const size_t part = std::min(portion, hello.size() - at);
        records += hello.substr(0, 3);
        records += static_cast<char>(part >> 8);
        records += static_cast<char>(part & 0xff);
        records += hello.substr(at, part);
    }
    return records;
}

TEST_CASE("A ClientHello cut at any place asks for the same certificate") {
    Node node;
    struct Case {
        const char* name;
        bool asked;
    };
    const auto [name, asked] =
        GENERATE(Case{"private.example.org", true}, Case{"PRIVATE.Example.org.", true},
                 Case{"xn--bcher-kva.apps.example.org", true}, Case{"public.example.org", false});
    const ClientOptions options = showing(node.holder, name);
    const auto connect = [&](size_t portion, size_t first) {
        CAPTURE(name, portion, first);
        Link link(node.contexts, options);
        link.client.step(*link.wire);
        std::string hello = std::exchange(link.wire->to_server, {});
        if (portion > 0) hello = in_records(hello, portion);
        link.wire->to_server = hello.substr(0, first);
        link.wire->ready();
        if (first < hello.size()) link.wire->to_server += hello.substr(first);
        link.run();
        REQUIRE(link.client.connected());
        REQUIRE(link.facts().asked_for_certificate == asked);
        REQUIRE((link.app.stream->client_certificate() != nullptr) == asked);
        if (asked) REQUIRE(node.verdict(link) == Verdict::kProved);
        return hello.size();
    };
    const size_t size = connect(0, SIZE_MAX);
    connect(1, SIZE_MAX);
    connect(2, 7);
    for (size_t split = 0; split < size; ++split) {
        connect(0, split);
        if (split > 0 && split < size - 5) connect(split, SIZE_MAX);
    }
}

std::string stapled(Node& node, const char* name, bool ask = true) {
    Link link(node.contexts, {.server_name = name, .ask_ocsp = ask});
    link.run();
    REQUIRE(link.client.connected());
    const uint8_t* response = nullptr;
    const long size = SSL_get_tlsext_status_ocsp_resp(link.client.ssl(), &response);
    return size > 0 ? std::string(as_text(Bytes(response, static_cast<size_t>(size)))) : "";
}

TEST_CASE("An OCSP response is sent to who asks, while it counts and is about this certificate") {
    Node node;
    const TestCa issuer("issuer of servers");
    const Holder server = issuer.issue({.name = "s.example.org"});
    const Holder sibling = issuer.issue({.name = "t.example.org"});
    const auto serve = [&](std::string response, bool with_chain = true) {
        auto config = std::make_shared<contract::CertificateConfig>();
        config->hosts = {"s.example.org"};
        config->certificate_pem = server.pem() + (with_chain ? issuer.pem() : "");
        config->private_key_pem = pem_of([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, server.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        });
        config->ocsp_response = std::move(response);
        node.config.certificates = {config};
        REQUIRE(node.contexts.apply(node.config));
        contract::WorkerReport report;
        node.contexts.report(report);
        return report.staples.empty() ? "no report" : report.staples[0].reason;
    };
    X509* const about = server.certificate.get();
    const std::string good = issuer.ocsp(about);
    CHECK(serve(good).empty());
    CHECK(stapled(node, "s.example.org") == good);
    CHECK(stapled(node, "s.example.org", false).empty());
    contract::WorkerReport report;
    node.contexts.report(report);
    REQUIRE(report.staples.size() == 1);
    CHECK(report.staples[0].usable);
    CHECK(report.staples[0].sent == 1);
    CHECK(report.staples[0].host == "s.example.org");
    CHECK(report.staples[0].next_update == kTestNow + 12h);
    CHECK(report.tls_handshakes == node.contexts.handshakes());

    node.contexts.set_now({node.now.mono, kTestNow + 12h - 1s});
    CHECK(stapled(node, "s.example.org") == good);
    node.contexts.set_now({node.now.mono, kTestNow + 12h});
    CHECK(stapled(node, "s.example.org").empty());
    CHECK(serve(good) == "has expired");
    node.contexts.set_now({node.now.mono, kTestNow - 2h});
    CHECK(serve(good) == "is not valid yet");
    node.contexts.set_now(node.now);

    CHECK(serve(good, false).empty());
    CHECK(stapled(node, "s.example.org") == good);
    const auto refused = [&](std::string response) {
        const std::string reason = serve(std::move(response));
        CHECK(stapled(node, "s.example.org").empty());
        return reason;
    };
    CHECK(refused(issuer.ocsp(about, V_OCSP_CERTSTATUS_REVOKED)) ==
          "says that the certificate is revoked");
    CHECK(refused(issuer.ocsp(about, V_OCSP_CERTSTATUS_UNKNOWN)) ==
          "does not know the certificate");
    CHECK(refused(issuer.ocsp(sibling.certificate.get())) == "is about another certificate");
    CHECK(refused(TestCa("issuer of servers").ocsp(about)) == "is about another certificate");
    CHECK(refused(issuer.ocsp(about, V_OCSP_CERTSTATUS_GOOD, -1h, 0s)) ==
          "does not say until when it counts");
    CHECK(refused(good.substr(0, good.size() / 2)) == "is not an OCSP response in DER");
    CHECK(refused("nothing") == "is not an OCSP response in DER");
    CHECK(serve("") == "no report");
}

}  // namespace
}  // namespace sluice::tls
