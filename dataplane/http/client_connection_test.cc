// What connections hold, and when they give it back.
#include "dataplane/http/client_connection.h"

#include <catch2/catch.hpp>

#include "dataplane/http/exchange.h"
#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::MemoryStream;
using testing::World;

// The inside of a proxy, to be looked at.
struct Inside {
    explicit Inside(std::shared_ptr<const contract::Snapshot> snapshot = World::snapshot())
        : core(world, world, world.random, world.timers, world.drops) {
        core.now = world.now;
        core.fields.resize(snapshot->limits.header_count_max);
        core.buffers.set_head_bytes_max(snapshot->limits.head_bytes_max);
        core.site = std::make_shared<Site>(snapshot, nullptr, core.upstream, world.random);
    }
    std::shared_ptr<FarEnd> client() {
        auto far = std::make_shared<FarEnd>();
        core.connections
            .make(core, std::make_unique<MemoryStream>(world.events, far, world.client_manner),
                  World::elsewhere())
            ->run();
        return far;
    }
    void send(const std::shared_ptr<FarEnd>& far, std::string_view bytes) {
        far->send(bytes);
        world.run();
    }

    World world;
    Core core;
};

const std::string kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

TEST_CASE("buffers are held only while bytes are there") {
    Inside inside;
    const BufferPool& buffers = inside.core.buffers;
    const auto client = inside.client();
    CHECK(buffers.leased() == 0);
    inside.send(client, kGet.substr(0, 20));
    CHECK(buffers.leased() == 1);  // half a head
    inside.send(client, kGet.substr(20));
    CHECK(buffers.leased() == 1);  // the new head, which may have to be sent again
    const auto server = inside.world.servers.at(0);
    inside.send(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    CHECK(buffers.leased() == 0);  // a stream of events that is silent
    client->allow(client->received.size() + 1);
    inside.send(server, "3\r\ndef\r\n");
    CHECK(buffers.leased() == 1);  // a client that does not read
    client->allow(SIZE_MAX);
    inside.send(server, "0\r\n\r\n");
    CHECK(buffers.leased() == 0);
    CHECK(inside.core.exchanges.in_use() == 0);

    inside.send(client, kGet + kGet);
    CHECK(buffers.leased() == 2);  // and the next request
    client->reset();
    inside.world.run();
    CHECK(buffers.leased() == 0);
    CHECK(inside.core.connections.in_use() == 0);
    CHECK(inside.core.exchanges.in_use() == 0);
}

TEST_CASE("long heads pass in both directions") {
    Inside inside;
    const auto client = inside.client();
    const std::string cookie(40'000, 'c');
    const std::string head = "GET / HTTP/1.1\r\nHost: site.test\r\nCookie: " + cookie + "\r\n\r\n";
    for (size_t at = 0; at < head.size(); at += 7000)
        inside.send(client, head.substr(at, 7000));
    const auto server = inside.world.servers.at(0);
    CHECK(server->received.find("Cookie: " + cookie + "\r\n") != std::string::npos);
    const std::string answer =
        "HTTP/1.1 200 OK\r\nA: " + cookie + "\r\nContent-Length: 2\r\n\r\nok";
    for (size_t at = 0; at < answer.size(); at += 7000)
        inside.send(server, answer.substr(at, 7000));
    CHECK(client->received.find("A: " + cookie + "\r\n") != std::string::npos);
    CHECK(client->received.ends_with("\r\n\r\nok"));
    CHECK(inside.core.buffers.leased() == 0);
}

TEST_CASE("heads up to the very limit pass, with what we add") {
    auto snapshot = World::snapshot();
    snapshot->limits.head_bytes_max = 16 * 1024;
    Inside inside(snapshot);
    inside.core.head_limits.head_bytes_max = 16 * 1024;
    const auto client = inside.client();
    std::string head = "GET / HTTP/1.1\r\nHost: site.test\r\nA: ";
    head += std::string(16 * 1024 - head.size() - 4, 'a') + "\r\n\r\n";
    inside.send(client, head);
    CHECK(inside.world.servers.at(0)->received.size() > head.size());
    const auto next = inside.client();
    head.insert(head.size() - 4, "a");
    inside.send(next, head);
    CHECK(next->received.starts_with("HTTP/1.1 431 "));
}

TEST_CASE("waiting connections to a server are bounded") {
    Inside inside;
    const size_t many = UpstreamPool::kIdlePerServer + 5;
    std::vector<std::shared_ptr<FarEnd>> clients;
    for (size_t i = 0; i < many; ++i) {
        clients.push_back(inside.client());
        inside.send(clients.back(), kGet);
    }
    REQUIRE(inside.world.servers.size() == many);
    size_t open = 0;
    for (const auto& server : inside.world.servers) {
        inside.send(server, "HTTP/1.1 204 No Content\r\n\r\n");
        open += server->gone ? 0 : 1;
    }
    CHECK(open == UpstreamPool::kIdlePerServer);
    CHECK(inside.core.buffers.leased() == 0);
    // The last that came is the first that goes.
    inside.send(clients[0], kGet);
    CHECK(inside.world.servers[UpstreamPool::kIdlePerServer - 1]->received.find("GET", 1) !=
          std::string::npos);
}

TEST_CASE("bodies that keep coming are read in large pieces") {
    Inside inside;
    const auto client = inside.client();
    inside.send(client, kGet);
    const auto server = inside.world.servers.at(0);
    client->allow(100'000);
    inside.send(server, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    inside.send(server, std::string(1'000'000, 'x'));
    const size_t held = 1'000'000 - server->to_stream.size() - (100'000 - 100);
    CHECK(held <= BufferPool::kLargeMin);
    CHECK(held > BufferPool::kSmall);
    client->reset();
    inside.world.run();
}

}  // namespace
}  // namespace sluice::http
