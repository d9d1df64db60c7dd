// What a client certificate proves under which CAs, and when. Certificates are made by OpenSSL.
#include "dataplane/tls/trust_store.h"

#include <catch2/catch.hpp>

#include "dataplane/tls/peer_certificate.h"
#include "dataplane/tls/test_ca.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;
using namespace std::chrono_literals;
using Verdict = ClientCertificate::Verdict;

struct Bench {
    LibraryPtr library{OSSL_LIB_CTX_new()};
    TrustStores stores{library.get()};

    PeerCertificate shown(const Holder& holder, const std::vector<X509*>& others = {}) {
        ChainPtr chain(sk_X509_new_null());
        for (X509* other : others)
            sk_X509_push(chain.get(), copy_of(other).release());
        return {stores, copy_of(holder.certificate.get()), std::move(chain)};
    }
    Verdict verdict(const Holder& holder, const std::shared_ptr<contract::TrustConfig>& trust,
                    const std::vector<X509*>& others = {}, WallTime now = kTestNow) {
        auto certificate = shown(holder, others);
        const auto proof = certificate.prove(trust, now);
        reason = proof.reason;
        return proof.verdict;
    }
    std::string reason;
};

TEST_CASE("A certificate proves itself under the CA that issued it, and no other") {
    Bench bench;
    const TestCa ca("one");
    const TestCa other("two");
    const TestCa namesake("one");  // the same name, another key
    const Holder client = ca.issue();
    CHECK(bench.verdict(client, make_trust(ca.pem())) == Verdict::kProved);
    CHECK(bench.verdict(client, make_trust(other.pem())) == Verdict::kRefused);
    CHECK(bench.verdict(client, make_trust(namesake.pem())) == Verdict::kRefused);
    CHECK(bench.verdict(client, make_trust(other.pem() + ca.pem())) == Verdict::kProved);
    // What the client sends along is no anchor.
    CHECK(bench.verdict(client, make_trust(other.pem()), {ca.certificate()}) == Verdict::kRefused);
    const TestCa self("self");
    const Holder self_signed{copy_of(self.certificate()), nullptr};
    CHECK(bench.verdict(self_signed, make_trust(ca.pem())) == Verdict::kRefused);
    CHECK(bench.verdict(self_signed, make_trust(self.pem())) == Verdict::kRefused);
}

TEST_CASE("Dates of the certificate and of the CAs count, to the second") {
    Bench bench;
    const TestCa ca("one");
    const auto trust = make_trust(ca.pem());
    const Holder client = ca.issue({.from = -100s, .until = 100s});
    CHECK(bench.verdict(client, trust, {}, kTestNow - 101s) == Verdict::kRefused);
    CHECK(bench.verdict(client, trust, {}, kTestNow - 100s) == Verdict::kProved);
    CHECK(bench.verdict(client, trust, {}, kTestNow + 99s) == Verdict::kProved);
    CHECK(bench.verdict(client, trust, {}, kTestNow + 100s) == Verdict::kRefused);
    CHECK_THAT(bench.reason, Catch::Contains("expired"));

    const TestCa middle = ca.issue_ca("middle", "critical,CA:TRUE", 50s);
    const Holder below = middle.issue();
    CHECK(bench.verdict(below, trust, {middle.certificate()}) == Verdict::kProved);
    CHECK(bench.verdict(below, trust, {middle.certificate()}, kTestNow + 50s) == Verdict::kRefused);
}

TEST_CASE("The verdict of one connection changes when a date passes, and back with the clock") {
    Bench bench;
    const TestCa ca("one");
    const Holder client = ca.issue({.from = 10s, .until = 20s});
    auto trust = make_trust(ca.pem());
    trust->crl_wanted = true;
    trust->crl_pem = ca.crl({}, -1h, 15s);
    auto certificate = bench.shown(client);
    const auto at = [&](Duration after) {
        return certificate.prove(trust, kTestNow + after).verdict;
    };
    CHECK(at(0s) == Verdict::kRefused);
    CHECK(at(9999ms) == Verdict::kRefused);
    CHECK(at(10s) == Verdict::kProved);
    CHECK(at(14999ms) == Verdict::kProved);
    CHECK(at(15s) == Verdict::kUndecided);  // the list has run out
    CHECK(at(20s) == Verdict::kUndecided);
    CHECK(at(12s) == Verdict::kProved);
    CHECK(at(1s) == Verdict::kRefused);
}

TEST_CASE("Intermediate CAs are sent by the client, in any order, or are anchors themselves") {
    Bench bench;
    const TestCa root("root");
    const TestCa first = root.issue_ca("first");
    const TestCa second = first.issue_ca("second");
    const Holder client = second.issue();
    const auto trust = make_trust(root.pem());
    X509* const a = first.certificate();
    X509* const b = second.certificate();
    CHECK(bench.verdict(client, trust, {a, b}) == Verdict::kProved);
    CHECK(bench.verdict(client, trust, {b, a}) == Verdict::kProved);
    CHECK(bench.verdict(client, trust, {b}) == Verdict::kRefused);
    CHECK(bench.verdict(client, make_trust(second.pem())) == Verdict::kProved);
    CHECK(bench.verdict(client, make_trust(first.pem()), {b}) == Verdict::kProved);
    CHECK(bench.verdict(client, make_trust(first.pem())) == Verdict::kRefused);
}

