// A snapshot holds what the file says; the same file makes the same snapshot and no new generation;
// and what did not change is the same object as before.
#include <catch2/catch.hpp>
#include <set>

#include "control/config/test_certificate.h"
#include "control/config/test_folder.h"
#include "control/config/text_forms.h"
#include "control/snapshot/builder.h"
#include "dataplane/base/clock.h"

namespace sluice::snapshot {

namespace {

using config::make_test_certificate;
using config::TestFolder;

const std::string kConfig = R"([node]
name = "node-21"
ip = "192.168.10.21"
[wireguard]
addresses = ["10.98.0.1/24", "fd98::1/64"]
private_key_file = "wg.key"
[[wireguard.peers]]
name = "pixel"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
preshared_key_file = "p.psk"
allowed_ips = ["10.98.0.18/28", "fd98::2/128"]
endpoint = "203.0.113.9:51820"
persistent_keepalive = 25
[[listeners]]
name = "ts-secure"
address = "0.0.0.0:3443"
scope = "tunnel"
[tls]
min_version = "1.3"
[[certificates]]
hosts = ["Happy.example"]
cert_file = "a.crt"
key_file = "a.pem"
[[certificates]]
hosts = ["b.example"]
cert_file = "b.crt"
key_file = "b.pem"
[[routes]]
name = "happy"
hosts = ["happy.example"]
path_prefix = "/x"
auth = "public"
backend = "two"
[[routes]]
name = "rest"
hosts = ["happy.example", "b.example"]
backend = "one"
[[backends]]
name = "one"
servers = [ { url = "builtin:welcome" } ]
[[backends]]
name = "two"
connect_timeout = "1s"
response_timeout = "2m"
servers = [ { url = "http://127.0.0.1:8080", weight = 3 }, { url = "http://[::1]" } ]
[limits]
head_bytes = 2000
headers = 20
head_timeout = "3s"
idle_timeout = "4s"
progress_timeout = "5s"
connections = 7
[offloads]
udp_gso = false
udp_gro = true
tun_tso = false
tun_uso = true
tcp_coalescing = false
udp_coalescing = true
aead = "openssl"
)";

class Fixture {
  public:
    Fixture() {
        SeededRandom random(3);
        REQUIRE(config::make_private_key(folder.path("wg.key"), random));
        REQUIRE(config::make_private_key(folder.path("p.psk"), random));
        write_certificate("a", "DNS:happy.example");
        write_certificate("b", "DNS:b.example");
    }

    void write_certificate(const std::string& name, const std::string& hosts) const {
        const auto made = make_test_certificate(hosts, -3600, 90L * 86400);
        folder.write(name + ".crt", made.certificate_pem);
        folder.write(name + ".pem", made.key_pem);
    }

    config::Loaded load(const std::string& text) const {
        const std::string path = folder.write("f.toml", text);
        config::Diagnostics diagnostics;
        auto loaded =
            config::load(path, config::Environment{}, SystemClock().now().wall, diagnostics);
        for (const std::string& line : diagnostics.lines("f"))
            UNSCOPED_INFO(line);
        REQUIRE(loaded);
        return std::move(*loaded);
    }

