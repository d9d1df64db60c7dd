#include "dataplane/http/auth.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/http/testing/proven_stream.h"
#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FakeCertificate;
using testing::ProvenStream;
using testing::World;
using Verdict = ClientCertificate::Verdict;

struct Setting {
    Setting() {
        snapshot.tls.trusts.push_back(std::make_shared<contract::TrustConfig>());
        snapshot.tls.trusts.push_back(std::make_shared<contract::TrustConfig>());
        route.auth = contract::AuthMode::kMtlsStrict;
        route.client_certificate = contract::ClientCertificatePolicy{.trust = 1};
        facts.done = true;
        facts.server_name = "site.test";
        facts.asked_for_certificate = true;
        certificate.trusted = snapshot.tls.trusts[1].get();
    }
    // The status; 200: may pass; 0: is to be asked.
    int decide(bool with_certificate, const std::string& host = "site.test",
               const Caller& caller = {}) {
        ProvenStream stream(nullptr, &facts, with_certificate ? &certificate : nullptr);
        const Access access =
            http::decide(route, snapshot, caller, &stream, host, WallTime(std::chrono::hours(9)));
        if (access.verdict == Access::Verdict::kAsk) return 0;
        if (access.verdict == Access::Verdict::kPass) {
            CHECK((access.certificate == &certificate) ==
                  (route.auth == contract::AuthMode::kMtlsStrict));
            return 200;
        }
        CHECK_FALSE(access.sentence.empty());
        CHECK(access.certificate == nullptr);
        return access.status;
    }

    contract::Snapshot snapshot;
    contract::RouteConfig route;
    TlsFacts facts;
    FakeCertificate certificate;
    std::string peer = "pixel";
};

TEST_CASE("public, tunnel and bypass") {
    Setting setting;
    setting.route.auth = contract::AuthMode::kPublic;
    CHECK(setting.decide(false) == 200);
    setting.route.auth = contract::AuthMode::kTailscaleOnly;
    CHECK(setting.decide(true) == 403);
    CHECK(setting.decide(false, "site.test", {&setting.peer}) == 200);
    setting.route.auth = contract::AuthMode::kTailscaleBypass;
    CHECK(setting.decide(true) == 503);  // nobody to ask
    setting.route.forward_auth = 0;
    CHECK(setting.decide(true) == 503);
    setting.snapshot.forward_auths.emplace_back();
    CHECK(setting.decide(true) == 0);
    CHECK(setting.decide(false, "site.test", {&setting.peer}) == 200);
    setting.route.auth = static_cast<contract::AuthMode>(77);
    CHECK(setting.decide(true, "site.test", {&setting.peer}) == 403);
}

TEST_CASE("a client certificate is proved under the route's own CA, tunnel or not") {
    Setting setting;
    CHECK(setting.decide(true) == 200);
    CHECK(setting.certificate.asked_at == WallTime(std::chrono::hours(9)));
    CHECK(setting.decide(false) == 403);
    CHECK(setting.decide(false, "site.test", {&setting.peer}) == 403);
    setting.route.client_certificate->trust = 0;  // another CA
    CHECK(setting.decide(true) == 403);
    setting.route.client_certificate->trust = 1;
    setting.certificate.verdict = Verdict::kRefused;
    CHECK(setting.decide(true) == 403);
}

TEST_CASE("what cannot be checked is closed") {
    Setting setting;
    setting.certificate.verdict = Verdict::kUndecided;
    CHECK(setting.decide(true) == 503);
    setting.certificate.verdict = Verdict::kProved;
    auto broken = std::make_shared<contract::TrustConfig>();
    broken->fault = "cannot be read";
    setting.snapshot.tls.trusts[1] = broken;
    setting.certificate.trusted = broken.get();
    CHECK(setting.decide(true) == 503);
    CHECK(setting.decide(false) == 503);
    setting.snapshot.tls.trusts[1] = nullptr;
    CHECK(setting.decide(true) == 503);
    setting.snapshot.tls.trusts.clear();
    CHECK(setting.decide(true) == 503);
    setting.route.client_certificate.reset();
    CHECK(setting.decide(true) == 503);
}

TEST_CASE("no TLS, no certificate") {
    Setting setting;
    setting.facts.done = false;
    CHECK(setting.decide(true) == 403);
    ProvenStream plain(nullptr, nullptr, nullptr);
    CHECK(decide(setting.route, setting.snapshot, {}, &plain, "site.test", {}).status == 403);
    CHECK(decide(setting.route, setting.snapshot, {}, nullptr, "site.test", {}).status == 403);
}

// RFC 9110 section 15.5.20: 421 where another connection could serve the request.
TEST_CASE("421 if another handshake could help") {
    Setting setting;
    for (const bool with_certificate : {true, false}) {
        setting.certificate.verdict = Verdict::kRefused;
        INFO(with_certificate);
        setting.facts.server_name = "other.test";
        CHECK(setting.decide(with_certificate) == 421);
        setting.facts.server_name = "";
        CHECK(setting.decide(with_certificate) == 421);
        CHECK(setting.decide(with_certificate, "192.0.2.1") == 403);
        CHECK(setting.decide(with_certificate, "[2001:db8::1]") == 403);
        setting.facts.server_name = "site.test.";
        CHECK(setting.decide(with_certificate) == 403);
        // The route came with a reload, after the handshake.
        setting.facts.asked_for_certificate = false;
        CHECK(setting.decide(with_certificate) == 421);
        // A resumed session would be resumed again.
        setting.facts.resumed = true;
        CHECK(setting.decide(with_certificate) == 403);
        setting.facts.resumed = false;
        setting.facts.asked_for_certificate = true;
    }
    // What was proved was proved, whatever name it was for.
    setting.certificate.verdict = Verdict::kProved;
    setting.facts.server_name = "other.test";
    CHECK(setting.decide(true) == 200);
}

