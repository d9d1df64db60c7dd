// One request and its response, through the whole proxy.
#include <catch2/catch.hpp>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::World;

TEST_CASE("a GET is relayed and answered") {
    World world;
    world.apply(World::snapshot());
    const auto client = world.client();
    world.send(client, "GET /a?b=c HTTP/1.1\r\nHost: Site.Test\r\nAccept: */*\r\n\r\n");

    REQUIRE(world.servers.size() == 1);
    const auto server = world.servers[0];
    CHECK(server->take() ==
          "GET /a?b=c HTTP/1.1\r\n"
          "Host: site.test\r\n"
          "Accept: */*\r\n"
          "X-Forwarded-For: 198.51.100.7\r\n"
          "X-Forwarded-Proto: https\r\n"
          "X-Forwarded-Host: site.test\r\n"
          "X-Forwarded-Port: 443\r\n"
          "\r\n");
    world.send(server, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
    CHECK(client->take() ==
          "HTTP/1.1 200 Fine\r\n"
          "X-A: b\r\n"
          "Content-Length: 5\r\n"
          "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
          "\r\n"
          "hello");
    CHECK_FALSE(client->end_received);

    // Both connections serve the next request.
    world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    CHECK(world.servers.size() == 1);
    CHECK(server->take().starts_with("GET / HTTP/1.1\r\n"));
    world.send(server, "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
    CHECK(client->take() == "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
}

}  // namespace
}  // namespace sluice::http