    TestFolder folder;
};

std::string changed(const std::string& from, const std::string& to) {
    std::string text = kConfig;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a snapshot holds what the file says") {
    const Fixture fixture;
    const Builder builder;
    const auto built = builder.build(fixture.load(kConfig));
    REQUIRE(built.changed);
    const contract::Snapshot& made = *built.snapshot;
    CHECK(made.generation == 1);
    CHECK(made.node_name == "node-21");

    REQUIRE(made.wireguard);
    CHECK(made.wireguard->interface == "sluice0");
    CHECK(made.wireguard->listen_port == 41621);
    CHECK(made.wireguard->mtu == 1420);
    CHECK(config::key_text(made.wireguard->private_key.span()) + "\n" ==
          fixture.folder.read("wg.key"));
    CHECK(made.wireguard->public_key == config::public_key_of(made.wireguard->private_key));
    // Host bits of an address are the node's own address; those of a prefix mean nothing.
    CHECK(made.wireguard->addresses.at(0).text() == "10.98.0.1/24");
    const contract::PeerConfig& peer = made.wireguard->peers.at(0);
    CHECK(peer.name == "pixel");
    CHECK(config::key_text(peer.preshared_key.span()) + "\n" == fixture.folder.read("p.psk"));
    CHECK(peer.allowed_ips.at(0).text() == "10.98.0.16/28");
    CHECK(peer.endpoint->text() == "203.0.113.9:51820");
    CHECK(peer.persistent_keepalive_s == 25);

    CHECK(made.listeners.at(0).name == "ts-secure");
    CHECK(made.listeners.at(0).scope == contract::ListenerScope::kTunnel);
    CHECK(made.tls.min_version == 0x0304);
    CHECK(made.tls.certificates.at(0)->hosts == std::vector<std::string>{"happy.example"});
    CHECK(made.tls.certificates.at(0)->certificate_pem == fixture.folder.read("a.crt"));
    CHECK(made.tls.certificates.at(0)->private_key_pem == fixture.folder.read("a.pem"));

    CHECK(made.routes.at(0).path_prefix == "/x");
    CHECK(made.routes.at(0).auth == contract::AuthMode::kPublic);
    CHECK(made.backends.at(made.routes.at(0).backend).name == "two");
    CHECK(made.routes.at(1).auth == contract::AuthMode::kTailscaleOnly);
    CHECK(made.backends.at(made.routes.at(1).backend).name == "one");
    const contract::BackendConfig& two = made.backends.at(1);
    CHECK(two.connect_timeout == std::chrono::seconds(1));
    CHECK(two.response_timeout == std::chrono::minutes(2));
    CHECK(two.servers.at(0).weight == 3);
    CHECK(two.servers.at(1).address.text() == "[::1]:80");
    CHECK(made.limits.head_bytes_max == 2000);
    CHECK(made.limits.header_count_max == 20);
    CHECK(made.limits.head_timeout == std::chrono::seconds(3));
    CHECK(made.limits.idle_timeout == std::chrono::seconds(4));
    CHECK(made.limits.progress_timeout == std::chrono::seconds(5));
    CHECK(made.limits.connections_max == 7);
    using contract::Wanted;
    CHECK(made.offloads == contract::OffloadConfig{.udp_gso = Wanted::kOff,
                                                   .udp_gro = Wanted::kOn,
                                                   .tun_tso = Wanted::kOff,
                                                   .tun_uso = Wanted::kOn,
                                                   .tcp_coalescing = Wanted::kOff,
                                                   .udp_coalescing = Wanted::kOn,
                                                   .aead = contract::AeadLibrary::kOpenssl});
}

TEST_CASE("the same content makes no new generation, whatever the file looks like") {
    const Fixture fixture;
    Builder builder;
    builder.take(builder.build(fixture.load(kConfig)));
    const auto first = builder.current();
    const auto again = builder.build(fixture.load("# a comment\n" + kConfig + "\n\n"));
    CHECK_FALSE(again.changed);
    CHECK(again.snapshot == first);
    CHECK(digest_of(*builder.build(fixture.load(kConfig)).snapshot) == digest_of(*first));
}

TEST_CASE("a snapshot that was not taken leaves the generation as it was") {
    const Fixture fixture;
    Builder builder;
    builder.take(builder.build(fixture.load(kConfig)));
    const auto refused = builder.build(fixture.load(changed("node-21", "node-22")));
    CHECK(refused.snapshot->generation == 2);
    CHECK(builder.current()->generation == 1);
    const auto next = builder.build(fixture.load(changed("node-21", "node-23")));
    CHECK(next.snapshot->generation == 2);
    builder.take(next);
    CHECK(builder.current()->node_name == "node-23");
}

TEST_CASE("every change makes another digest") {
    const Fixture fixture;
    const Builder builder;
    std::set<Digest> digests;
    const auto add = [&](const std::string& text) {
        INFO(text);
        CHECK(digests.insert(digest_of(*builder.build(fixture.load(text)).snapshot)).second);
    };
    add(kConfig);
    const std::pair<const char*, const char*> edits[] = {
        {"node-21", "node-22"},
        {"10.98.0.1/24", "10.98.0.1/25"},
        {"addresses = [", "listen_port = 1000\naddresses = ["},
        {"addresses = [", "mtu = 1400\naddresses = ["},
        {"addresses = [", "interface = \"wg7\"\naddresses = ["},
        {"\"pixel\"", "\"laptop\""},
        {"42q8Bg3nRlCzxAR", "42q8Bg3nRlCzxAS"},
        {"preshared_key_file = \"p.psk\"\n", ""},
        {"10.98.0.18/28", "10.98.0.18/29"},
        {"203.0.113.9:51820", "203.0.113.9:51821"},
        {"endpoint = \"203.0.113.9:51820\"\n", ""},
        {"persistent_keepalive = 25", "persistent_keepalive = 26"},
        {"ts-secure", "secure"},
        {"0.0.0.0:3443", "0.0.0.0:3444"},
        {"scope = \"tunnel\"", "scope = \"any\""},
        {"min_version = \"1.3\"", "min_version = \"1.2\""},
        {"\"b.example\"]\ncert", "\"b.example\", \"c.example\"]\ncert"},
        {"\"/x\"", "\"/y\""},
        {"auth = \"public\"", "auth = \"tailscale-only\""},
        {"backend = \"two\"", "backend = \"one\""},
        {"name = \"happy\"", "name = \"sad\""},
        {"weight = 3", "weight = 4"},
        {"http://[::1]", "http://[::2]"},
        {"\"1s\"", "\"2s\""},
        {"\"2m\"", "\"3m\""},
        {"2000", "2001"},
        {"headers = 20", "headers = 21"},
        {"\"3s\"", "\"33s\""},
        {"\"4s\"", "\"44s\""},
        {"\"5s\"", "\"55s\""},
        {"connections = 7", "connections = 8"},
    };
    for (const auto& [from, to] : edits)
        add(changed(from, to));
    fixture.write_certificate("a", "DNS:happy.example");
    add(kConfig);
    SeededRandom random(4);
    REQUIRE(::unlink(fixture.folder.path("wg.key").c_str()) == 0);
    REQUIRE(config::make_private_key(fixture.folder.path("wg.key"), random));
    add(kConfig);
}

TEST_CASE("a certificate whose files stay the same stays the same object") {
    const Fixture fixture;
    Builder builder;
    builder.take(builder.build(fixture.load(kConfig)));
    const auto before = builder.current()->tls.certificates;

    fixture.write_certificate("b", "DNS:b.example");
    builder.take(builder.build(fixture.load(kConfig)));
    const auto after = builder.current()->tls.certificates;
    CHECK(builder.current()->generation == 2);
    CHECK(after.at(0) == before.at(0));
    CHECK(after.at(1) != before.at(1));

    // Other names for the same files are another certificate to who asks for a name.
    builder.take(builder.build(fixture.load(changed("Happy.example", "other.example"))));
    CHECK(builder.current()->tls.certificates.at(0) != after.at(0));
    CHECK(builder.current()->tls.certificates.at(1) == after.at(1));
}

TEST_CASE("client certificates: trusts, whom they are asked of, and a CA that is not there") {
    const Fixture fixture;
    const auto routes = [](const std::string& ca) {
        return "[[routes]]\nname = \"strict\"\nhosts = [\"m.happy.example\"]\nauth = "
               "\"mtls-strict\"\n"
               "client_ca_file = \"" +
               ca +
               "\"\nclient_dns = [\"X.example\"]\nbackend = \"one\"\n"
               "[[routes]]\nname = \"wild\"\nhosts = [\"*.happy.example\"]\nauth = "
               "\"mtls-strict\"\n"
               "client_ca_file = \"missing.pem\"\nbackend = \"one\"\n"
               "[[forward_auth]]\nname = \"oauth\"\naddress = \"https://auth.example/check?a=b\"\n"
               "response_headers = [\"X-User\"]\ntimeout = \"3s\"\n"
               "[[routes]]\nname = \"asked\"\nhosts = [\"b.example\"]\npath = \"/asked\"\n"
               "auth = \"tailscale-bypass\"\nforward_auth = \"oauth\"\nbackend = \"two\"\n";
    };
    fixture.folder.write("ca.pem", fixture.folder.read("a.crt"));
    Builder builder;
    const auto first = builder.build(fixture.load(kConfig + routes("ca.pem")));
    builder.take(first);
    const contract::Snapshot& made = *first.snapshot;
    REQUIRE(made.tls.trusts.size() == 2);
    // The test's certificate is none of a CA.
    CHECK(made.tls.trusts[0]->fault.find("none of a CA") != std::string::npos);
    CHECK(made.tls.trusts[1]->fault.find("there is no such file") != std::string::npos);
    CHECK(made.tls.trusts[1]->anchors_pem.empty());
    REQUIRE(made.tls.client_certificate_hosts.size() == 2);
    CHECK(made.tls.client_certificate_hosts[0].host == "*.happy.example");
    CHECK(made.tls.client_certificate_hosts[0].trusts == std::vector<uint32_t>{1});
    // A request for it may be taken by the wildcard's route, too.
    CHECK(made.tls.client_certificate_hosts[1].host == "m.happy.example");
    CHECK(made.tls.client_certificate_hosts[1].trusts == std::vector<uint32_t>{0, 1});
    CHECK(made.routes.at(2).client_certificate->dns == std::vector<std::string>{"x.example"});

    REQUIRE(made.forward_auths.size() == 1);
    const contract::ForwardAuthConfig& service = made.forward_auths[0];
    CHECK(made.routes.at(4).forward_auth == 0u);
    CHECK(service.authority == "auth.example");
    CHECK(service.path == "/check?a=b");
    CHECK(service.response_headers == std::vector<std::string>{"x-user"});
    const contract::BackendConfig& hidden = made.backends.at(service.backend);
    CHECK(hidden.name == "forward-auth:oauth");
    CHECK(hidden.response_timeout == std::chrono::seconds(3));
    CHECK(hidden.servers.at(0).dns_name == "auth.example");
    REQUIRE(hidden.servers[0].tls);
    CHECK(hidden.servers[0].tls->server_name == "auth.example");
    CHECK(hidden.servers[0].tls->verify);

    // What stays the same is the same object.
    const auto second = builder.build(fixture.load(kConfig + routes("other.pem")));
    REQUIRE(second.changed);
    CHECK(second.snapshot->tls.trusts[0] != made.tls.trusts[0]);
    CHECK(second.snapshot->tls.trusts[1] == made.tls.trusts[1]);
    CHECK(second.snapshot->backends.at(service.backend).servers[0].tls == hidden.servers[0].tls);
}

}  // namespace sluice::snapshot
