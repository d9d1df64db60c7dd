// Broken files, and the exact words that their writers are told. Part: conditions and actions of
// routes, client certificates, forward-auth, TLS of servers, plain HTTP and PROXY listeners.
#include <catch2/catch.hpp>

#include "control/config/diagnose.h"
#include "control/config/http_forms.h"

namespace sluice::config {

namespace {

// clang-format off
constexpr BrokenFile kFiles[] = {
    {"a tailscale-bypass that asks nobody, and services that are asked in vain",
     R"([[forward_auth]]
name = "oauth"
address = "http://127.0.0.1:4180/auth"
[[routes]]
name = "a"
hosts = ["a.example"]
auth = "tailscale-bypass"
backend = "b"
[[routes]]
name = "c"
hosts = ["c.example"]
auth = "tailscale-bypass"
forward_auth = "oaut"
backend = "b"
[[routes]]
name = "d"
hosts = ["d.example"]
auth = "public"
forward_auth = "oauth"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:7:8: route "a" is "tailscale-bypass" and needs "forward_auth", the name of one of [[forward_auth]]
f:13:16: route "c" names the service "oaut", which does not exist; add it to [[forward_auth]], or correct the name
f:19:16: "forward_auth" is asked only with auth = "tailscale-bypass"; remove it, or change "auth"
)"},
    {"client certificates without a CA, or that nobody asks for",
     R"([[routes]]
name = "a"
hosts = ["a.example"]
auth = "mtls-strict"
backend = "b"
[[routes]]
name = "c"
hosts = ["c.example"]
auth = "public"
client_ca_file = "ca.pem"
client_dns = ["x.example"]
backend = "b"
[[routes]]
name = "d"
hosts = ["d.example"]
auth = "mtls-strict"
client_ca_file = "ca.pem"
client_uris = []
client_serials = ["xyz", "00", "0A:0b"]
client_emails = ["ann"]
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:4:8: route "a" is "mtls-strict" and needs a CA; write "client_ca_file" here or in [tls]
f:10:18: client certificates are asked for only with auth = "mtls-strict"; remove this, or change "auth"
f:11:14: client certificates are asked for only with auth = "mtls-strict"; remove this, or change "auth"
f:18:15: "client_uris" is empty; name who may pass, or remove it to let every certificate of the CA pass
f:19:19: bad "client_serials" "xyz"; write the serial number in hexadecimal, as `openssl x509 -serial` prints it
f:19:26: bad "client_serials" "00"; write the serial number in hexadecimal, as `openssl x509 -serial` prints it
f:20:18: bad "client_emails" "ann"; write an e-mail address, such as "ann@example.org"
)"},
    {"a CA of its own, which the common list knows nothing of",
     R"([tls]
client_ca_file = "all.pem"
client_crl_file = "all.crl"
[[listeners]]
name = "l"
address = "0.0.0.0:80"
protocol = "http"
[[routes]]
name = "a"
hosts = ["a.example"]
auth = "mtls-strict"
client_ca_file = "own.pem"
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:11:8: warning: route "a" is "mtls-strict", but no listener speaks https; nobody can show a certificate
f:12:18: warning: route "a" has a CA of its own, for which tls.client_crl_file does not count; write "client_crl_file" here, or nothing of this CA can be revoked
)"},
    {"headers that would break framing, or forge who is calling",
     R"([[routes]]
name = "a"
hosts = ["a.example"]
auth = "public"
headers = { "Content-Length" = "1", x-a = false, "x b" = "1", x-ok = "1", X-OK = "2" }
request_headers = { remove = ["Host", "x-fine"], set = { Transfer_Encoding = "chunked", X-Sluice-Peer = "root", X_Forwarded_For = "1", tailscale-user-login = "me", x-nl = "a\nb", x-n = 1 } }
response_headers = { remove = ["server"], set = { connection = "close", x-forwarded-for = "1" } }
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
[[forward_auth]]
name = "oauth"
address = "http://127.0.0.1:4180"
response_headers = ["X-Forwarded-User", "Authorization", "X-Forwarded-For", "X-Sluice-Peer", "Content-Length"]
)",
     R"(f:5:13: bad header "Content-Length"; this header belongs to the connection; Sluice writes it by itself
f:5:43: a header's condition is its value, or true for any value
f:5:50: bad header "x b"; a header's name holds letters, digits and "-", such as "x-team"
f:5:75: the header "X-OK" stands here twice; the case of its letters does not matter
f:6:31: bad "remove" "Host"; this header belongs to the connection; Sluice writes it by itself
f:6:58: bad header "Transfer_Encoding"; this header belongs to the connection; Sluice writes it by itself
f:6:89: bad header "X-Sluice-Peer"; this header tells servers who is calling; Sluice writes it by itself and removes it from what clients send
f:6:113: bad header "X_Forwarded_For"; this header tells servers who is calling; Sluice writes it by itself and removes it from what clients send
f:6:136: bad header "tailscale-user-login"; this header tells servers who is calling; Sluice writes it by itself and removes it from what clients send
f:6:172: bad value "a\x0ab" of the header "x-nl"; a header's value holds only visible ASCII characters and spaces
f:6:186: a header is set to a string
f:7:51: bad header "connection"; this header belongs to the connection; Sluice writes it by itself
f:15:58: bad "response_headers" "X-Forwarded-For"; this header tells servers who is calling; Sluice writes it by itself and removes it from what clients send
f:15:77: bad "response_headers" "X-Sluice-Peer"; this header tells servers who is calling; Sluice writes it by itself and removes it from what clients send
f:15:94: bad "response_headers" "Content-Length"; this header belongs to the connection; Sluice writes it by itself
)"},
    {"redirects that lead nowhere, and what means nothing beside them",
     R"([[routes]]
name = "a"
hosts = ["a.example"]
auth = "public"
redirect = { status = 308 }
backend = "b"
retries = 1
[[routes]]
name = "c"
hosts = ["c.example"]
auth = "public"
redirect = { scheme = "ftp", host = "*.x.example", port = 0, path = "new", status = 304 }
[[routes]]
name = "d"
hosts = ["d.example"]
auth = "public"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:5:12: "redirect" leads to where the request was; write at least one of scheme, host, port and path
f:6:11: "backend" means nothing beside "redirect", which answers by itself; remove one of them
f:7:11: "retries" means nothing beside "redirect", which answers by itself; remove one of them
f:12:23: "scheme" is "ftp"; it must be one of "https", "http"
f:12:37: bad "host" "*.x.example"; write one host, without "*"
f:12:59: "port" is 0; it must be from 1 to 65535
f:12:69: bad "path" "new"; a path begins with "/"
f:12:85: "status" is 304; it must be 301, 302, 303, 307 or 308
f:13:1: [[routes]] has no "backend"; write the name of one of the [[backends]], or a "redirect"
)"},
    {"routes under the same conditions, in another order",
     R"([[routes]]
name = "a"
hosts = ["a.example"]
auth = "public"
methods = ["GET", "HEAD"]
headers = { x-a = "1", x-b = true }
backend = "b"
[[routes]]
name = "c"
hosts = ["a.example"]
auth = "public"
methods = ["HEAD", "GET"]
headers = { x-b = true, x-a = "1" }
backend = "b"
[[routes]]
name = "d"
hosts = ["a.example"]
auth = "public"
headers = { x-b = true, x-a = "1" }
backend = "b"
[[routes]]
name = "e"
hosts = ["a.example"]
auth = "public"
priority = 10
headers = { x-b = true, x-a = "1" }
backend = "b"
[[backends]]
name = "b"
servers = [ { url = "builtin:welcome" } ]
)",
     R"(f:10:10: route "c" for "a.example" and path "/" is never reached; route "a" on line 1 takes both, under the same conditions
f:15:1: warning: route "d" for "a.example" and path "/" is never reached; route "e" on line 21 takes both, under the same conditions
)"},
    {"numbers and times out of bounds",
     R"([[routes]]
name = "a"
hosts = ["a.example"]
path = "/x"
path_prefix = "/y"
strip_prefix = "/z"
auth = "public"
priority = 2000000
rate_limit = { per = "0s", burst = 0, each = "user" }
body_bytes = -1
retries = 11
methods = ["GET POST"]
clients = ["10.0.0.0/33"]
backend = "b"
[[backends]]
name = "b"
health = { interval = "1s", timeout = "2s", path = "x", healthy_after = 0 }
ejection = { failures = -1 }
sticky = { secure = false, same_site = "none", name = "a b", max_age = "9601h" }
servers = [ { url = "builtin:welcome" } ]
[limits]
streams = 0
)",
     R"(f:4:8: "path" and "path_prefix" exclude each other; remove one
f:6:16: warning: no request of route "a" begins with "/z"; nothing is stripped
f:8:12: "priority" is 2000000; it must be from -1000000 to 1000000
f:9:14: "rate_limit" has no "requests"; write how many may come, such as 100
f:9:22: bad "per" "0s"; write a duration from "1ms" to "24h"
f:9:36: "burst" is 0; it must be from 1 to 1000000
f:9:46: "each" is "user"; it must be one of "client", "route"
f:10:14: "body_bytes" is -1; it must be from 0 to 9007199254740992
f:11:11: "retries" is 11; it must be from 0 to 10
f:12:12: bad "methods" "GET POST"; write a method, such as "GET" or "POST"
f:13:12: bad "clients" "10.0.0.0/33"; write an address and a prefix length within its bits, such as "10.98.0.2/32" or "fd98::2/128"
f:17:39: "timeout" is longer than "interval"; a question must have ended before the next one
f:17:52: bad "path" "x"; a path begins with "/"
f:17:73: "healthy_after" is 0; it must be from 1 to 100
f:18:25: "failures" is -1; it must be from 0 to 10000
f:19:40: "same_site" is "none", which browsers take from secure cookies only; remove secure = false
f:19:55: bad "name" "a b"; write a word of letters, digits and "-" or "_"
f:19:72: bad "max_age" "9601h"; write a duration from "1ms" to "9600h"
f:22:11: "streams" is 0; it must be from 1 to 1000
)"},
    {"TLS of servers",
     R"([[backends]]
name = "forward-auth:x"
servers = [
  { url = "http://127.0.0.1", ca_file = "ca.pem" },
  { url = "https://127.0.0.1", verify = false },
  { url = "https://127.0.0.1", verify = false, ca_file = "ca.pem" },
  { url = "https://127.0.0.1", cert_file = "c.pem", server_name = "*.example" } ]
[[forward_auth]]
name = "y"
address = "unix:run/x.sock"
[[forward_auth]]
name = "z"
address = "http://127.0.0.1:4180/auth"
ca_file = "ca.pem"
forward_body = 1048576
)",
     R"(f:2:8: warning: no route uses the backend "forward-auth:x"
