// Proves the text protocol against its published examples and against what wg(8) sends; the socket
// itself is tested with wg(8) in tests/netns.
#include "control/uapi/protocol.h"

#include <catch2/catch.hpp>
#include <cerrno>

namespace sluice::control::uapi {
namespace {

const std::string kKeyA(64, 'a');
const std::string kKeyB(64, 'b');

contract::Key own_key(const Secret<32>& private_key) {
    contract::Key key{};
    key[0] = private_key.data()[0];  // enough to tell keys apart; X25519 has tests of its own
    return key;
}

contract::WireguardConfig must_set(const contract::WireguardConfig& config,
                                   const std::string& text) {
    const auto result = apply_set(config, text, own_key);
    INFO((result ? std::string() : result.error().reason));
    REQUIRE(result);
    return *result;
}

int error_of(const std::string& text) {
    const auto result = apply_set({}, text, own_key);
    return result ? 0 : result.error().error;
}

TEST_CASE("a request is found whatever the pieces it comes in") {
    const std::string set = "set=1\nlisten_port=1\nfwmark=0\n\nget=1\n\n";
    for (size_t size = 0; size < 32; ++size) {
        const auto part = next_request(std::string_view(set).substr(0, size));
        REQUIRE(part);
        CHECK(part->has_value() == (size >= 30));
    }
    const auto whole = next_request(set);
    REQUIRE(whole);
    REQUIRE(*whole);
    CHECK((*whole)->operation == Operation::kSet);
    CHECK((*whole)->settings == "listen_port=1\nfwmark=0\n");
    const auto second = next_request(std::string_view(set).substr((*whole)->size));
    REQUIRE(second);
    REQUIRE(*second);
    CHECK((*second)->operation == Operation::kGet);
    CHECK((*second)->size == 7);
}

TEST_CASE("what is no request is refused") {
    CHECK_FALSE(next_request("GET / HTTP/1.1"));
    CHECK_FALSE(next_request("get=2\n"));
    CHECK_FALSE(next_request("get=1\nx=1\n\n"));
    CHECK_FALSE(next_request("\n"));
}

TEST_CASE("set makes, changes and removes peers, all or nothing") {
    auto config =
        must_set({}, "private_key=" + kKeyB + "\nlisten_port=51820\nfwmark=7\npublic_key=" + kKeyA +
                         "\npreshared_key=" + kKeyB +
                         "\nendpoint=[fd00::1]:9\npersistent_keepalive_interval=25\n"
                         "replace_allowed_ips=true\nallowed_ip=10.1.2.3/24\n"
                         "allowed_ip=fd00::/64\nprotocol_version=1\n");
    CHECK(config.listen_port == 51820);
    CHECK(config.fwmark == 7);
    CHECK(config.public_key == own_key(config.private_key));
    REQUIRE(config.peers.size() == 1);
    CHECK(config.peers[0].name == "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=");
    CHECK(config.peers[0].endpoint->text() == "[fd00::1]:9");
    CHECK(config.peers[0].persistent_keepalive_s == 25);
    REQUIRE(config.peers[0].allowed_ips.size() == 2);
    CHECK(config.peers[0].allowed_ips[0].text() == "10.1.2.0/24");

    SECTION("an allowed IP moves to the peer that is given it last") {
        config = must_set(config, "public_key=" + kKeyB + "\nallowed_ip=10.1.2.0/24\n");
        REQUIRE(config.peers.size() == 2);
        CHECK(config.peers[0].allowed_ips.size() == 1);
        CHECK(config.peers[1].allowed_ips.size() == 1);
    }
    SECTION("a minus takes an allowed IP from its peer, and from no other") {
        config = must_set(config, "public_key=" + kKeyB + "\nallowed_ip=-10.1.2.0/24\n");
        CHECK(config.peers[0].allowed_ips.size() == 2);
        config = must_set(config, "public_key=" + kKeyA + "\nallowed_ip=-10.1.2.0/24\n");
        CHECK(config.peers[0].allowed_ips.size() == 1);
    }
    SECTION("update_only makes no peer") {
        config = must_set(config, "public_key=" + kKeyB + "\nupdate_only=true\nallowed_ip=::/0\n");
        CHECK(config.peers.size() == 1);
    }
    SECTION("remove, also of a peer that is made again at once") {
        config = must_set(config, "public_key=" + kKeyA + "\nremove=true\npublic_key=" + kKeyA +
                                      "\nallowed_ip=10.9.0.0/16\n");
        REQUIRE(config.peers.size() == 1);
        REQUIRE(config.peers[0].allowed_ips.size() == 1);
        CHECK_FALSE(config.peers[0].endpoint);
    }
    SECTION("replace_peers") {
        config = must_set(config, "replace_peers=true\npublic_key=" + kKeyB + "\n");
        REQUIRE(config.peers.size() == 1);
        CHECK(config.peers[0].public_key[0] == 0xbb);
    }
    SECTION("a wrong line leaves everything as it was") {
        CHECK_FALSE(apply_set(config, "listen_port=1\nlisten_port=x\n", own_key));
        CHECK(config.listen_port == 51820);
    }
}

TEST_CASE("a peer with the interface's own key is ignored") {
    std::string own = "aa";
    own.resize(64, '0');
    const auto config = must_set({}, "private_key=" + kKeyA + "\npublic_key=" + own + "\n");
    CHECK(config.peers.empty());
}

TEST_CASE("wrong values have their errno") {
    CHECK(error_of("private_key=abc\n") == EINVAL);
    CHECK(error_of("private_key=" + std::string(64, 'g') + "\n") == EINVAL);
    CHECK(error_of("listen_port=65536\n") == EINVAL);
    CHECK(error_of("replace_peers=false\n") == EINVAL);
    CHECK(error_of("colour=blue\n") == EINVAL);
    CHECK(error_of("nonsense\n") == EPROTO);
    const std::string peer = "public_key=" + kKeyA + "\n";
    for (const char* line : {"endpoint=host:1", "allowed_ip=10.0.0.0/33", "protocol_version=2",
                             "persistent_keepalive_interval=65536", "allowed_ip=", "listen_port=1",
                             "update_only=no", "remove=1", "preshared_key="}) {
        INFO(line);
        CHECK(error_of(peer + line + "\n") == EINVAL);
    }
}

TEST_CASE("get says what set made") {
    const auto config = must_set({}, "private_key=" + kKeyB + "\npublic_key=" + kKeyA +
                                         "\nendpoint=192.0.2.1:9\nallowed_ip=10.0.0.0/8\n");
    contract::PeerReport report;
    report.public_key = config.peers[0].public_key;
    report.endpoint = *Endpoint::parse("192.0.2.7:99");
    report.last_handshake = WallTime(std::chrono::nanoseconds(1'700'000'000'000'000'005));
    report.received_bytes = 11;
    report.sent_bytes = 22;
    CHECK(format_get(config, 41621, {&report, 1}) + format_errno(0) ==
          "private_key=" + kKeyB + "\nlisten_port=41621\npublic_key=" + kKeyA +
              "\npreshared_key=" + std::string(64, '0') +
              "\nprotocol_version=1\nendpoint=192.0.2.7:99\n"
              "last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\n"
              "tx_bytes=22\nrx_bytes=11\npersistent_keepalive_interval=0\n"
              "allowed_ip=10.0.0.0/8\nerrno=0\n\n");
    CHECK(format_errno(EINVAL) == "errno=-22\n\n");
}

}  // namespace
}  // namespace sluice::control::uapi
