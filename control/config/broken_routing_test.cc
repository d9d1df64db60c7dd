// Broken files, and the exact words that their writers are told: every error of a file at once,
// each with its place, what is wrong and what would be right. Part: listeners, certificates,
// routes, backends, limits.
#include <catch2/catch.hpp>

#include "control/config/diagnose.h"

namespace sluice::config {

namespace {

// clang-format off
constexpr BrokenFile kFiles[] = {
    {"listeners that collide",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[listeners]]
name = "m"
address = "127.0.0.1:3443"
)",
     R"(f:10:11: listener "m" at 127.0.0.1:3443 collides with listener "l" at 0.0.0.0:3443 on line 7; give it another port or address
)"},
    {"two listeners, one name",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[listeners]]
name = "l"
address = "[::]:3443"
)",
     R"(f:9:8: the name "l" is taken by the listener on line 6; names must differ
)"},
    {"listener without port",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0"
)",
     R"(f:7:11: bad "address" "0.0.0.0"; write an IP address and a port, such as "0.0.0.0:3443" or "[::]:3443"; names are not resolved
)"},
    {"listener at port 0",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0:0"
)",
     R"(f:7:11: bad "address" "0.0.0.0:0"; write a port from 1 to 65535
)"},
    {"listener without certificate",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
)",
     R"(f:1:1: a listener speaks TLS and needs a certificate; add [[certificates]]
)"},
    {"tunnel scope without tunnel",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0:3443"
scope = "tunnel"
)",
     R"(f:8:9: "scope" is "tunnel", but there is no tunnel; add [wireguard], or write "any"
)"},
    {"scope unknown",
     R"([[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[listeners]]
name = "l"
address = "0.0.0.0:3443"
scope = "all"
)",
     R"(f:8:9: "scope" is "all"; it must be one of "any", "tunnel"
)"},
    {"route to a backend that is not there",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
)",
     R"(f:12:11: route "r" names the backend "b", which does not exist; add it to [[backends]], or correct the name
)"},
    {"host without certificate",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["b.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:10:10: warning: no certificate names the host "b.example"; clients that ask for it are refused until one of [[certificates]] does
)"},
    {"hosts that are none",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["https://a.example", "a.example:443", "*.*.example", "a..b", "a.example.", "a.*"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:10:10: bad "hosts" "https://a.example"; write the name alone, without scheme and port, such as "app.example.org"
f:10:31: bad "hosts" "a.example:443"; write the name alone, without scheme and port, such as "app.example.org"
f:10:48: bad "hosts" "*.*.example"; "*" stands only for the whole first label, as in "*.example.org"
f:10:63: bad "hosts" "a..b"; write labels of letters, digits and "-", joined by single dots
f:10:71: bad "hosts" "a.example."; write it without the dot at its end
f:10:85: bad "hosts" "a.*"; "*" stands only for the whole first label, as in "*.example.org"
)"},
    {"two routes for one thing",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[routes]]
name = "s"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:15:10: route "s" for "a.example" and path "/" is never reached; route "r" on line 8 takes both
)"},
    {"two routes, one name",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[routes]]
name = "r"
path_prefix = "/x"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:14:8: the name "r" is taken by the route on line 9; names must differ
)"},
    {"two certificates for one host",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:9:10: host "a.example" already has the certificate on line 5; name it in one of them
)"},
    {"path prefixes that never match",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r0"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "app"
[[routes]]
name = "r1"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "/app/"
[[routes]]
name = "r2"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "/a//b"
[[routes]]
name = "r3"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "/a/../b"
[[routes]]
name = "r4"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "/a b"
[[routes]]
name = "r5"
hosts = ["a.example"]
auth = "public"
backend = "b"
path_prefix = "/a?b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:13:15: bad "path_prefix" "app"; a path prefix begins with "/"
f:19:15: bad "path_prefix" "/app/"; write it without the "/" at its end; it matches whole segments: "/a" means "/a" and all below it
f:25:15: bad "path_prefix" "/a//b"; an empty segment ("//") never matches
f:31:15: bad "path_prefix" "/a/../b"; a segment "." or ".." never matches
f:37:15: bad "path_prefix" "/a b"; a path holds only visible ASCII characters; write others as %XX
f:43:15: bad "path_prefix" "/a?b"; a path ends before "?" and "#"
)"},
    {"auth unknown",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "open"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:11:8: "auth" is "open"; it must be one of "public", "tailscale-only", "tailscale-bypass", "mtls-strict"
)"},
    {"tailscale-only without tunnel",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "tailscale-only"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:11:8: warning: route "r" is "tailscale-only", but there is no [wireguard]; everyone gets 403
)"},
    {"bad URLs",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [
  { url = "127.0.0.1:80" },
  { url = "http://300.1.1.1:80" },
  { url = "http://127.0.0.1:80/path" },
  { url = "http://127.0.0.1:99999" },
  { url = "http://u@127.0.0.1" },
  { url = "http://127.0.0.1:0" },
  { weight = 2 },
  { url = "http://127.0.0.1:80", weight = -1 } ]
)",
     R"(f:16:11: bad "url" "127.0.0.1:80"; write "http://HOST:PORT", "https://HOST:PORT", "unix:/PATH" or "builtin:welcome"
