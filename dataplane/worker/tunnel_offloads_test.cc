#include "dataplane/worker/tunnel_offloads.h"

#include <catch2/catch.hpp>

#include "dataplane/crypto/aead.h"

namespace sluice::worker {

using contract::Wanted;

TEST_CASE("tunnel offloads: only auto asks the self-test, only false switches off") {
    const auto port = datagram_port_options({}, 41621);
    CHECK(port.port == 41621);
    CHECK((port.gso && port.test_gso && port.gro && port.test_gro));
    const auto other = datagram_port_options({.udp_gso = Wanted::kOff, .udp_gro = Wanted::kOn}, 1);
    CHECK_FALSE(other.gso);
    CHECK(other.gro);
    CHECK_FALSE(other.test_gro);
}

TEST_CASE("tunnel offloads: the cipher's library is reported with its reason and its uses") {
    choose_cipher(contract::AeadLibrary::kOpenssl);
    const auto off = cipher_report();
    CHECK(off.name == "aead_ipsec_mb");
    CHECK(off.state == "off");
    CHECK(off.reason == "switched off");

    choose_cipher(contract::AeadLibrary::kIpsecMb);
    const auto before = cipher_report();
    CHECK(before.state == (before.reason.empty() ? "on" : "unsupported"));
    crypto::AeadKey key(Secret<32>{});
    std::array<uint8_t, 116> sealed{};
    key.seal(1, {}, Bytes(sealed).first(100), sealed);
    CHECK(cipher_report().uses - before.uses == (before.state == "on" ? 1 : 0));
    choose_cipher(contract::AeadLibrary::kAuto);
}

}  // namespace sluice::worker
