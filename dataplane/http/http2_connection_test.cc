// HTTP/2 between a client and the proxy, which asks servers in HTTP/1.1.
#include "dataplane/http/http2_connection.h"
#include "dataplane/http/client_connection.h"

#include <catch2/catch.hpp>

#include <functional>

#include "dataplane/http/testing/http2_client.h"
#include "dataplane/http/testing/naive_http.h"

namespace sluice::http {
namespace {

using testing::http2_frame;
using testing::Http2Client;
using testing::Http2Fields;
using testing::NaiveReader;
using testing::World;

const std::string kOk = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";

// Without TLS, so that the client's first bytes decide.
TEST_CASE("a request goes up as HTTP/1.1 and its answer comes down as frames", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    Http2Fields fields = Http2Client::get("/a?b=c");
    fields.emplace_back("x-one", "1");
    fields.emplace_back("cookie", "a=1");
    fields.emplace_back("cookie", "b=2");
    const int32_t id = client.request(fields);
    REQUIRE(world.servers.size() == 1);
    NaiveReader reader(world.servers[0]->take());
    const auto request = reader.next_request();
    REQUIRE(request);
    CHECK(request->complete);
    CHECK(request->first_line == "GET /a?b=c HTTP/1.1");
    CHECK(request->value("host") == "site.test");
    CHECK(request->value("x-one") == "1");
    CHECK(request->value("cookie") == "a=1; b=2");
    CHECK(request->value("x-forwarded-for") == "198.51.100.7");
    CHECK(request->count("transfer-encoding") == 0);
    world.send(world.servers[0], kOk);
    client.pump();
    const auto& answer = client.answers[id];
    CHECK(answer.status() == "200");
    CHECK(answer.value("content-length") == "2");
    CHECK(answer.value("date") == "d");
    CHECK(answer.value("connection").empty());
    CHECK(answer.body == "ok");
    CHECK(answer.ended);
    CHECK_FALSE(answer.reset);
    CHECK(client.frames_of_data == 1);

    // And again over the same connections.
    const int32_t second = client.request(Http2Client::get());
    CHECK(world.servers.size() == 1);
    world.send(world.servers[0], kOk);
    client.pump();
    CHECK(client.answers[second].body == "ok");
    CHECK(world.proxy.connections_open() == 1);
}

TEST_CASE("bodies up", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    Http2Fields fields = Http2Client::get("/", "POST");
    const std::string part(1000, 'x');
    SECTION("of a length that is known") {
        fields.emplace_back("content-length", "2000");
        const int32_t id = client.request(fields, false);
        client.body(id, part);
        client.body(id, part, true);
        NaiveReader reader(world.servers.at(0)->take());
        const auto request = reader.next_request();
        REQUIRE(request);
        CHECK(request->complete);
        CHECK(request->value("content-length") == "2000");
        CHECK(request->body == part + part);
    }
    SECTION("of a length that is not known") {
        const int32_t id = client.request(fields, false);
        client.body(id, part);
        client.body(id, part, true);
        NaiveReader reader(world.servers.at(0)->take());
        const auto request = reader.next_request();
        REQUIRE(request);
        CHECK(request->complete);
        CHECK(request->value("transfer-encoding") == "chunked");
        CHECK(request->body == part + part);
    }
    SECTION("that is empty") {
        client.request(fields, true);
        NaiveReader reader(world.servers.at(0)->take());
        const auto request = reader.next_request();
        REQUIRE(request);
        CHECK(request->value("content-length") == "0");
    }
    SECTION("that is not as long as was said") {
        fields.emplace_back("content-length", "2000");
        const int32_t id = client.request(fields, false);
        client.body(id, part);
        client.raw(http2_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, ""));
        CHECK(client.answers[id].reset == NGHTTP2_PROTOCOL_ERROR);
        CHECK(world.servers.at(0)->gone);
    }
    SECTION("longer than the windows, to a server that does not read") {
        world.reachable[8001] = testing::Reachable::kSilent;
        const int32_t id = client.request(fields, false);
        std::string large(Http2Session::kConnectionWindow, 'y');
        client.body(id, large);
        // No more than the stream's window came.
        CHECK(nghttp2_session_get_stream_remote_window_size(client.session(), id) == 0);
        CHECK(nghttp2_session_get_remote_window_size(client.session()) > 0);
    }
    SECTION("large, to a server that reads: the windows grow") {
        const int32_t id = client.request(fields, false);
        std::string large;
        for (size_t i = 0; large.size() < 8 * 1024 * 1024; ++i)
            large += std::to_string(i) + " ";
        client.body(id, large, true);
        NaiveReader reader(world.servers.at(0)->take());
        const auto request = reader.next_request();
        REQUIRE(request);
        CHECK(request->complete);
        CHECK((request->body == large));
        world.send(world.servers[0], kOk);
        client.pump();
        CHECK(client.answers[id].body == "ok");
    }
}

TEST_CASE("bodies down respect the client's windows", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    const int32_t id = client.request(Http2Client::get());
    std::string body;
    for (size_t i = 0; body.size() < 3 * 1024 * 1024; ++i)
        body += std::to_string(i) + " ";
    std::string rest = body;
    const bool chunked = GENERATE(false, true);
    if (chunked) {
        world.send(world.servers.at(0),
                   "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
        while (!rest.empty()) {
            const size_t size = std::min<size_t>(rest.size(), 10000);
            char digits[16];
            std::snprintf(digits, sizeof digits, "%zx\r\n", size);
            world.send(world.servers[0], digits + rest.substr(0, size) + "\r\n");
            rest.erase(0, size);
        }
        world.send(world.servers[0], "0\r\n\r\n");
    } else {
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: " +
                                            std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    client.pump();
    CHECK(client.answers[id].body.size() == 65535);  // the client's window, to the byte
    for (int i = 0; i < 1000 && !client.answers[id].ended; ++i)
        client.consume();
    CHECK((client.answers[id].body == body));
    CHECK(client.answers[id].ended);
}

TEST_CASE("many requests at once, answered in another order", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i)
        ids.push_back(client.request(Http2Client::get("/" + std::to_string(i))));
    REQUIRE(world.servers.size() == 50);
    for (size_t i = 50; i-- > 0;) {
        const std::string path = "/" + std::to_string(i);
        world.send(world.servers[i], "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: " +
                                         std::to_string(path.size()) + "\r\n\r\n" + path);
    }
    client.pump();
    for (size_t i = 0; i < 50; ++i)
        CHECK(client.answers[ids[i]].body == "/" + std::to_string(i));
    CHECK(world.proxy.connections_open() == 1);
}

TEST_CASE("a head may come over any pieces of the connection", "[http2]") {
    World world;
    world.apply(World::snapshot());
    SeededRandom whims(7);
    world.client_manner = {.read_max = 7, .write_max = 11, .holds_back = true, .whims = &whims};
    world.server_manner = {.read_max = 5, .write_max = 3, .holds_back = true, .whims = &whims};
    Http2Client client(world);
    const int32_t id = client.request(Http2Client::get("/", "POST"), false);
    client.body(id, std::string(5000, 'u'), true);
    REQUIRE(world.servers.size() == 1);
    NaiveReader reader(world.servers[0]->received);
    const auto request = reader.next_request();
    REQUIRE(request);
    CHECK(request->body == std::string(5000, 'u'));
    world.send(world.servers[0],
               "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    client.pump();
    CHECK(client.answers[id].body == "hello world");
    CHECK(client.answers[id].ended);
}

TEST_CASE("TLS decides by ALPN; without TLS the client's first bytes do", "[http2]") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    for (const char byte : std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"))
        world.send(client, std::string_view(&byte, 1));
    CHECK(client->received.empty());
    world.send(client, "\n" + http2_frame(NGHTTP2_SETTINGS, 0, 0, ""));
    CHECK(client->received.size() > 9);
    CHECK(client->received[3] == NGHTTP2_SETTINGS);

    const auto other = world.client();
    world.send(other, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    CHECK(other->received.starts_with("HTTP/1.1 505 "));
    const auto third = world.client();
    world.send(third, "PUT / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    CHECK(world.servers.size() == 1);
}

TEST_CASE("where the request goes", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    const auto status = [&](const Http2Fields& fields) {
        const int32_t id = client.request(fields);
        return client.answers[id].reset ? "reset " + std::to_string(*client.answers[id].reset)
                                        : client.answers[id].status();
    };
    const auto with = [](Http2Fields fields, const std::string& name, const std::string& value) {
        fields.emplace_back(name, value);
        return fields;
    };
    SECTION("a Host header that says the same is no second one") {
        CHECK(status(with(Http2Client::get(), "host", "SITE.test")).empty());  // it waits
        CHECK(world.servers.size() == 1);
        CHECK(world.servers[0]->received.find("Host: site.test\r\n") != std::string::npos);
    }
    SECTION("a Host header alone will do") {
        Http2Fields fields = {
            {":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "site.test"}};
        CHECK(status(fields).empty());
        CHECK(world.servers.size() == 1);
    }
    SECTION("another host") {
        CHECK(status(with(Http2Client::get(), "host", "other.test")) == "400");
        CHECK(world.servers.empty());
    }
    SECTION("two hosts") {
        CHECK(status(with(with(Http2Client::get(), "host", "site.test"), "host", "site.test")) ==
              "reset 1");
    }
    SECTION("user information") {
        Http2Fields fields = Http2Client::get();
        fields[2].second = "me@site.test";
        CHECK(status(fields) == "400");
    }
    SECTION("another scheme") {
        Http2Fields fields = Http2Client::get();
        fields[1].second = "ftp";
        CHECK(status(fields) == "400");
    }
    SECTION("no route") {
        Http2Fields fields = Http2Client::get();
        fields[2].second = "other.test";
        CHECK(status(fields) == "404");
    }
    SECTION("OPTIONS *") {
        CHECK(status(Http2Client::get("*", "OPTIONS")).empty());
        CHECK(world.servers.at(0)->received.starts_with("OPTIONS * HTTP/1.1\r\n"));
    }
    SECTION("CONNECT makes no tunnel") {
        CHECK(status({{":method", "CONNECT"}, {":authority", "site.test:443"}}) == "501");
    }
    SECTION("TRACE") {
        CHECK(status(Http2Client::get("/", "TRACE")) == "501");
    }
    CHECK(client.goaways.empty());
}

TEST_CASE("malformed requests are reset and reach nobody", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    // Literal fields without indexing and without Huffman codes (RFC 7541 section 6.2.2).
    const auto literal = [](const std::string& name, const std::string& value) {
        return std::string(1, '\0') + static_cast<char>(name.size()) + name +
               static_cast<char>(value.size()) + value;
    };
    const std::string usual = literal(":method", "GET") + literal(":scheme", "https") +
                              literal(":authority", "site.test") + literal(":path", "/");
    const std::string block = GENERATE_COPY(
        usual + literal("Upper", "x"), usual + literal("connection", "close"),
        usual + literal("transfer-encoding", "chunked"), usual + literal("te", "gzip"),
        usual + literal("keep-alive", "1"), usual + literal("proxy-connection", "x"),
        usual + literal("upgrade", "websocket"), usual + literal("a b", "x"),
        usual + literal("x", "a\r\nb: c"), usual + literal("x", std::string("a\0b", 3)),
        usual + literal("x", "a\nb"), usual + literal("x", " a"), usual + literal("", "x"),
        usual + literal(":path", "/2"), usual + literal(":unknown", "x"),
        usual + literal("content-length", "1"), usual + literal("content-length", "+0"),
        literal("x", "y") + usual, literal(":method", "GET") + literal(":scheme", "https"),
        literal(":method", "GET") + literal(":scheme", "https") + literal(":path", "/"),
        literal(":method", "G T") + literal(":scheme", "https") + literal(":path", "/") +
            literal(":authority", "site.test"),
        literal(":method", "GET") + literal(":scheme", "https") + literal(":path", "") +
            literal(":authority", "site.test"),
        literal(":method", "GET") + literal(":scheme", "https") + literal(":path", "x/") +
            literal(":authority", "site.test"),
        literal(":method", "GET") + literal(":scheme", "https") +
            literal(":path", "/ HTTP/1.1\r\nx: y") + literal(":authority", "site.test"),
        literal(":method", "GET") + literal(":scheme", "https") + literal(":path", "/") +
            literal(":authority", "site.test\r\nx: y"));
    client.raw(
        http2_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, 1, block));
    CHECK(world.servers.empty());
    const std::string received = client.far().received;
    CAPTURE(block);
    // RST_STREAM PROTOCOL_ERROR for stream 1, and the connection goes on.
    CHECK(received.find(http2_frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\1", 4))) !=
          std::string::npos);
    CHECK(client.goaways.empty());
    CHECK(world.proxy.connections_open() == 1);
}

TEST_CASE("what servers answer", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    SECTION("informational responses come before the answer") {
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        client.pump();
        CHECK(client.answers[id].status() == "103");
        world.send(world.servers[0], kOk);
        client.pump();
        REQUIRE(client.answers[id].interim.size() == 1);
        CHECK(client.answers[id].interim[0][1].second == "</a>");
        CHECK(client.answers[id].status() == "200");
        CHECK(client.answers[id].body == "ok");
    }
    SECTION("100-continue") {
        Http2Fields fields = Http2Client::get("/", "POST");
        fields.emplace_back("expect", "100-continue");
        const int32_t id = client.request(fields, false);
        world.send(world.servers.at(0), "HTTP/1.1 100 Continue\r\n\r\n");
        client.pump();
        CHECK(client.answers[id].status() == "100");
        client.body(id, "abc", true);
        CHECK(world.servers[0]->received.ends_with("3\r\nabc\r\n0\r\n\r\n"));
    }
    SECTION("no body to HEAD, in 204 and in 304") {
        const int32_t head = client.request(Http2Client::get("/", "HEAD"));
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        client.pump();
        CHECK(client.answers[head].ended);
        CHECK(client.answers[head].value("content-length") == "7");
        const int32_t none = client.request(Http2Client::get());
        world.send(world.servers.at(0), "HTTP/1.1 204 No Content\r\nDate: d\r\n\r\n");
        client.pump();
        CHECK(client.answers[none].ended);
        const int32_t same = client.request(Http2Client::get());
        world.send(world.servers.at(0), "HTTP/1.1 304 Not Modified\r\nDate: d\r\n\r\n");
        client.pump();
        CHECK(client.answers[same].ended);
        CHECK(client.frames_of_data == 0);
    }
    SECTION("an answer before the request's end: the rest is not wanted") {
        const int32_t id = client.request(Http2Client::get("/", "POST"), false);
        client.body(id, "some");
        world.send(world.servers.at(0), kOk);
        client.pump();
        CHECK(client.answers[id].body == "ok");
        CHECK(client.answers[id].ended);
        // Not at once: a client that is still sending would not see the answer.
        CHECK_FALSE(client.answers[id].reset);
        client.body(id, "more");
        client.pump();
        CHECK_FALSE(client.answers[id].reset);
        world.pass(ClientConnection::kLinger);
        client.pump();
        CHECK(client.answers[id].reset == NGHTTP2_NO_ERROR);
        CHECK(client.request(Http2Client::get()) > id);
    }
    SECTION("answers before the requests' ends: only so many streams wait") {
        std::vector<int32_t> ids;
        for (size_t i = 0; i <= Http2Connection::kAnsweredMax; ++i) {
            ids.push_back(client.request(Http2Client::get("/", "POST"), false));
            world.send(world.servers.back(), kOk);
            client.pump();
        }
        CHECK(client.answers[ids[0]].reset == NGHTTP2_NO_ERROR);
        CHECK_FALSE(client.answers[ids[1]].reset);
        client.body(ids[2], "end", true);
        world.pass(ClientConnection::kLinger);
        client.pump();
        CHECK(client.answers[ids[1]].reset == NGHTTP2_NO_ERROR);
        CHECK_FALSE(client.answers[ids[2]].reset);
        CHECK(client.answers[ids[3]].reset == NGHTTP2_NO_ERROR);
        CHECK(world.servers[0]->gone);
    }
    SECTION("a body that breaks off") {
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
        world.servers[0]->end();
        world.run();
        client.pump();
        CHECK(client.answers[id].body == "ab");
        CHECK_FALSE(client.answers[id].ended);
        CHECK(client.answers[id].reset == NGHTTP2_INTERNAL_ERROR);
        // The others go on.
        const int32_t next = client.request(Http2Client::get());
        world.send(world.servers.at(1), kOk);
        client.pump();
        CHECK(client.answers[next].ended);
    }
    SECTION("no answer") {
        const int32_t id = client.request(Http2Client::get("/", "POST"));
        world.servers.at(0)->end();
        world.run();
        client.pump();
        CHECK(client.answers[id].status() == "502");
    }
    SECTION("a body until close") {
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0), "HTTP/1.1 200 OK\r\n\r\nall of it");
        world.servers[0]->end();
        world.run();
        client.pump();
        CHECK(client.answers[id].body == "all of it");
        CHECK(client.answers[id].ended);
    }
}

TEST_CASE("a client resets a stream", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    SECTION("while the server works") {
        const int32_t id = client.request(Http2Client::get());
        client.reset(id);
        CHECK(world.servers.at(0)->gone);
    }
    SECTION("while the server does not take the body") {
        world.reachable[8001] = testing::Reachable::kSilent;
        const int32_t id = client.request(Http2Client::get("/", "POST"), false);
        client.body(id, std::string(60000, 'x'));
        client.reset(id);
        CHECK(world.servers.at(0)->gone);
    }
    SECTION("while it does not take the answer") {
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0),
                   "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + std::string(300000, 'x'));
        client.reset(id);
        CHECK(world.servers[0]->gone);
    }
    CHECK(world.proxy.connections_open() == 1);
    const int32_t next = client.request(Http2Client::get());
    if (world.reachable.empty()) {
        world.send(world.servers.at(1), kOk);
        client.pump();
        CHECK(client.answers[next].ended);
    }
}

TEST_CASE("a client goes away", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    for (int i = 0; i < 10; ++i)
        client.request(Http2Client::get("/", "POST"), false);
    if (GENERATE(false, true)) {
        client.far().reset();
    } else {
        client.far().end();
    }
    world.run();
    CHECK(client.far().gone);
    CHECK(world.proxy.connections_open() == 0);
    for (const auto& server : world.servers)
        CHECK(server->gone);
}

TEST_CASE("drain: what runs ends, what is on its way is served, then the connection ends",
          "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    const int32_t id = client.request(Http2Client::get());
    world.proxy.drain(world.now);
    world.run();
    const std::string settings = client.far().take();
    // What is still on its way when the warning comes.
    client.raw("");
    CHECK(nghttp2_session_mem_recv(client.session(), as_bytes(settings).data(), settings.size()) >
          0);
    REQUIRE(client.goaways.size() == 1);
    CHECK(client.goaways[0] == std::pair<int32_t, uint32_t>(INT32_MAX, NGHTTP2_NO_ERROR));
    client.pump();
    REQUIRE(client.goaways.size() == 2);  // the answer to a PING came
    CHECK(client.goaways[1] == std::pair<int32_t, uint32_t>(id, NGHTTP2_NO_ERROR));
    CHECK_FALSE(client.far().end_received);
    world.send(world.servers.at(0), kOk);
    client.pump();
    CHECK(client.answers[id].body == "ok");
    CHECK(client.far().end_received);
    client.far().end();
    world.run();
    CHECK(world.proxy.connections_open() == 0);
}

TEST_CASE("time-outs of a connection", "[http2]") {
    World world;
    world.apply(World::snapshot());
    const contract::HttpLimits limits;
    SECTION("a client that says nothing after the preface") {
        const auto client = world.client();
        world.send(client, Http2Connection::kPreface);
        world.pass(limits.head_timeout);
        CHECK(client->end_received);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("between requests") {
        Http2Client client(world);
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0), kOk);
        client.pump();
        CHECK(client.answers[id].ended);
        world.pass(limits.idle_timeout - std::chrono::seconds(1));
        client.pump();
        CHECK(client.goaways.empty());
        world.pass(std::chrono::seconds(2));
        client.pump();
        REQUIRE(client.goaways.size() == 1);
        CHECK(client.goaways[0].second == NGHTTP2_NO_ERROR);
        CHECK(client.far().end_received);
    }
    SECTION("a client that only asks whether we are there") {
        Http2Client client(world);
        for (Duration each = limits.idle_timeout / 3; client.goaways.empty();) {
            REQUIRE(client.pings_answered < 4);
            client.ping();
            client.pump();
            world.pass(each);
            client.pump();
        }
        CHECK(client.goaways[0].second == NGHTTP2_NO_ERROR);
    }
    SECTION("a head that does not end") {
        Http2Client client(world);
        client.raw(http2_frame(NGHTTP2_HEADERS, 0, 1, std::string("\x82", 1)));
        world.pass(limits.head_timeout);
        client.pump();
        CHECK(client.far().end_received);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("a client that does not read") {
        Http2Client client(world);
        client.far().allow(client.far().received.size());
        client.request(Http2Client::get());
        world.send(world.servers.at(0), kOk);
        world.pass(limits.progress_timeout);
        CHECK(client.far().gone);
        CHECK(world.drops.value(DropReason::kClientTimeout) == 1);
    }
    SECTION("a client that opens no window") {
        Http2Client client(world);
        const int32_t id = client.request(Http2Client::get());
        world.send(world.servers.at(0),
                   "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + std::string(300000, 'x'));
        client.pump();
        world.pass(limits.progress_timeout);
        client.pump();
        CHECK(client.answers[id].reset == NGHTTP2_INTERNAL_ERROR);
        CHECK(world.servers[0]->gone);
        CHECK(client.goaways.empty());
    }
}

TEST_CASE("trailers pass in both directions", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    Http2Fields fields = Http2Client::get("/", "POST");
    fields.emplace_back("te", "trailers");
    const int32_t id = client.request(fields, false);
    client.body(id, "abc");
    client.trailers(id, {{"x-sum", "1"}});
    CHECK(world.servers.at(0)->received.find("\r\n3\r\nabc\r\n") != std::string::npos);
    CHECK(world.servers[0]->received.ends_with("\r\n0\r\nx-sum: 1\r\n\r\n"));
    const bool with_body = GENERATE(true, false);
    world.send(world.servers[0],
               std::string("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n") +
                   (with_body ? "2\r\nok\r\n" : "") +
                   "0\r\ngrpc-status: 0\r\nGrpc-Message: \r\n\r\n");
    client.pump();
    const auto& answer = client.answers[id];
    CHECK(answer.body == (with_body ? "ok" : ""));
    CHECK(answer.ended);
    CHECK_FALSE(answer.reset);
    CHECK(answer.trailers == Http2Fields{{"grpc-status", "0"}, {"grpc-message", ""}});
}

TEST_CASE("extended CONNECT is a WebSocket for a server of HTTP/1.1", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    CHECK(nghttp2_session_get_remote_settings(client.session(),
                                              NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1);
    const Http2Fields fields = {{":method", "CONNECT"}, {":protocol", "websocket"},
                                {":scheme", "https"},   {":authority", "site.test"},
                                {":path", "/chat"},     {"sec-websocket-version", "13"}};
    const int32_t id = client.request(fields, false);
    REQUIRE(world.servers.size() == 1);
    NaiveReader reader(world.servers[0]->take());
    const auto request = reader.next_request();
    REQUIRE(request);
    CHECK(request->first_line == "GET /chat HTTP/1.1");
    CHECK(request->value("upgrade") == "websocket");
    CHECK(request->value("sec-websocket-key").size() == 24);
    CHECK(request->value("sec-websocket-key").ends_with("=="));
    CHECK(request->count("transfer-encoding") == 0);
    SECTION("granted: bytes in both directions, then the ends") {
        world.send(world.servers[0],
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                   "Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: c\r\n\r\nhi");
        client.pump();
        CHECK(client.answers[id].status() == "200");
        CHECK(client.answers[id].value("sec-websocket-protocol") == "c");
        CHECK(client.answers[id].value("sec-websocket-accept").empty());
        CHECK(client.answers[id].value("upgrade").empty());
        CHECK(client.answers[id].body == "hi");
        client.body(id, "hello");
        CHECK(world.servers[0]->take() == "hello");
        world.send(world.servers[0], "bye");
        client.pump();
        CHECK(client.answers[id].body == "hibye");
        world.servers[0]->end();
        world.run();
        client.pump();
        CHECK(client.answers[id].ended);
        CHECK_FALSE(client.answers[id].reset);
        client.body(id, "", true);
        CHECK(world.servers[0]->gone);
    }
    SECTION("refused") {
        world.send(world.servers[0], "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        client.pump();
        CHECK(client.answers[id].status() == "403");
        CHECK(client.answers[id].body == "no");
        CHECK(client.answers[id].ended);
    }
    SECTION("a server that does not understand: 200 would be a yes") {
        world.send(world.servers[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        client.pump();
        CHECK(client.answers[id].status() == "502");
    }
}

TEST_CASE("extended CONNECT for another protocol", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world);
    const int32_t id = client.request({{":method", "CONNECT"},
                                       {":protocol", "connect-udp"},
                                       {":scheme", "https"},
                                       {":authority", "site.test"},
                                       {":path", "/"}},
                                      false);
    CHECK(client.answers[id].status() == "501");
    CHECK(world.servers.empty());
}

// --- Limits and hostility --------------------------------------------------------------------

TEST_CASE("heads that are too large get 431", "[http2]") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->limits.head_bytes_max = 4096;
    snapshot->limits.header_count_max = 20;
    world.apply(snapshot);
    Http2Client client(world);
    Http2Fields fields = Http2Client::get();
    SECTION("by size") {
        for (int i = 0; i < 10; ++i)
            fields.emplace_back("x-" + std::to_string(i), std::string(500, 'x'));
        const int32_t id = client.request(fields);
        CHECK(client.answers[id].status() == "431");
        CHECK_FALSE(client.answers[id].reset);
    }
    SECTION("by number") {
        for (int i = 0; i < 21; ++i)
            fields.emplace_back("x-" + std::to_string(i), "x");
        const int32_t id = client.request(fields, false);
        CHECK(client.answers[id].status() == "431");
        CHECK(client.answers[id].ended);
        world.pass(ClientConnection::kLinger);
        client.pump();
        CHECK(client.answers[id].reset == NGHTTP2_NO_ERROR);
    }
    SECTION("many pieces of one cookie are one header") {
        for (int i = 0; i < 30; ++i)
            fields.emplace_back("cookie", "c" + std::to_string(i) + "=1");
        client.request(fields);
        CHECK(world.servers.size() == 1);
    }
    CHECK(client.goaways.empty());
    client.request(Http2Client::get());
    CHECK(world.servers.size() >= 1);
}

TEST_CASE("no more streams at one time than are allowed", "[http2]") {
    World world;
    auto snapshot = World::snapshot();
    snapshot->limits.streams_max = 3;
    world.apply(snapshot);
    const auto far = world.client();
    world.send(far,
               std::string(Http2Connection::kPreface) + http2_frame(NGHTTP2_SETTINGS, 0, 0, ""));
    const std::string head = "\x82\x84\x87\x41\x09site.test";
    for (uint32_t i = 0; i < 5; ++i)
        world.send(far, http2_frame(NGHTTP2_HEADERS, 5, 2 * i + 1, head));
    CHECK(world.servers.size() == 3);
    for (const uint32_t id : {7U, 9U})
        CHECK(far->received.find(http2_frame(NGHTTP2_RST_STREAM, 0, id,
                                             std::string("\0\0\0\7", 4))) != std::string::npos);
}

TEST_CASE("floods end the connection, and are counted", "[http2]") {
    World world;
    world.apply(World::snapshot());
    const auto far = world.client();
    world.send(far,
               std::string(Http2Connection::kPreface) + http2_frame(NGHTTP2_SETTINGS, 0, 0, ""));
    const std::string head = "\x82\x84\x87\x41\x09site.test";
    const std::string open = http2_frame(NGHTTP2_HEADERS, 4, 1, head);
    uint32_t id = 1;
    std::function<std::string()> next;
    SECTION("PING") {
        next = [] { return http2_frame(NGHTTP2_PING, 0, 0, "12345678"); };
    }
    SECTION("SETTINGS") {
        next = [] { return http2_frame(NGHTTP2_SETTINGS, 0, 0, ""); };
    }
    SECTION("PRIORITY") {
        next = [] { return http2_frame(NGHTTP2_PRIORITY, 0, 1, std::string("\0\0\0\0\1", 5)); };
    }
    SECTION("DATA without data") {
        world.send(far, open);
        next = [] { return http2_frame(NGHTTP2_DATA, 0, 1, ""); };
    }
    SECTION("DATA with padding only") {
        world.send(far, open);
        next = [] {
            return http2_frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1,
                               std::string(9, '\x8').replace(1, 8, 8, '\0'));
        };
    }
    SECTION("WINDOW_UPDATE") {
        next = [] { return http2_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\0\0\1", 4)); };
    }
    SECTION("requests that are reset") {
        next = [&id, &head] {
            const uint32_t now = id;
            id += 2;
            return http2_frame(NGHTTP2_HEADERS, 5, now, head) +
                   http2_frame(NGHTTP2_RST_STREAM, 0, now, std::string("\0\0\0\x8", 4));
        };
    }
    SECTION("requests that we have to reset: a window of more than 2^31") {
        next = [&id, &head] {
            const uint32_t now = id;
            id += 2;
            return http2_frame(NGHTTP2_HEADERS, 5, now, head) +
                   http2_frame(NGHTTP2_WINDOW_UPDATE, 0, now, "\x7f\xff\xff\xff");
        };
    }
    SECTION("requests that we have to reset: malformed") {
        next = [&id] {
            const uint32_t now = id;
            id += 2;
            return http2_frame(NGHTTP2_HEADERS, 5, now, "\x82\x84\x87");
        };
    }
    size_t sent = 0;
    for (; sent < 1500 && !far->end_received && !far->gone; ++sent)
        world.send(far, next());
    CHECK(far->end_received);
    CHECK(sent <= 1100);
    CHECK(sent >= 300);
    CHECK(world.servers.size() <= 1100);
    for (const auto& server : world.servers)
        CHECK(server->gone);
    // GOAWAY with ENHANCE_YOUR_CALM.
    CHECK(far->received.find(std::string("\0\0\0\xb", 4), far->received.size() - 60) !=
          std::string::npos);
    CHECK(world.drops.value(DropReason::kHttp2Misbehaviour) == 1);
}

TEST_CASE("mistakes about the connection end it, with all its requests", "[http2]") {
    const std::string head = "\x82\x84\x87\x41\x09site.test";
    struct Mistake {
        std::string frame;
        uint8_t error;
    };
    const std::vector<Mistake> mistakes = {
        {http2_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string(4, '\0')), NGHTTP2_PROTOCOL_ERROR},
        {http2_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff"), NGHTTP2_FLOW_CONTROL_ERROR},
        {http2_frame(NGHTTP2_DATA, 0, 0, "x"), NGHTTP2_PROTOCOL_ERROR},
        {http2_frame(NGHTTP2_DATA, 0, 1, "x"), NGHTTP2_STREAM_CLOSED},
        {http2_frame(NGHTTP2_HEADERS, 5, 2, head), NGHTTP2_PROTOCOL_ERROR},
        {http2_frame(NGHTTP2_HEADERS, 5, 3, "\xff\xff\xff\xff\xff\xff"), NGHTTP2_COMPRESSION_ERROR},
        {http2_frame(NGHTTP2_PING, 0, 0, "short"), NGHTTP2_FRAME_SIZE_ERROR},
        {http2_frame(NGHTTP2_PUSH_PROMISE, 4, 1, head), NGHTTP2_PROTOCOL_ERROR},
    };
    for (const auto& [frame, error] : mistakes) {
        World world;
        world.apply(World::snapshot());
        const auto far = world.client();
        world.send(far, std::string(Http2Connection::kPreface) +
                            http2_frame(NGHTTP2_SETTINGS, 0, 0, "") +
                            http2_frame(NGHTTP2_HEADERS, 5, 1, head));
        REQUIRE(world.servers.size() == 1);
        far->take();
        world.send(far, frame);
        const std::string said = far->take();
        CAPTURE(frame, int{error}, said);
        CHECK(world.servers[0]->gone);
        CHECK(far->end_received);
        CHECK(said.find(std::string("\x07\0\0\0\0\0", 6)) == 3);  // GOAWAY
        CHECK(said.find(std::string(3, '\0') + static_cast<char>(error)) != std::string::npos);
        CHECK(world.drops.value(DropReason::kHttpMalformed) >= 1);
        far->end();
        world.run();
        CHECK(world.proxy.connections_open() == 0);
    }
}

TEST_CASE("a client that asks for answers and takes none is not listened to", "[http2]") {
    World world;
    world.apply(World::snapshot());
    const auto far = world.client();
    world.send(far,
               std::string(Http2Connection::kPreface) + http2_frame(NGHTTP2_SETTINGS, 0, 0, ""));
    far->allow(far->received.size());
    for (int i = 0; i < 3000; ++i)
        world.send(far, http2_frame(NGHTTP2_PING, 0, 0, "12345678"));
    world.pass(contract::HttpLimits().progress_timeout);
    CHECK((far->gone || far->end_received || far->ended || world.proxy.connections_open() == 0));
}

TEST_CASE("a head in endless CONTINUATION frames", "[http2]") {
    World world;
    world.apply(World::snapshot());
    const auto far = world.client();
    world.send(far, std::string(Http2Connection::kPreface) +
                        http2_frame(NGHTTP2_SETTINGS, 0, 0, "") +
                        http2_frame(NGHTTP2_HEADERS, 0, 1, "\x82"));
    for (int i = 0; i < 100 && !far->end_received; ++i)
        world.send(far, http2_frame(NGHTTP2_CONTINUATION, 0, 1, ""));
    CHECK(far->end_received);
    CHECK(world.servers.empty());
}

TEST_CASE("a window that is taken away and given again", "[http2]") {
    World world;
    world.apply(World::snapshot());
    Http2Client client(world, World::elsewhere(), {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}});
    const int32_t id = client.request(Http2Client::get());
    world.send(world.servers.at(0), kOk);
    client.pump();
    CHECK(client.answers[id].status() == "200");
    CHECK(client.answers[id].body.empty());
    const nghttp2_settings_entry setting{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1};
    nghttp2_submit_settings(client.session(), 0, &setting, 1);
    client.pump();
    CHECK(client.answers[id].body == "o");
    nghttp2_submit_window_update(client.session(), 0, id, 100);
    client.pump();
    CHECK(client.answers[id].body == "ok");
    CHECK(client.answers[id].ended);
}

}  // namespace
}  // namespace sluice::http