TEST_CASE("lists: on one of them is enough") {
    Setting setting;
    contract::ClientCertificatePolicy& policy = *setting.route.client_certificate;
    FakeCertificate& shown = setting.certificate;
    policy.uris = {"spiffe://trust.test/phone", "https://id.test/x"};
    policy.dns = {"host.test", "*.pods.test"};
    policy.emails = {"Ann@mail.test"};
    policy.serials = {"1f"};
    const auto listed = [&] { return setting.decide(true) == 200; };
    CHECK_FALSE(listed());

    SECTION("URIs, with exactly one if it is a SPIFFE id") {
        shown.uri_names = {"spiffe://trust.test/phone"};
        CHECK(listed());
        shown.uri_names = {"spiffe://trust.test/phone", "spiffe://trust.test/root"};
        CHECK_FALSE(listed());
        shown.uri_names = {"spiffe://trust.test/phone", "https://other.test"};
        CHECK_FALSE(listed());
        shown.uri_names = {"https://other.test", "https://id.test/x"};
        CHECK(listed());
        shown.uri_names = {"spiffe://trust.test/Phone"};
        CHECK_FALSE(listed());
        shown.uri_names = {"spiffe://trust.test/phone/x"};
        CHECK_FALSE(listed());
    }
    SECTION("DNS names") {
        for (const char* name : {"host.test", "HOST.test", "a.pods.test"}) {
            shown.dns_names = {"x", name};
            CHECK(listed());
        }
        for (const char* name : {"a.host.test", "pods.test", ".pods.test", "a.b.pods.test",
                                 "*.pods.test", "*.test", "hosttest", ""}) {
            INFO(name);
            shown.dns_names = {name};
            CHECK_FALSE(listed());
        }
    }
    SECTION("e-mail addresses: only the domain in any case") {
        shown.email_names = {"Ann@MAIL.test"};
        CHECK(listed());
        for (const char* name : {"ann@mail.test", "Ann@mail.test.evil", "Ann", "x@Ann@mail.test"}) {
            INFO(name);
            shown.email_names = {name};
            CHECK_FALSE(listed());
        }
    }
    SECTION("serial numbers") {
        shown.serial_number = "1f";
        CHECK(listed());
        shown.serial_number = "1f0";
        CHECK_FALSE(listed());
        shown.serial_number = "";
        CHECK_FALSE(listed());
    }
}

TEST_CASE("a verified identity reaches the server, a forged one does not") {
    Setting setting;
    setting.certificate.pem = "MIIB";
    setting.certificate.info = "Subject%3D%22CN%3Dann%22";
    World world;
    auto snapshot = World::snapshot();
    snapshot->tls = setting.snapshot.tls;
    snapshot->routes[0].auth = contract::AuthMode::kMtlsStrict;
    snapshot->routes[0].client_certificate = setting.route.client_certificate;
    auto open = snapshot->routes[0];
    open.name = "open";
    open.path_prefix = "/open";
    open.auth = contract::AuthMode::kPublic;
    snapshot->routes.push_back(open);
    world.apply(snapshot);
    const auto far = std::make_shared<testing::FarEnd>();
    world.proxy.accept(
        std::make_unique<ProvenStream>(
            std::make_unique<testing::MemoryStream>(world.events, far, testing::StreamManner{}),
            &setting.facts, &setting.certificate),
        World::elsewhere(), world.now);
    const std::string forged =
        "X-Forwarded-Tls-Client-Cert: forged\r\nX_Forwarded_Tls_Client_Cert_Info: forged\r\n\r\n";
    world.send(far, "GET / HTTP/1.1\r\nHost: site.test\r\n" + forged);
    const std::string request = world.servers.at(0)->take();
    CHECK(request.find("X-Forwarded-Tls-Client-Cert: MIIB\r\n") != std::string::npos);
    CHECK(request.find("X-Forwarded-Tls-Client-Cert-Info: Subject%3D%22CN%3Dann%22\r\n") !=
          std::string::npos);
    CHECK(request.find("forged") == std::string::npos);
    world.send(world.servers[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CHECK(far->take().starts_with("HTTP/1.1 200 "));

    // It was proved for that route, and says nothing on another one.
    world.send(far, "GET /open HTTP/1.1\r\nHost: site.test\r\n" + forged);
    const std::string other = world.servers.at(0)->take();
    CHECK(other.starts_with("GET /open "));
    CHECK(other.find("Tls") == std::string::npos);
    world.send(world.servers[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CHECK(far->take().starts_with("HTTP/1.1 200 "));

    // Asked anew: it has been revoked since.
    setting.certificate.verdict = Verdict::kRefused;
    world.send(far, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    CHECK(far->take().starts_with("HTTP/1.1 403 "));
    CHECK_FALSE(world.servers.at(0)->has_news());
}

}  // namespace
}  // namespace sluice::http
