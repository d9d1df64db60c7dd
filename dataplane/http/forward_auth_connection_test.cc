// Which connections to an auth service are asked again. A client's bytes that were taken for a
// question of ours, or an answer that was taken for another question's, would let anybody pass.
#include <catch2/catch.hpp>
#include <string>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::World;

constexpr uint16_t kAuthPort = World::kAuthPort;
const std::string kYes = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const std::string kNo = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n";
const std::string kGet = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

struct Guarded {
    explicit Guarded(bool preserve_method) {
        const auto snapshot = World::guarded_snapshot();
        snapshot->forward_auths[0].forward_body = 1000;
        snapshot->forward_auths[0].preserve_method = preserve_method;
        world.apply(snapshot);
        client = world.client();
    }
    void ask(const std::string& method, const std::string& body) {
        world.send(client, method + " / HTTP/1.1\r\nHost: site.test\r\nContent-Length: " +
                               std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    World world;
    std::shared_ptr<FarEnd> client;
};

TEST_CASE("a question with a body that its method gives no meaning is a connection's last") {
    struct Case {
        const char* method;
        bool preserve_method;
        bool kept;
    };
    for (const Case& tried : std::vector<Case>{{"POST", false, false},
                                               {"PUT", false, false},
                                               {"GET", true, false},
                                               {"DELETE", true, false},
                                               {"POST", true, true},
                                               {"PUT", true, true}}) {
        INFO(tried.method << " " << tried.preserve_method);
        Guarded guarded(tried.preserve_method);
        guarded.ask(tried.method, "GET /public HTTP/1.1\r\nX: ");
        const auto auth = guarded.world.servers.at(0);
        CHECK(auth->take().ends_with("\r\n\r\nGET /public HTTP/1.1\r\nX: "));
        guarded.world.send(auth, kYes);
        CHECK(guarded.world.servers.size() == 2);
        CHECK(auth->gone == !tried.kept);
    }
}

TEST_CASE("a service that answers before it has the whole question is not asked again there") {
    for (const bool early : {false, true}) {
        INFO(early);
        Guarded guarded(true);
        guarded.world.send(guarded.client, kGet);
        const auto auth = guarded.world.servers.at(0);
        guarded.world.send(auth, kNo + "no");
        CHECK_FALSE(auth->gone);
        if (early) auth->allow(auth->received.size() + 50);
        guarded.ask("POST", "second");
        REQUIRE(guarded.world.servers.size() == 1);
        guarded.world.send(auth, kNo);
        // It takes the rest before its answer is complete.
        auth->allow(SIZE_MAX);
        guarded.world.run();
        CHECK(auth->received.ends_with("second"));
        guarded.world.send(auth, "no");
        CHECK(guarded.client->received.ends_with("\r\n\r\nno"));
        CHECK(auth->gone == early);
    }
}

TEST_CASE("what a service says unasked answers no question") {
    Guarded guarded(false);
    guarded.world.send(guarded.client, kGet);
    const auto auth = guarded.world.servers.at(0);
    guarded.world.send(auth, kNo + "no");
    CHECK_FALSE(auth->gone);
    // Both in one turn, and the client's bytes are looked at first.
    guarded.client->send(kGet);
    auth->send(kYes);
    guarded.world.run();
    CHECK(auth->gone);
    REQUIRE(guarded.world.servers.size() == 2);
    CHECK(guarded.world.attempts == std::vector<uint16_t>{kAuthPort, kAuthPort});
    CHECK(guarded.world.servers[1]->has_news());
}

}  // namespace
}  // namespace sluice::http