f:2:8: names that begin with "forward-auth:" belong to [[forward_auth]]; take another
f:4:41: "ca_file" is about TLS, which this server does not speak; write "https://", or remove it
f:5:41: warning: "verify" is false: whoever answers in this server's place is believed; write "ca_file" instead
f:6:41: "verify" is false, so that "ca_file" means nothing; remove one
f:7:44: "cert_file" needs "key_file" beside it
f:7:67: bad "server_name" "*.example"; write one name, without "*"
f:10:11: bad "address" "unix:run/x.sock"; write the socket's absolute path, such as "unix:/run/app.sock"
f:14:11: "ca_file" is about TLS, which this server does not speak; write "https://", or remove it
f:15:16: "forward_body" is 1048576; it must be from 0 to 65536
)"},
    {"listeners: plain HTTP needs no certificate, and what does not go together",
     R"([wireguard]
addresses = ["10.98.0.1/24"]
[[listeners]]
name = "plain"
address = "0.0.0.0:80"
protocol = "http"
redirect_to_https = true
[[listeners]]
name = "tunnel"
address = "0.0.0.0:3443"
scope = "tunnel"
redirect_to_https = 3443
proxy_protocol_from = ["10.0.0.0/8"]
[[listeners]]
name = "third"
address = "0.0.0.0:81"
protocol = "h2c"
redirect_to_https = 70000
)",
     R"(f:8:1: a listener speaks TLS and needs a certificate; add [[certificates]]
