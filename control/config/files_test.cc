// The files that a configuration names: what is wrong with them is told with the place that names
// them, and secrets are made and read with care.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "control/config/files.h"
#include "control/config/load.h"
#include "control/config/test_certificate.h"
#include "control/config/test_folder.h"
#include "control/config/text_forms.h"
#include "dataplane/base/clock.h"

namespace sluice::config {

namespace {

constexpr long kDay = 86400;

Environment machine() {
    Environment made;
    made.host_name = "testhost";
    made.default_route_address = *IpAddress::parse("192.168.10.21");
    return made;
}

struct Told {
    bool ok = false;
    std::string text;
};

Told load_text(const TestFolder& folder, const std::string& text) {
    const std::string path = folder.write("f.toml", text);
    Diagnostics diagnostics;
    const auto loaded = load(path, machine(), SystemClock().now().wall, diagnostics);
    Told told;
    told.ok = loaded.has_value();
    for (const std::string& line : diagnostics.lines("f"))
        told.text += line + "\n";
    // So that the folder's random name is in no expectation.
    for (size_t at; (at = told.text.find(folder.path(""))) != std::string::npos;) {
        told.text.erase(at, folder.path("").size());
    }
    return told;
}

const std::string kTls =
    "[[listeners]]\nname = \"l\"\naddress = \"0.0.0.0:3443\"\n"
    "[[certificates]]\nhosts = [\"a.example\"]\ncert_file = \"c.pem\"\nkey_file = \"k.pem\"\n";
const std::string kTunnel =
    "[wireguard]\naddresses = [\"10.98.0.1/24\"]\nprivate_key_file = \"wg.key\"\n";

void write_pair(const TestFolder& folder, const TestCertificate& made) {
    folder.write("c.pem", made.certificate_pem);
    folder.write("k.pem", made.key_pem);
}

}  // namespace

TEST_CASE("a certificate and its key that fit") {
    const TestFolder folder;
    write_pair(folder, make_test_certificate("DNS:a.example", -kDay, 90 * kDay));
    const Told told = load_text(folder, kTls);
    CHECK(told.text.empty());
    CHECK(told.ok);
}

TEST_CASE("certificates that clients would refuse") {
    const TestFolder folder;
    const auto told_for = [&](const TestCertificate& made) {
        write_pair(folder, made);
        return load_text(folder, kTls);
    };
    const Told expired = told_for(make_test_certificate("DNS:a.example", -9 * kDay, -kDay));
    CHECK_FALSE(expired.ok);
    CHECK_THAT(expired.text,
               Catch::StartsWith("f:6:13: the certificate in \"c.pem\" expired on 20"));
    const Told early = told_for(make_test_certificate("DNS:a.example", kDay, 9 * kDay));
    CHECK_FALSE(early.ok);
    CHECK_THAT(early.text,
               Catch::StartsWith("f:6:13: the certificate in \"c.pem\" is not valid before 20"));
    const Told soon = told_for(make_test_certificate("DNS:a.example", -kDay, 13 * kDay));
    CHECK(soon.ok);
    CHECK_THAT(soon.text,
               Catch::StartsWith("f:6:13: warning: the certificate in \"c.pem\" expires on 20"));
    const Told other = told_for(make_test_certificate("DNS:b.example", -kDay, 90 * kDay));
    CHECK(other.ok);
    CHECK(other.text ==
          "f:5:10: warning: the certificate in \"c.pem\" is not for \"a.example\"; clients will "
          "refuse it\n");
}

TEST_CASE("a wildcard is covered by a wildcard only") {
    const TestFolder folder;
    const std::string text =
        "[[certificates]]\nhosts = [\"*.b.example\", \"x.b.example\", \"b.example\"]\n"
        "cert_file = \"c.pem\"\nkey_file = \"k.pem\"\n[[listeners]]\nname = \"l\"\n"
        "address = \"0.0.0.0:3443\"\n";
    write_pair(folder, make_test_certificate("DNS:*.b.example", -kDay, 90 * kDay));
    CHECK(load_text(folder, text).text ==
          "f:2:40: warning: the certificate in \"c.pem\" is not for \"b.example\"; clients will "
          "refuse it\n");
    write_pair(folder, make_test_certificate("DNS:x.b.example,DNS:b.example", -kDay, 90 * kDay));
    CHECK(load_text(folder, text).text ==
          "f:2:10: warning: the certificate in \"c.pem\" is not for \"*.b.example\"; clients will "
          "refuse it\n");
}

TEST_CASE("certificate and key that do not fit, or are none") {
    const TestFolder folder;
    const TestCertificate one = make_test_certificate("DNS:a.example", -kDay, 90 * kDay);
    const TestCertificate two = make_test_certificate("DNS:a.example", -kDay, 90 * kDay);
    const auto told_for = [&](const std::string& certificate, const std::string& key) {
        folder.write("c.pem", certificate);
        folder.write("k.pem", key);
        const Told told = load_text(folder, kTls);
        CHECK_FALSE(told.ok);
        return told.text;
    };
    CHECK(told_for(one.certificate_pem, two.key_pem) ==
          "f:7:12: \"k.pem\" does not belong to the certificate; name the key that it was issued "
          "for\n");
    CHECK(told_for(one.key_pem, one.key_pem) ==
          "f:6:13: \"c.pem\" holds no certificate; it must be PEM text that begins with "
          "\"-----BEGIN CERTIFICATE-----\", the server's own certificate first\n");
    CHECK(told_for(one.certificate_pem, one.certificate_pem) ==
          "f:7:12: \"k.pem\" holds no private key; it must be PEM text that begins with "
          "\"-----BEGIN PRIVATE KEY-----\"\n");
    CHECK_THAT(told_for(one.certificate_pem + two.certificate_pem.substr(0, 200), one.key_pem),
               Catch::Contains("holds a damaged certificate after the first"));
    CHECK_THAT(told_for("", ""), Catch::Contains("holds no certificate"));
}

TEST_CASE("a chain behind the certificate is no obstacle") {
    const TestFolder folder;
    const TestCertificate leaf = make_test_certificate("DNS:a.example", -kDay, 90 * kDay);
    const TestCertificate ca = make_test_certificate("DNS:ca.example", -kDay, 90 * kDay);
    folder.write("c.pem", leaf.certificate_pem + ca.certificate_pem);
    folder.write("k.pem", leaf.key_pem);
    CHECK(load_text(folder, kTls).text.empty());
}

TEST_CASE("a key behind a passphrase is refused, and nobody is asked for it") {
    const TestFolder folder;
    write_pair(folder, make_test_certificate("DNS:a.example", -kDay, 90 * kDay, "secret"));
    CHECK(
        load_text(folder, kTls).text ==
        "f:7:12: \"k.pem\" is encrypted with a passphrase; write it without one, for example with "
        "`openssl pkey -in FILE -out FILE`\n");
}

TEST_CASE("files that cannot be read, all of them at once") {
    const TestFolder folder;
    REQUIRE(mkdir(folder.path("k.pem").c_str(), 0700) == 0);
    REQUIRE(mkfifo(folder.path("wg.key").c_str(), 0600) == 0);
    const std::string text = kTls + kTunnel +
                             "[[wireguard.peers]]\nname = \"p\"\npublic_key = "
                             "\"42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU=\"\n"
                             "preshared_key_file = \"p.psk\"\nallowed_ips = [\"10.98.0.2/32\"]\n";
    // The pipe has no writer: opening it in the usual way would wait for ever.
    CHECK(load_text(folder, text).text ==
          "f:6:13: cannot read \"c.pem\": there is no such file\n"
          "f:7:12: cannot read \"k.pem\": it is a folder\n"
          "f:10:20: cannot read \"wg.key\": it is no regular file\n"
          "f:14:22: cannot read \"p.psk\": there is no such file\n");
}

TEST_CASE("the machine's CAs are read where a server is checked against them") {
    const TestFolder folder;
    write_pair(folder, make_test_certificate("DNS:a.example", -kDay, 90 * kDay));
    const std::string backend =
        kTls + "[[backends]]\nname = \"b\"\nservers = [ { url = \"https://app.example\"";
    const char* const before = std::getenv("SSL_CERT_FILE");
    const std::string kept = before == nullptr ? "" : before;
    setenv("SSL_CERT_FILE", folder.path("nothing.pem").c_str(), 1);
    const Told missing = load_text(folder, backend + " } ]\n");
    CHECK_FALSE(missing.ok);
    INFO(missing.text);
    CHECK(missing.text.find("the machine's own CAs, and these cannot be had: ") !=
          std::string::npos);
    CHECK(missing.text.find("nothing.pem") != std::string::npos);
    CHECK(load_text(folder, backend + ", verify = false } ]\n").ok);
    CHECK(load_text(folder, backend + ", ca_file = \"c.pem\" } ]\n").ok);
    setenv("SSL_CERT_FILE", folder.path("c.pem").c_str(), 1);
    CHECK(load_text(folder, backend + " } ]\n").ok);
    setenv("SSL_CERT_FILE", folder.path("k.pem").c_str(), 1);
    CHECK_FALSE(load_text(folder, backend + " } ]\n").ok);
    if (before == nullptr) {
        unsetenv("SSL_CERT_FILE");
    } else {
        setenv("SSL_CERT_FILE", kept.c_str(), 1);
    }
}

TEST_CASE("keys in files: text, owner, and secrecy") {
    const TestFolder folder;
    const std::string good = "cAZZ2fTpmZVAjAIBJLwTj0zKCdtGJQSMVwMD0xmd2WE=";
    folder.write("wg.key", good + "\n");
    CHECK(load_text(folder, kTunnel).text.empty());
    folder.write("wg.key", good, 0644);
    CHECK(load_text(folder, kTunnel).text ==
          "f:3:20: warning: every user of this machine may read \"wg.key\", which holds a secret; "
          "run "
          "`chmod o-rwx` on it\n");
    folder.write("wg.key", "hello\n");
    CHECK(load_text(folder, kTunnel).text ==
          "f:3:20: \"wg.key\" holds no key; a key is 44 characters of base64 that end in \"=\", as "
          "`wg "
          "pubkey` prints it\n");
    folder.write("wg.key", std::string(43, 'A') + "=\n");
    CHECK(load_text(folder, kTunnel).text ==
          "f:3:20: \"wg.key\" holds a key of zeros; make another\n");
    folder.write("wg.key", std::string(5000, 'A'));
    CHECK(load_text(folder, kTunnel).text ==
          "f:3:20: cannot read \"wg.key\": it has more than 4096 bytes\n");
}

TEST_CASE("a peer cannot have the node's own key") {
    const TestFolder folder;
    SeededRandom random(1);
    REQUIRE(make_private_key(folder.path("wg.key"), random));
    const auto text = read_file(folder.path("wg.key"), 100);
    const Secret<32> key(*parse_key(text->substr(0, 44)));
    const std::string own = key_text(public_key_of(key));
    CHECK(load_text(folder, kTunnel + "[[wireguard.peers]]\nname = \"p\"\npublic_key = \"" + own +
                                "\"\nallowed_ips = [\"10.98.0.2/32\"]\n")
              .text == "f:6:14: peer \"p\" has this node's own public key; write the peer's\n");
}

TEST_CASE("public keys: RFC 7748 section 6.1") {
    const Secret<32> alice({0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
                            0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0,
                            0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a});
    CHECK(key_text(public_key_of(alice)) == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
}

TEST_CASE("the private key is made once, for its owner only") {
    const TestFolder folder;
    SeededRandom random(7);
    const std::string path = folder.path("deep/er/wireguard.key");
    const auto made = make_private_key(path, random);
    REQUIRE(made);
    CHECK(*made);
    struct stat facts{};
    REQUIRE(stat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    const std::string text = folder.read("deep/er/wireguard.key");
    REQUIRE(text.size() == 45);
    CHECK(text.back() == '\n');
    const auto key = parse_key(text.substr(0, 44));
    REQUIRE(key);
    CHECK(((*key)[0] & 7) == 0);
    CHECK(((*key)[31] & 0xc0) == 0x40);
    CHECK(access((path + ".new").c_str(), F_OK) != 0);

    const auto again = make_private_key(path, random);
    REQUIRE(again);
    CHECK_FALSE(*again);
    CHECK(folder.read("deep/er/wireguard.key") == text);
}

TEST_CASE("what a killed start left behind is no obstacle to the next") {
    const TestFolder folder;
    SeededRandom random(7);
    folder.write("wireguard.key.new", "half a k");
    REQUIRE(make_private_key(folder.path("wireguard.key"), random));
    CHECK(folder.read("wireguard.key").size() == 45);
    CHECK(access(folder.path("wireguard.key.new").c_str(), F_OK) != 0);
}

TEST_CASE("a private key that cannot be made says why") {
    const TestFolder folder;
    SeededRandom random(7);
    folder.write("file", "");
    const auto made = make_private_key(folder.path("file/wireguard.key"), random);
    REQUIRE_FALSE(made);
    CHECK_THAT(made.error().message, Catch::StartsWith("cannot make the folder"));
}

TEST_CASE("a check makes no key and misses none") {
    const TestFolder folder;
    const Told told = load_text(folder, kTunnel);
    CHECK(told.ok);
    CHECK(told.text.empty());
    CHECK(access(folder.path("wg.key").c_str(), F_OK) != 0);
}

TEST_CASE("a configuration file that is not there") {
    Diagnostics diagnostics;
    CHECK_FALSE(load("/nonexistent/f.toml", machine(), {}, diagnostics));
    CHECK(diagnostics.lines("/nonexistent/f.toml") ==
          std::vector<std::string>{
              "/nonexistent/f.toml: cannot read \"/nonexistent/f.toml\": there is no such file"});
}

}  // namespace sluice::config
