// A client of HTTP/2 that sends any bytes in any pieces, with servers that answer, through a whole
// proxy. After each piece
//  - every byte that the servers got reads as a sequence of requests of HTTP/1.1, each with our own
//    word on who is calling: nothing in a frame became a second request or a header of ours;
//  - what the client got is a sequence of whole frames of a size that it allows;
//  - no more requests are at work than it may have at one time;
// and in the end everything is given back.
#include <string>

#include "dataplane/base/check.h"
#include "dataplane/http/http2_connection.h"
#include "dataplane/http/testing/http2_client.h"
#include "dataplane/http/testing/naive_http.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::testing;

constexpr uint32_t kStreams = 5;

void check_servers(const World& world) {
    size_t at_work = 0;
    for (const auto& server : world.servers) {
        at_work += server->gone ? 0 : 1;
        NaiveReader reader(server->received);
        while (const auto request = reader.next_request()) {
            if (request->first_line.empty()) break;  // its head is not complete
            SLUICE_CHECK(request->first_line.ends_with(" HTTP/1.1"));
            SLUICE_CHECK(request->count("host") == 1);
            SLUICE_CHECK(request->value("host").starts_with("site.test"));
            SLUICE_CHECK(request->count("x-forwarded-for") == 1);
            SLUICE_CHECK(request->value("x-forwarded-for") == "198.51.100.7");
            SLUICE_CHECK(request->count("x-sluice-peer") == 0);
            if (!request->complete) break;
        }
    }
    // Connections that wait for the next request are among them.
    SLUICE_CHECK(at_work <= kStreams + 1);
}

void check_frames(const std::string& received) {
    size_t at = 0;
    while (received.size() - at >= 9) {
        const auto* const head = reinterpret_cast<const uint8_t*>(received.data() + at);
        const size_t size = size_t{head[0]} << 16 | size_t{head[1]} << 8 | head[2];
        SLUICE_CHECK(size <= 16384);
        SLUICE_CHECK(head[3] <= NGHTTP2_CONTINUATION);
        if (received.size() - at - 9 < size) return;
        at += 9 + size;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1) return 0;
    World world;
    auto snapshot = World::snapshot();
    snapshot->limits.streams_max = kStreams;
    snapshot->limits.head_bytes_max = 2048;
    snapshot->limits.header_count_max = 16;
    world.apply(snapshot);
    const auto client = world.client();
    const size_t piece = 1 + data[0] % 64;
    std::string input(as_text({data + 1, size - 1}));
    // Half of the inputs begin right, because a fuzzer finds the preface slowly by itself.
    if (data[0] < 128)
        input = std::string(Http2Connection::kPreface) + http2_frame(NGHTTP2_SETTINGS, 0, 0, "") +
                input;
    const std::string answer = data[0] % 2 == 0
                                   ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                                   : "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                     "chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    for (size_t at = 0; at < input.size(); at += piece) {
        world.send(client, std::string_view(input).substr(at, piece));
        check_servers(world);
        for (size_t i = 0; i < world.servers.size(); ++i) {
            const auto server = world.servers[i];
            if ((at / piece + i) % 3 == 0 && server->has_news() && !server->gone &&
                server->received.ends_with("\r\n\r\n")) {
                server->take();
                world.send(server, answer);
            }
        }
    }
    // Without the preface it is a client of HTTP/1.1.
    if (!client->received.starts_with("HTTP/1.1 ")) check_frames(client->received);
    client->end();
    world.run();
    world.pass(std::chrono::hours(1));
    for (const auto& server : world.servers)
        server->reset();
    world.run();
    SLUICE_CHECK(world.proxy.connections_open() == 0);
    return 0;
}
