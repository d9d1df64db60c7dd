#include "dataplane/http/header_rules.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dataplane/http/header_names.h"

namespace sluice::http {
namespace {

// What of these header lines reaches a server, without the lines that we add to every request.
std::string forwarded(const std::string& fields, ForwardedRequest request = {}) {
    std::vector<wire::Http1Field> storage(100);
    const std::string head = "GET / HTTP/1.1\r\n" + fields + "\r\n";
    const auto parsed = wire::parse_request_head(as_bytes(head), storage);
    REQUIRE(parsed);
    request.path = "/";
    request.authority.text = "host.test";
    request.client_address = "198.51.100.7";
    std::vector<uint8_t> into(4096);
    wire::Http1HeadWriter writer(into);
    write_request(*parsed, request, writer);
    REQUIRE(writer.ok());
    const std::string text(as_text({into.data(), writer.size()}));
    const std::string begin = "GET / HTTP/1.1\r\nHost: host.test\r\n";
    const std::string end =
        "X-Forwarded-For: 198.51.100.7\r\nX-Real-Ip: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"
        "X-Forwarded-Host: host.test\r\nX-Forwarded-Port: 443\r\n\r\n";
    REQUIRE(text.starts_with(begin));
    REQUIRE(text.ends_with(end));
    return text.substr(begin.size(), text.size() - begin.size() - end.size());
}

TEST_CASE("ordinary headers reach the server in their order and spelling") {
    const std::string fields =
        "accept: */*\r\nCookie: a=b\r\nCOOKIE: c=d\r\nAuthorization: Basic x\r\nX-Odd_Name: y\r\n"
        "Date: then\r\nEmpty: \r\n";
    CHECK(forwarded(fields) == fields);
}

TEST_CASE("headers about the connection end here") {
    for (const char* field :
         {"Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
          "TE: trailers", "Trailer: Expires", "Transfer-Encoding: chunked", "Upgrade: h2c",
          "HTTP2-Settings: AAMAAABk", "Proxy-Authorization: Basic x", "Content-Length: 5",
          "Host: other.test", "Expect: 100-continue", "uPgRaDe: websocket"}) {
        INFO(field);
        CHECK(forwarded(std::string(field) + "\r\n").empty());
    }
    // RFC 9110 7.6.1: and those that Connection names.
    CHECK(forwarded("A: 1\r\nConnection: b, C ,keep-alive\r\nB: 2\r\nc: 3\r\nD: 4\r\n") ==
          "A: 1\r\nD: 4\r\n");
    CHECK(forwarded("Connection: close\r\nClose: 1\r\n") == "Close: 1\r\n");
}

TEST_CASE("nobody outside says who is calling") {
    for (const char* name : {"X-Forwarded-For",
                             "X-Forwarded-Proto",
                             "X-Forwarded-Host",
                             "X-Forwarded-Port",
                             "X-Forwarded-Server",
                             "X-Forwarded-Uri",
                             "X-Forwarded-Method",
                             "X-Forwarded-Prefix",
                             "X-Forwarded-Scheme",
                             "X-Forwarded-Tls-Client-Cert",
                             "X-Forwarded-Tls-Client-Cert-Info",
                             "X-Scheme",
                             "X-Real-Ip",
                             "Forwarded",
                             "X-Sluice-Peer",
                             "Tailscale-User-Login",
                             "Tailscale-User-Name",
                             "Ssl-Client-Verify",
                             "X-SSL-Client-Cert",
                             "X-Original-URL",
                             "X-Rewrite-URL",
                             "Proxy"}) {
        INFO(name);
        std::string spelling = name;
        CHECK(forwarded(spelling + ": forged\r\n").empty());
        for (char& c : spelling)
            c = static_cast<char>(std::toupper(c));
        CHECK(forwarded(spelling + ": forged\r\n").empty());
        // Each hyphen alone, and all of them, as an underscore.
        for (size_t i = spelling.find('-'); i != std::string::npos; i = spelling.find('-', i + 1)) {
            std::string one = spelling;
            one[i] = '_';
            CHECK(forwarded(one + ": forged\r\n").empty());
        }
        std::ranges::replace(spelling, '-', '_');
        CHECK(forwarded(spelling + ": forged\r\n").empty());
    }
    CHECK(forwarded("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n").empty());
    CHECK(forwarded("X-Forwarded: 1\r\nX-Forward-For: 2\r\nTailscale: 3\r\n") ==
          "X-Forwarded: 1\r\nX-Forward-For: 2\r\nTailscale: 3\r\n");
}

TEST_CASE("what we say of a request") {
    std::vector<wire::Http1Field> storage(4);
    const auto parsed = wire::parse_request_head(as_bytes("PUT /x HTTP/1.1\r\n\r\n"), storage);
    REQUIRE(parsed);
    std::vector<uint8_t> into(4096);
    wire::Http1HeadWriter writer(into);
    write_request(*parsed,
                  {.path = "/y",
                   .query = "?z",
                   .authority = {"host.test", 8443, "host.test:8443"},
                   .body = {BodyKind::kChunked, 0},
                   .expects_continue = true,
                   .client_address = "2001:db8::7",
                   .encrypted = false,
                   .peer = "pixel"},
                  writer);
    CHECK(as_text({into.data(), writer.size()}) ==
          "PUT /y?z HTTP/1.1\r\nHost: host.test:8443\r\nTransfer-Encoding: chunked\r\n"
          "Expect: 100-continue\r\nX-Forwarded-For: 2001:db8::7\r\nX-Real-Ip: 2001:db8::7\r\n"
          "X-Forwarded-Proto: http\r\n"
          "X-Forwarded-Host: host.test:8443\r\nX-Forwarded-Port: 8443\r\nX-Sluice-Peer: "
          "pixel\r\n\r\n");
}

TEST_CASE("a response's headers on their way to the client") {
    std::vector<wire::Http1Field> storage(20);
    const auto parsed = wire::parse_response_head(
        as_bytes("HTTP/1.1 200 OK\r\nServer: s\r\nConnection: x-a, close\r\nX-A: 1\r\n"
                 "Keep-Alive: timeout=5\r\nSet-Cookie: a\r\nset-cookie: b\r\nUpgrade: h2c\r\n"
                 "Trailer: T\r\nTransfer-Encoding: chunked\r\nProxy-Authenticate: Basic\r\n\r\n"),
        storage);
    REQUIRE(parsed);
    std::vector<uint8_t> into(4096);
    wire::Http1HeadWriter writer(into);
    write_response(*parsed,
                   {.framing = {.body = {BodyKind::kChunked, 0}},
                    .chunked = true,
                    .close = true,
                    .date = "today"},
                   writer);
    CHECK(as_text({into.data(), writer.size()}) ==
          "HTTP/1.1 200 OK\r\nServer: s\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
          "Transfer-Encoding: chunked\r\nTrailer: T\r\nDate: today\r\nConnection: close\r\n\r\n");
}

TEST_CASE("names are recognised whole") {
    CHECK(recognise("Content-Length").name == HeaderName::kContentLength);
    CHECK(recognise("Content-Lengt").name == HeaderName::kOther);
    CHECK(recognise("Content-Length2").name == HeaderName::kOther);
    CHECK(recognise("Content.Length").name == HeaderName::kOther);
    CHECK(recognise("hOSt").name == HeaderName::kHost);
    CHECK_FALSE(recognise("Host").disguised);
    CHECK(recognise("keep_alive").disguised);
    CHECK_FALSE(recognise("my_own").disguised);
    CHECK(recognise("x-sluice-").name == HeaderName::kIdentity);
}

}  // namespace
}  // namespace sluice::http