TEST_CASE("Only a CA can issue: constraints and path lengths hold") {
    Bench bench;
    const TestCa root("root");
    const auto trust = make_trust(root.pem());
    SECTION("an ordinary certificate signs another") {
        const TestCa fake(root.issue({.name = "fake"}));
        CHECK(bench.verdict(fake.issue(), trust, {fake.certificate()}) == Verdict::kRefused);
    }
    SECTION("explicitly none") {
        const TestCa fake = root.issue_ca("fake", "critical,CA:FALSE");
        CHECK(bench.verdict(fake.issue(), trust, {fake.certificate()}) == Verdict::kRefused);
    }
    SECTION("key usage alone makes no CA") {
        const TestCa fake(
            root.issue({.name = "fake", .extensions = {{NID_key_usage, "keyCertSign"}}}));
        CHECK(bench.verdict(fake.issue(), trust, {fake.certificate()}) == Verdict::kRefused);
    }
    SECTION("a path that is too long") {
        const TestCa last = root.issue_ca("last", "critical,CA:TRUE,pathlen:0");
        CHECK(bench.verdict(last.issue(), trust, {last.certificate()}) == Verdict::kProved);
        const TestCa beyond = last.issue_ca("beyond");
        CHECK(bench.verdict(beyond.issue(), trust, {last.certificate(), beyond.certificate()}) ==
              Verdict::kRefused);
    }
    SECTION("a name outside of the constraints") {
        const TestCa limited(root.issue(
            {.name = "limited",
             .extensions = {{NID_basic_constraints, "critical,CA:TRUE"},
                            {NID_name_constraints, "critical,permitted;DNS:.in.example"}}}));
        const auto with = [&](const char* name) {
            return limited.issue({.extensions = {{NID_subject_alt_name, name}}});
        };
        CHECK(bench.verdict(with("DNS:a.in.example"), trust, {limited.certificate()}) ==
              Verdict::kProved);
        CHECK(bench.verdict(with("DNS:a.out.example"), trust, {limited.certificate()}) ==
              Verdict::kRefused);
    }
}

TEST_CASE("The certificate must be one for clients that sign") {
    Bench bench;
    const TestCa ca("one");
    const auto trust = make_trust(ca.pem());
    const auto with = [&](int kind, const char* value) {
        return bench.verdict(ca.issue({.extensions = {{kind, value}}}), trust);
    };
    CHECK(with(NID_ext_key_usage, "clientAuth") == Verdict::kProved);
    CHECK(with(NID_ext_key_usage, "serverAuth,clientAuth") == Verdict::kProved);
    CHECK(with(NID_ext_key_usage, "serverAuth") == Verdict::kRefused);
    CHECK(with(NID_ext_key_usage, "emailProtection") == Verdict::kRefused);
    CHECK(with(NID_key_usage, "digitalSignature") == Verdict::kProved);
    CHECK(with(NID_key_usage, "keyEncipherment") == Verdict::kRefused);
    CHECK(with(NID_key_usage, "keyAgreement") == Verdict::kRefused);
    CHECK_THAT(bench.reason, Catch::Contains("does not allow signatures"));
}

TEST_CASE("Weak keys and signatures do not count") {
    Bench bench;
    const TestCa ca("one");
    CHECK(bench.verdict(ca.issue({.key = KeyPtr(EVP_RSA_gen(1024))}), make_trust(ca.pem())) ==
          Verdict::kRefused);
    CHECK(bench.verdict(ca.issue({.key = KeyPtr(EVP_RSA_gen(2048))}), make_trust(ca.pem())) ==
          Verdict::kProved);
}