f:12:21: "redirect_to_https" needs protocol = "http"; with https there is nothing to redirect to
f:13:24: "scope" is "tunnel", and a connection with a PROXY header never counts as one from the tunnel; remove one of them
f:17:12: "protocol" is "h2c"; it must be one of "https", "http"
f:18:21: "redirect_to_https" is 70000; it must be from 1 to 65535
)"},
    {"the access log goes to a place",
     R"([log]
access = "access.log"
)",
     R"(f:2:10: bad "access" "access.log"; write "off", "stdout" or the absolute path of a file
)"},
    {"plain HTTP alone needs no certificate",
     R"([[listeners]]
name = "plain"
address = "0.0.0.0:80"
protocol = "http"
[[routes]]
name = "a"
hosts = ["a.example", "*"]
auth = "public"
redirect = { scheme = "https" }
)",
     ""},
};
// clang-format on

}  // namespace

TEST_CASE("broken files: ingress") {
    for (const BrokenFile& file : kFiles) {
        INFO(file.what);
        CHECK(diagnose(file.text) == file.told);
    }
}

TEST_CASE("servers by name, over TLS and behind sockets") {
    const auto name = parse_server_url("https://App.Internal");
    REQUIRE(name);
    CHECK(name->kind == contract::ServerKind::kHttps);
    CHECK(name->dns_name == "app.internal");
    CHECK(name->host == "app.internal");
    CHECK(name->address.port == 443);
    CHECK_FALSE(name->address.is_set());
    const auto port = parse_server_url("http://localhost:8080/");
    REQUIRE(port);
    CHECK(port->dns_name == "localhost");
    CHECK(port->host == "localhost:8080");
    CHECK(port->address.port == 8080);
    const auto socket = parse_server_url("unix:/run/app.sock");
    REQUIRE(socket);
    CHECK(socket->kind == contract::ServerKind::kUnix);
    CHECK(socket->unix_path == "/run/app.sock");
    CHECK(socket->host == "localhost");
    for (const std::string_view bad :
         {"https://", "http://:80", "http://a:", "http://a:x", "http://*.a", "http://a b",
          "http://1.2.3", "unix:", "unix:app.sock", "ftp://a", "http://[::1", "http://a:80:80"}) {
        INFO(bad);
        CHECK_FALSE(parse_server_url(bad));
    }
}

