// Broken files, and the exact words that their writers are told: every error of a file at once,
// each with its place, what is wrong and what would be right. Part: the tunnel and its peers.
#include <catch2/catch.hpp>

#include "control/config/diagnose.h"

namespace sluice::config {

namespace {

// clang-format off
constexpr BrokenFile kFiles[] = {
    {"key too short",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "c2hvcnQ="
allowed_ips = ["10.98.0.2/32"]
)",
     R"(f:5:14: bad "public_key" "c2hvcnQ="; a key is 44 characters of base64 that end in "=", as `wg pubkey` prints it
)"},
    {"key with a stray character",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42_8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32"]
)",
     R"(f:5:14: bad "public_key" "42_8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="; a key holds only letters, digits, "+" and "/" before its "="
)"},
    {"key that is not canonical",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDV="
allowed_ips = ["10.98.0.2/32"]
)",
     R"(f:5:14: bad "public_key" "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDV="; the last character of a key carries only four bits; this one was mistyped
)"},
    {"key of zeros",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
allowed_ips = ["10.98.0.2/32"]
)",
     R"(f:5:14: the public key is all zeros; write what `wg pubkey` printed for it
)"},
    {"prefix out of range",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/33"]
)",
     R"(f:6:16: bad "allowed_ips" "10.98.0.2/33"; write an address and a prefix length within its bits, such as "10.98.0.2/32" or "fd98::2/128"
)"},
    {"prefix with junk",
     R"([wireguard]
addresses = ["10.98.0.300/24", "fd98::1/129", "x"]
)",
     R"(f:2:14: bad "addresses" "10.98.0.300/24"; write an address and a prefix length within its bits, such as "10.98.0.2/32" or "fd98::2/128"
f:2:32: bad "addresses" "fd98::1/129"; write an address and a prefix length within its bits, such as "10.98.0.2/32" or "fd98::2/128"
f:2:47: bad "addresses" "x"; write an address and a prefix length within its bits, such as "10.98.0.2/32" or "fd98::2/128"
)"},
    {"overlapping allowed IPs",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "pixel"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.0/28"]
[[wireguard.peers]]
name = "laptop"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
allowed_ips = ["10.98.0.9/32"]
)",
     R"(f:6:16: allowed IPs 10.98.0.0/28 of peer "pixel" hold the node's own tunnel address 10.98.0.1; give the peer addresses of its own
f:10:16: allowed IPs 10.98.0.9/32 of peer "laptop" overlap 10.98.0.0/28 of peer "pixel" on line 6; an address can belong to one peer only
)"},
    {"allowed IPs that hold the node",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.0/24"]
)",
     R"(f:6:16: allowed IPs 10.98.0.0/24 of peer "p" hold the node's own tunnel address 10.98.0.1; give the peer addresses of its own
)"},
    {"two peers, one name",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32"]
[[wireguard.peers]]
name = "p"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
allowed_ips = ["10.98.0.3/32"]
)",
     R"(f:8:8: the name "p" is taken by the peer on line 4; names must differ
)"},
    {"two peers, one key",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32"]
[[wireguard.peers]]
name = "q"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.3/32"]
)",
     R"(f:9:14: peer "q" has the public key of peer "p" on line 5; every device needs a key pair of its own
)"},
    {"peer without anything",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
)",
     R"(f:3:1: [[wireguard.peers]] has no "name"; every peer needs one
f:3:1: [[wireguard.peers]] has no "public_key"; write what `wg pubkey` printed for it
f:3:1: [[wireguard.peers]] has no "allowed_ips"; write the addresses that the peer may use, such as ["10.98.0.2/32"]
)"},
    {"endpoint by name",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[wireguard.peers]]
name = "p"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32"]
endpoint = "home.example:51820"
)",
     R"(f:7:12: bad "endpoint" "home.example:51820"; write an IP address and a port, such as "192.0.2.1:51820" or "[2001:db8::1]:51820"; names are not resolved
)"},
    {"mtu too small for IPv6",
     R"([wireguard]
addresses = ["10.98.0.1/24", "fd98::1/64"]
mtu = 1200
)",
     R"(f:3:7: "mtu" is 1200, but IPv6 inside the tunnel (fd98::1/64) needs at least 1280
)"},
    {"mtu out of range",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
mtu = 20
)",
     R"(f:3:7: "mtu" is 20; it must be from 576 to 8940
)"},
    {"interface name too long",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
interface = "a-very-long-name"
)",
     R"(f:3:13: bad "interface" "a-very-long-name"; an interface name has 1 to 15 characters
)"},
    {"listen_port neither",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
listen_port = "any"
)",
     R"(f:3:15: "listen_port" is "any"; it must be "auto" or a number from 1 to 65535
)"},
    {"listen_port zero",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
listen_port = 0
)",
     R"(f:3:15: "listen_port" is 0; it must be from 1 to 65535
)"},
    {"base_port too high",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
base_port = 65400
)",
     R"(f:3:13: "base_port" is 65400; it must be from 1024 to 65280
)"},
    {"the port of tailscaled",
     R"([node]
ip = "192.168.10.41"
[wireguard]
addresses = ["10.98.0.1/24"]
)",
     R"(f:3:1: warning: the listen port is 41641, which is tailscaled's default; if it runs on this machine too, write another number
)"},
};
// clang-format on

}  // namespace

TEST_CASE("broken files: the tunnel") {
    for (const BrokenFile& file : kFiles) {
        INFO(file.what);
        CHECK(diagnose(file.text) == file.told);
    }
}

}  // namespace sluice::config