TEST_CASE("Revocation lists: every CA of the chain needs a current one") {
    Bench bench;
    const TestCa root("root");
    const TestCa middle = root.issue_ca("middle");
    const Holder client = middle.issue();
    const Holder bad = middle.issue();
    const auto trust = make_trust(root.pem());
    trust->crl_wanted = true;
    const std::vector<X509*> sent = {middle.certificate()};
    const auto judged = [&](const Holder& who, std::string crls) {
        auto changed = std::make_shared<contract::TrustConfig>(*trust);
        changed->crl_pem = std::move(crls);
        return bench.verdict(who, changed, sent);
    };
    const std::string roots = root.crl({});
    const std::string middles = middle.crl({bad.certificate.get()});
    CHECK(judged(client, roots + middles) == Verdict::kProved);
    CHECK(judged(client, "text before\n" + middles + roots) == Verdict::kProved);
    CHECK(judged(bad, roots + middles) == Verdict::kRefused);
    CHECK_THAT(bench.reason, Catch::Contains("revoked"));
    CHECK(judged(client, roots) == Verdict::kUndecided);
    CHECK(judged(client, middles) == Verdict::kUndecided);
    CHECK(judged(client, "") == Verdict::kUndecided);
    CHECK(judged(client, "nothing") == Verdict::kUndecided);
    CHECK(judged(client, roots + middles.substr(0, middles.size() / 2)) == Verdict::kUndecided);
    CHECK(judged(client, roots + middle.crl({}, -2h, -1h)) == Verdict::kUndecided);
    CHECK(judged(client, roots + middle.crl({}, 1h, 2h)) == Verdict::kUndecided);
    CHECK(judged(client, root.crl({middle.certificate()}) + middles) == Verdict::kRefused);
    // By another CA of the same name.
    const TestCa namesake("middle");
    CHECK(judged(client, roots + namesake.crl({})) == Verdict::kUndecided);
    // One that has run out beside its successor does no harm.
    CHECK(judged(client, roots + middle.crl({}, -2h, -1h) + middles) == Verdict::kProved);
    // A stranger is refused whatever the state of the lists.
    CHECK(judged(TestCa("stranger").issue(), "") == Verdict::kUndecided);
    CHECK(judged(TestCa("stranger").issue(), roots + middles) == Verdict::kRefused);

    SECTION("lists that are not wanted are not looked at") {
        trust->crl_wanted = false;
        CHECK(judged(bad, roots + middles) == Verdict::kProved);
    }
    SECTION("an intermediate CA as the anchor needs no list above it") {
        const auto only = make_trust(middle.pem());
        only->crl_wanted = true;
        only->crl_pem = middles;
        CHECK(bench.verdict(client, only) == Verdict::kProved);
        CHECK(bench.verdict(bad, only) == Verdict::kRefused);
    }
}

TEST_CASE("A trust that cannot be used decides nothing") {
    Bench bench;
    const TestCa ca("one");
    const Holder client = ca.issue();
    auto trust = make_trust(ca.pem());
    SECTION("control could not load it") {
        trust->fault = "there is no such file";
    }
    SECTION("no certificate in it") {
        trust->anchors_pem = "nothing";
    }
    SECTION("empty") {
        trust->anchors_pem.clear();
    }
    SECTION("the second one is broken") {
        trust->anchors_pem += "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    }
    CHECK(bench.verdict(client, trust) == Verdict::kUndecided);
    auto certificate = bench.shown(client);
    CHECK(certificate.prove(nullptr, kTestNow).verdict == Verdict::kUndecided);
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("Proofs are counted for each anchor, also across a reload of the same files") {
    Bench bench;
    const TestCa old_ca("old");
    const TestCa new_ca("new");
    const Holder one = old_ca.issue();
    const Holder two = new_ca.issue();
    const auto trust = make_trust(old_ca.pem() + new_ca.pem() + old_ca.pem());
    bench.stores.apply({trust});
    const auto counts = [&] {
        std::vector<contract::AnchorReport> reports;
        bench.stores.report(reports);
        std::vector<uint64_t> numbers;
        for (const auto& report : reports)
            numbers.push_back(report.proofs);
        return numbers;
    };
    CHECK(counts() == std::vector<uint64_t>{0, 0});
    auto certificate = bench.shown(one);
    certificate.prove(trust, kTestNow);
    certificate.prove(trust, kTestNow + 1s);  // remembered
    bench.verdict(one, trust);
    bench.verdict(two, trust);
    bench.verdict(TestCa("stranger").issue(), trust);
    CHECK(counts() == std::vector<uint64_t>{2, 1});

    const auto again = std::make_shared<contract::TrustConfig>(*trust);
    bench.stores.apply({again, again});
    CHECK(counts() == std::vector<uint64_t>{2, 1});
    bench.verdict(two, again);
    std::vector<contract::AnchorReport> reports;
    bench.stores.report(reports);
    REQUIRE(reports.size() == 2);
    CHECK(reports[1].proofs == 2);
    CHECK(reports[1].last_proof == kTestNow);
    CHECK(reports[1].subject == "CN=new");
    CHECK(reports[1].trust == "clients");
    CHECK(reports[1].fingerprint.size() == 16);
    CHECK(reports[1].not_after == kTestNow + 2400h);
    // A trust that was taken away still decides for a request in progress.
    bench.stores.apply({});
    CHECK(counts().empty());
    CHECK(bench.verdict(one, again) == Verdict::kProved);
}

TEST_CASE("Demands are equal when anchors and the wish for lists are") {
    Bench bench;
    const TestCa a("a");
    const TestCa b("b");
    const auto digest = [&](const std::shared_ptr<contract::TrustConfig>& trust) {
        return bench.stores.find(trust)->policy_digest();
    };
    const auto one = make_trust(a.pem());
    const auto same = make_trust("comment\n" + a.pem(), "another file");
    CHECK(digest(one) == digest(same));
    CHECK(digest(one) != digest(make_trust(b.pem())));
    const auto with_list = make_trust(a.pem());
    with_list->crl_wanted = true;
    with_list->crl_pem = a.crl({});
    CHECK(digest(one) != digest(with_list));
    const auto newer_list = std::make_shared<contract::TrustConfig>(*with_list);
    newer_list->crl_pem = a.crl({}, -30min, 24h);
    CHECK(digest(with_list) == digest(newer_list));
}

}  // namespace
}  // namespace sluice::tls