TEST_CASE("services: a server, a path and a query") {
    const auto plain = parse_service_url("http://127.0.0.1:4180/oauth2/auth?allowed=a");
    REQUIRE(plain);
    CHECK(plain->server.address.text() == "127.0.0.1:4180");
    CHECK(plain->server.host == "127.0.0.1:4180");
    CHECK(plain->path == "/oauth2/auth?allowed=a");
    CHECK(parse_service_url("https://auth.example")->path == "/");
    CHECK(parse_service_url("https://auth.example?x=1")->path == "/?x=1");
    const auto socket = parse_service_url("unix:/run/auth.sock:/verify");
    REQUIRE(socket);
    CHECK(socket->server.unix_path == "/run/auth.sock");
    CHECK(socket->path == "/verify");
    CHECK(parse_service_url("unix:/run/auth.sock")->path == "/");
    for (const std::string_view bad : {"builtin:welcome", "127.0.0.1:4180", "http://a/b#c",
                                       "http://a/b/../c", "http://a/b c", "http://u@a/b"}) {
        INFO(bad);
        CHECK_FALSE(parse_service_url(bad));
    }
}

TEST_CASE("serial numbers have one text each") {
    CHECK(*parse_serial("0A:0b") == "a0b");
    CHECK(*parse_serial("00DEADBEEF") == "deadbeef");
    CHECK_FALSE(parse_serial(""));
    CHECK_FALSE(parse_serial("0x12"));
    CHECK_FALSE(parse_serial(std::string(41, 'f')));
}

}  // namespace sluice::config