f:17:11: bad "url" "http://300.1.1.1:80"; write an address or a name and a port, such as "http://127.0.0.1:8080", "http://[::1]:8080" or "https://app.example"
f:18:11: bad "url" "http://127.0.0.1:80/path"; a server is a host and a port only; a path or user has no place in it
f:19:11: bad "url" "http://127.0.0.1:99999"; write a port from 1 to 65535
f:20:11: bad "url" "http://u@127.0.0.1"; a server is a host and a port only; a path or user has no place in it
f:21:11: bad "url" "http://127.0.0.1:0"; port 0 cannot be connected to
f:22:3: a server has no "url"; write "http://HOST:PORT"
f:23:43: "weight" is -1; it must be from 0 to 65535
)"},
    {"no servers",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = []
)",
     R"(f:15:11: "servers" is empty; write at least one, such as { url = "http://127.0.0.1:8080" }
)"},
    {"all weights zero",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome", weight = 0 } ]
)",
     R"(f:13:1: every server of the backend "b" has weight 0; give one of them more
)"},
    {"a backend that nobody uses",
     R"([[listeners]]
name = "l"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["a.example"]
cert_file = "c"
key_file = "k"
[[routes]]
name = "r"
hosts = ["a.example"]
auth = "public"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
[[backends]]
name = "c"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:17:8: warning: no route uses the backend "c"
)"},
    {"bad durations",
     R"([limits]
head_timeout = "5"
idle_timeout = "2 minutes"
progress_timeout = "0s"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
connect_timeout = "25h"
response_timeout = "9999999999999999999s"
)",
     R"(f:2:16: bad "head_timeout" "5"; write a whole number and ms, s, m or h, such as "250ms", "5s" or "2m"
f:3:16: bad "idle_timeout" "2 minutes"; write a whole number and ms, s, m or h, such as "250ms", "5s" or "2m"
f:4:20: bad "progress_timeout" "0s"; write a duration from "1ms" to "24h"
f:6:8: warning: no route uses the backend "b"
f:8:19: bad "connect_timeout" "25h"; write a duration from "1ms" to "24h"
f:9:20: bad "response_timeout" "9999999999999999999s"; write a whole number and ms, s, m or h, such as "250ms", "5s" or "2m"
)"},
    {"limits out of range",
     R"([limits]
head_bytes = 10
headers = 1
connections = 0
)",
     R"(f:2:14: "head_bytes" is 10; it must be from 1024 to 1048576
f:3:11: "headers" is 1; it must be from 8 to 1000
f:4:15: "connections" is 0; it must be from 1 to 1000000
)"},
    {"offloads that are neither auto nor on nor off",
     R"([offloads]
udp_gso = "on"
udp_gro = 1
tun_tso = "false"
tcp_coalesing = false
udp_coalescing = ["auto"]
aead = "boringssl"
)",
     R"(f:2:11: "udp_gso" is "on"; it must be "auto", true or false
f:3:11: "udp_gro" is a whole number; it must be "auto", true or false
f:4:11: "tun_tso" is "false"; it must be "auto", true or false
f:5:1: unknown key "tcp_coalesing" in [offloads]; did you mean "tcp_coalescing"?
f:6:18: "udp_coalescing" is a list; it must be "auto", true or false
f:7:8: "aead" is "boringssl"; it must be one of "auto", "ipsec-mb", "openssl"
)"},
    {"offloads in every form",
     R"([offloads]
udp_gso = "auto"
udp_gro = true
tun_uso = false
aead = "ipsec-mb"
)",
     R"(f: warning: there is neither [wireguard] nor [[listeners]]; the node will do nothing
)"},
    {"socket path",
     R"([control]
socket = "sluice.sock"
)",
     R"(f:2:10: bad "socket" "sluice.sock"; write an absolute path of at most 107 bytes
)"},
    {"names that would break a line",
     R"([node]
name = "a\nb"
[[backends]]
name = "x y"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:2:8: bad "name" "a\x0ab"; a name holds letters, digits and - _ . @ + : only
f:4:8: bad "name" "x y"; a name holds letters, digits and - _ . @ + : only
)"},
    {"log level unknown",
     R"([log]
level = "verbose"
)",
     R"(f:2:9: "level" is "verbose"; it must be one of "debug", "info", "warning", "error"
)"},
    {"later capabilities",
     R"([io]
packet = "dpdk"
[[certificates]]
hosts = ["a.example"]
source = "openbao"
[metrics]
listen = "127.0.0.1:9641"
)",
     R"(f:2:10: not yet: packet = "dpdk" (DPDK) is not built into this version; use "socket"
f:5:1: not yet: "source" (certificates from a CA) is not built into this version; remove it
f:7:1: not yet: "listen" (the metrics listener) is not built into this version; remove it
)"},
};
// clang-format on

}  // namespace

TEST_CASE("broken files: routing") {
    for (const BrokenFile& file : kFiles) {
        INFO(file.what);
        CHECK(diagnose(file.text) == file.told);
    }
}

}  // namespace sluice::config
