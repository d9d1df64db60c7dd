// Names in certificates, and what backends get to see of them.
#include "dataplane/tls/certificate_names.h"

#include <catch2/catch.hpp>

#include "dataplane/tls/test_ca.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

const TestCa& ca() {
    static const TestCa kCa("the CA");
    return kCa;
}

Holder with(const std::string& names) {
    return ca().issue({.extensions = {{NID_subject_alt_name, names}}});
}

// Puts bytes of its own choice into a certificate's names, as no tool would.
Holder with_raw(std::vector<std::pair<int, std::string>> names) {
    Holder holder = ca().issue();
    GENERAL_NAMES* list = sk_GENERAL_NAME_new_null();
    for (const auto& [kind, value] : names) {
        GENERAL_NAME* name = GENERAL_NAME_new();
        ASN1_IA5STRING* text = ASN1_IA5STRING_new();
        ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
        GENERAL_NAME_set0_value(name, kind, text);
        sk_GENERAL_NAME_push(list, name);
    }
    X509_add1_ext_i2d(holder.certificate.get(), NID_subject_alt_name, list, 0, 0);
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
    return holder;
}

using Texts = std::vector<std::string>;

TEST_CASE("Names are found by their kind, in the form of allow-lists") {
    const Holder holder = with(
        "URI:spiffe://example.org/App,DNS:Client.Example.ORG,DNS:b.example.org.,"
        "email:Some.One@Example.ORG,IP:10.0.0.1,DNS:c.example.org");
    const CertificateNames names = names_of(holder.certificate.get());
    CHECK(names.uris == Texts{"spiffe://example.org/App"});
    CHECK(names.dns == Texts{"client.example.org", "b.example.org", "c.example.org"});
    CHECK(names.emails == Texts{"Some.One@example.org"});
    CHECK(names.subject == "CN=client");
    const CertificateNames none = names_of(ca().issue().certificate.get());
    CHECK(none.uris.empty());
    CHECK(none.dns.empty());
    CHECK(none.emails.empty());
}

TEST_CASE("Names with zeros or of odd bytes never match") {
    const std::string zero("good.example.org\0.evil.org", 26);
    const CertificateNames names = names_of(with_raw({{GEN_DNS, zero},
                                                      {GEN_DNS, "*.example.org"},
                                                      {GEN_DNS, "b\xc3\xbc.example.org"},
                                                      {GEN_DNS, "a b"},
                                                      {GEN_DNS, ""},
                                                      {GEN_EMAIL, std::string("a@b.org\0c", 9)},
                                                      {GEN_EMAIL, "a@b@c.org"},
                                                      {GEN_EMAIL, "@c.org"},
                                                      {GEN_EMAIL, "a@"},
                                                      {GEN_EMAIL, "a b@c.org"},
                                                      {GEN_EMAIL, "\xc3\xbc@c.org"}})
                                                .certificate.get());
    CHECK(names.dns.empty());
    CHECK(names.emails.empty());

    // One odd URI hides them all, so that nobody counts exactly one.
    CHECK(
        names_of(with_raw({{GEN_URI, "spiffe://a/b"}, {GEN_URI, std::string("spiffe://a/c\0", 13)}})
                     .certificate.get())
            .uris.empty());
    CHECK(names_of(
              with_raw({{GEN_URI, "spiffe://a/b"}, {GEN_URI, "spiffe://a/ c"}}).certificate.get())
              .uris.empty());
    CHECK(names_of(with("URI:spiffe://a/b,URI:spiffe://a/c").certificate.get()).uris.size() == 2);
}

TEST_CASE("Serial numbers are hexadecimal, lower case, without leading zeros") {
    const auto serial = [](const char* decimal) {
        return names_of(ca().issue({.serial = decimal}).certificate.get()).serial;
    };
    CHECK(serial("1") == "1");
    CHECK(serial("0") == "0");
    CHECK(serial("10") == "a");
    CHECK(serial("255") == "ff");
    CHECK(serial("4096") == "1000");
    CHECK(serial("1311768467463790320") == "123456789abcdef0");
    CHECK(serial("-5") == "-5");
}

TEST_CASE("Backends get the certificate as Traefik sends it") {
    const Holder holder = ca().issue({.name = "J\xc3\xbcrgen \"x\"; + 100%",
                                      .extensions = {{NID_subject_alt_name,
                                                      "URI:spiffe://a/b,IP:10.0.0.1,IP:2001:db8::1,"
                                                      "email:a@b.org,DNS:one.org,DNS:Two.org"}},
                                      .serial = "4660"});
    X509* const x = holder.certificate.get();
    X509_NAME* const subject = X509_get_subject_name(x);
    const auto add = [&](const char* key, const char* value) {
        X509_NAME_add_entry_by_txt(subject, key, MBSTRING_UTF8,
                                   reinterpret_cast<const uint8_t*>(value), -1, -1, 0);
    };
    for (const auto& [key, value] :
         std::vector<std::pair<const char*, const char*>>{{"OU", "unit 1"},
                                                          {"O", "org"},
                                                          {"OU", "unit 2"},
                                                          {"L", "town"},
                                                          {"ST", "state"},
                                                          {"C", "DE"},
                                                          {"DC", "example"},
                                                          {"serialNumber", "77"},
                                                          {"DC", "org"}}) {
        add(key, value);
    }
    // Computed by hand after the middleware's source.
    CHECK(forwarded_info_of(x) ==
          "Subject%3D%22DC%3Dexample%2CDC%3Dorg%2CC%3DDE%2CST%3Dstate%2CL%3Dtown%2CO%3Dorg%2C"
          "OU%3Dunit+1%2COU%3Dunit+2%2CSN%3D77%2CCN%3DJ%C3%BCrgen+%22x%22%3B+%2B+100%25%22%3B"
          "Issuer%3D%22CN%3Dthe+CA%22%3BSerialNumber%3D%224660%22%3B"
          "NB%3D%221799996400%22%3BNA%3D%221800086400%22%3B"
          "SAN%3D%22one.org%2CTwo.org%2Ca%40b.org%2C10.0.0.1%2C2001%3Adb8%3A%3A1%2C"
          "spiffe%3A%2F%2Fa%2Fb%22");

    const Holder plain = ca().issue();
    std::string expected = plain.pem();
    const std::string begin = "-----BEGIN CERTIFICATE-----";
    expected.erase(0, begin.size());
    expected.erase(expected.find("-----END"));
    std::erase(expected, '\n');
    CHECK(forwarded_pem_of(plain.certificate.get()) == expected);
}

TEST_CASE("What would not fit in a header is not sent at all") {
    std::string names = "DNS:a.example.org";
    for (int i = 0; i < 400; ++i)
        names += ",DNS:host-number-" + std::to_string(i) + ".example.org";
    const Holder holder = with(names);
    CHECK(forwarded_pem_of(holder.certificate.get()).empty());
    CHECK(forwarded_info_of(holder.certificate.get()).empty());
    CHECK(names_of(holder.certificate.get()).dns.size() == 401);
}

}  // namespace
}  // namespace sluice::tls
