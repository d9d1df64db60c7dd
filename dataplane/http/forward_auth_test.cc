#include "dataplane/http/forward_auth.h"

#include <catch2/catch.hpp>
#include <string>

#include "dataplane/http/testing/world.h"

namespace sluice::http {
namespace {

using testing::FarEnd;
using testing::Reachable;
using testing::World;

constexpr uint16_t kAuthPort = World::kAuthPort;

// "site.test" is behind an auth service on port 4180; its servers are on 8001.
std::shared_ptr<contract::Snapshot> guarded() {
    auto snapshot = World::guarded_snapshot();
    snapshot->forward_auths[0].path = "/oauth2/auth?x=y";
    snapshot->forward_auths[0].response_headers = {"x-auth-request-user", "x-auth-request-email"};
    return snapshot;
}

struct Guarded {
    explicit Guarded(std::shared_ptr<contract::Snapshot> with = guarded()) {
        world.apply(std::move(with));
        client = world.client();
    }
    void ask(const std::string& more = "", const std::string& line = "GET /a?b HTTP/1.1") {
        world.send(client, line + "\r\nHost: site.test\r\n" + more + "\r\n");
    }
    // The connection that was asked last.
    std::shared_ptr<FarEnd> last() { return world.servers.back(); }
    // What has just been asked of somebody, who then answers.
    std::string asked() {
        asked_ = world.asked();
        return asked_->take();
    }
    std::string answer(const std::string& bytes) {
        world.send(asked_, bytes);
        return client->take();
    }

    World world;
    std::shared_ptr<FarEnd> client;

  private:
    std::shared_ptr<FarEnd> asked_;
};

bool has(const std::string& text, const std::string& piece) {
    return text.find(piece) != std::string::npos;
}
int status_of(const std::string& answer) {
    return answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : -1;
}

constexpr const char* kYes = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

TEST_CASE("the service is asked what Traefik asks") {
    Guarded guarded_world;
    World& world = guarded_world.world;
    guarded_world.ask(
        "Cookie: a=b\r\nAuthorization: Bearer x\r\nConnection: x-mine, close\r\nX-Mine: 1\r\n"
        "Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: Basic p\r\n"
        "X-Forwarded-Uri: /forged\r\nX_Forwarded_Method: PUT\r\nX-Forwarded-User: root\r\n"
        "Content-Length: 0\r\n");
    REQUIRE(world.attempts == std::vector<uint16_t>{kAuthPort});
    CHECK(world.asked()->take() ==
          "GET /oauth2/auth?x=y HTTP/1.1\r\n"
          "Host: auth.test:4180\r\n"
          "Cookie: a=b\r\n"
          "Authorization: Bearer x\r\n"
          "Proxy-Authorization: Basic p\r\n"
          "X-Forwarded-For: 198.51.100.7\r\n"
          "X-Real-Ip: 198.51.100.7\r\n"
          "X-Forwarded-Proto: https\r\n"
          "X-Forwarded-Host: site.test\r\n"
          "X-Forwarded-Port: 443\r\n"
          "X-Forwarded-Method: GET\r\n"
          "X-Forwarded-Uri: /a?b\r\n"
          "\r\n");
}

TEST_CASE("only the named headers go to the service, if some are named") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].request_headers = {"cookie", "accept"};
    Guarded setting(snapshot);
    setting.ask("Cookie: a\r\nCOOKIE: b\r\nAuthorization: c\r\nAccept: d\r\n");
    const std::string question = setting.asked();
    CHECK(has(question, "Cookie: a\r\nCOOKIE: b\r\nAccept: d\r\nX-Forwarded-For: "));
    CHECK_FALSE(has(question, "Authorization"));
}

TEST_CASE("2xx lets the request pass with what the service says") {
    Guarded setting;
    World& world = setting.world;
    setting.ask(
        "X-Auth-Request-User: forged\r\nx_auth_request_email: forged\r\n"
        "X-Auth_Request-User: forged\r\nX-Other: kept\r\n");
    const auto auth = world.asked();
    auth->take();
    world.send(auth,
               "HTTP/1.1 200 OK\r\nX-Auth-Request-User: ann\r\nX-Unlisted: no\r\n"
               "X-Auth-Request-User: again\r\nSet-Cookie: s=1\r\nContent-Length: 2\r\n\r\nOK");
    REQUIRE(world.attempts == std::vector<uint16_t>{kAuthPort, 8001});
    const std::string request = setting.last()->take();
    CHECK(request.starts_with("GET /a?b HTTP/1.1\r\nHost: site.test\r\nX-Other: kept\r\n"));
    CHECK(has(request, "X-Auth-Request-User: ann\r\nX-Auth-Request-User: again\r\n"));
    CHECK_FALSE(has(request, "forged"));
    CHECK_FALSE(has(request, "X-Unlisted"));
    world.send(setting.last(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    const std::string answer = setting.client->take();
    CHECK(status_of(answer) == 200);
    CHECK(answer.ends_with("\r\n\r\nhi"));
    CHECK_FALSE(has(answer, "Set-Cookie"));

    // Both connections are used again.
    setting.ask();
    CHECK(world.asked() == auth);
    auth->take();
    world.send(auth, kYes);
    CHECK(world.attempts.size() == 2);
    CHECK(setting.last()->has_news());
}

TEST_CASE("a granted header may be one that nobody outside may say, but none of ours") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].response_headers = {
        "x-forwarded-user", "x-forwarded-for", "x-sluice-peer", "connection", "host",
        "content-length"};
    Guarded setting(snapshot);
    setting.ask("X-Forwarded-User: forged\r\nX-Sluice-Peer: forged\r\n");
    setting.asked();
    setting.answer(
        "HTTP/1.1 200 OK\r\nX-Forwarded-User: ann\r\nX-Forwarded-For: 1.1.1.1\r\n"
        "X-Sluice-Peer: pixel\r\nConnection: keep-alive\r\nHost: evil\r\nContent-Length: 0\r\n"
        "\r\n");
    const std::string request = setting.last()->take();
    CHECK(has(request, "X-Forwarded-User: ann\r\n"));
    CHECK_FALSE(has(request, "1.1.1.1"));
    CHECK_FALSE(has(request, "pixel"));
    CHECK_FALSE(has(request, "forged"));
    CHECK_FALSE(has(request, "evil"));
    CHECK_FALSE(has(request, "Content-Length"));
}

TEST_CASE("cookies of the service replace the server's of the same name") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].response_cookies = {"session"};
    Guarded setting(snapshot);
    setting.ask();
    setting.asked();
    setting.answer(
        "HTTP/1.1 200 OK\r\nSet-Cookie: session=new; Path=/\r\nSet-Cookie: other=x\r\n"
        "Content-Length: 0\r\n\r\n");
    setting.asked();
    const std::string answer = setting.answer(
        "HTTP/1.1 200 OK\r\nSet-Cookie: session=old\r\nSet-Cookie: mine=y\r\n"
        "Content-Length: 0\r\n\r\n");
    CHECK(has(answer, "Set-Cookie: mine=y\r\n"));
    CHECK(has(answer, "Set-Cookie: session=new; Path=/\r\n"));
    CHECK_FALSE(has(answer, "session=old"));
    CHECK_FALSE(has(answer, "other=x"));
}

TEST_CASE("whatever else it says is the client's answer") {
    Guarded setting;
    setting.ask();
    setting.asked();
    const std::string redirect = setting.answer(
        "HTTP/1.1 302 Found\r\nLocation: https://login.test/start?rd=x\r\nSet-Cookie: c=1\r\n"
        "Set-Cookie: d=2\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nsee\r\n6\r\n there\r\n0\r\n\r\n");
    CHECK(
        redirect.starts_with("HTTP/1.1 302 Found\r\nLocation: https://login.test/start?rd=x\r\n"
                             "Set-Cookie: c=1\r\nSet-Cookie: d=2\r\nContent-Length: 9\r\n"));
    CHECK(redirect.ends_with("\r\n\r\nsee there"));
    CHECK(setting.world.attempts.size() == 1);

    // The connections go on, the client's and the service's.
    setting.ask();
    setting.asked();
    CHECK(setting.world.attempts.size() == 1);
    CHECK(has(setting.answer("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"
                             "Content-Length: 4\r\n\r\nwho?"),
              "401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n"));
    for (const int status : {300, 400, 403, 404, 418, 500, 503}) {
        setting.ask();
        setting.asked();
        CHECK(status_of(setting.answer("HTTP/1.1 " + std::to_string(status) +
                                       " X\r\nContent-Length: 0\r\n\r\n")) == status);
    }
    CHECK(setting.world.attempts.size() == 1);
}

TEST_CASE("HEAD gets the service's refusal without its body") {
    Guarded setting;
    setting.ask("", "HEAD / HTTP/1.1");
    CHECK(has(setting.asked(), "X-Forwarded-Method: HEAD\r\n"));
    const std::string answer = setting.answer("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope");
    CHECK(has(answer, "Content-Length: 4\r\n"));
    CHECK(answer.ends_with("\r\n\r\n"));
}

TEST_CASE("401 may lead to a page for signing in") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].signin_url = "https://login.test/";
    Guarded setting(snapshot);
    setting.ask();
    setting.asked();
    const std::string answer =
        setting.answer("HTTP/1.1 401 No\r\nSet-Cookie: no=1\r\nContent-Length: 2\r\n\r\nno");
    CHECK(answer.starts_with("HTTP/1.1 302 Found\r\n"));
    CHECK(has(answer, "Location: https://login.test/\r\n"));
    CHECK_FALSE(has(answer, "no=1"));
    setting.ask();
    setting.asked();
    CHECK(status_of(setting.answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) == 403);
}

TEST_CASE("locations are made absolute") {
    const auto resolve = [](const char* location) {
        return resolve_location(location, "http", "auth.test:81", "/oauth2/auth?x");
    };
    CHECK(resolve("https://a.test/b") == "https://a.test/b");
    CHECK(resolve("//a.test/b") == "http://a.test/b");
    CHECK(resolve("/b?c") == "http://auth.test:81/b?c");
    CHECK(resolve("b") == "http://auth.test:81/oauth2/b");
    CHECK(resolve("?q") == "http://auth.test:81/oauth2/auth?q");
    CHECK(resolve("/a:b") == "http://auth.test:81/a:b");
}

TEST_CASE("peers of the tunnel are not asked, and forge nothing either") {
    World world;
    world.apply(guarded());
    const auto client = world.client(World::tunnel());
    world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\nX-Auth-Request-User: forged\r\n\r\n");
    REQUIRE(world.attempts == std::vector<uint16_t>{8001});
    const std::string request = world.servers[0]->take();
    CHECK(has(request, "X-Sluice-Peer: pixel\r\n"));
    CHECK_FALSE(has(request, "forged"));
}

TEST_CASE("a service that is down lets nobody in") {
    Guarded setting;
    World& world = setting.world;
    for (const Reachable how : {Reachable::kRefused, Reachable::kNotAtOnce}) {
        world.reachable[kAuthPort] = how;
        const auto client = world.client();
        world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
        CHECK(status_of(client->take()) == 502);
    }
    CHECK(std::ranges::count(world.attempts, 8001) == 0);
    // And back again.
    world.reachable.erase(kAuthPort);
    setting.ask();
    setting.asked();
    setting.answer(kYes);
    CHECK(world.attempts.back() == 8001);
}

TEST_CASE("a service that is slow lets nobody in") {
    for (const char* begun : {"", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 100 Continue\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nO",
                              "HTTP/1.1 302 X\r\nContent-Length: 5\r\n\r\nO"}) {
        INFO(begun);
        Guarded setting;
        setting.ask();
        const auto auth = setting.world.asked();
        auth->take();
        setting.world.send(auth, begun);
        setting.world.pass(std::chrono::milliseconds(4900));
        CHECK_FALSE(setting.client->has_news());
        setting.world.pass(std::chrono::milliseconds(200));
        CHECK(status_of(setting.client->take()) == 504);
        CHECK(auth->gone);
        CHECK(setting.world.attempts.size() == 1);
    }
    {
        World world;
        world.reachable[kAuthPort] = Reachable::kSilent;
        world.apply(guarded());
        const auto client = world.client();
        world.send(client, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
        world.pass(std::chrono::seconds(6));
        CHECK(status_of(client->take()) == 504);
    }
}

TEST_CASE("anything odd lets nobody in") {
    for (const std::string& odd : {
             std::string("garbage\r\n\r\n"),
             std::string("HTTP/1.1 101 Switching\r\n\r\n"),
             std::string("HTTP/2 200\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n"),
             std::string("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
             "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x'),
             "HTTP/1.1 403 No\r\nContent-Length: 70000\r\n\r\n" + std::string(70'000, 'x'),
         }) {
        INFO(odd.substr(0, 60));
        Guarded setting;
        setting.ask();
        const auto auth = setting.world.asked();
        setting.asked();
        CHECK(status_of(setting.answer(odd)) == 502);
        CHECK(auth->gone);
        CHECK(setting.world.attempts.size() == 1);
    }
    std::string interim;
    for (int i = 0; i < 20; ++i)
        interim += "HTTP/1.1 103 Early Hints\r\n\r\n";
    Guarded setting;
    setting.ask();
    setting.asked();
    CHECK(status_of(setting.answer(interim + kYes)) == 502);
}

TEST_CASE("an answer that breaks off lets nobody in") {
    for (const std::string begun :
         {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nO",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"}) {
        for (const bool reset : {true, false}) {
            INFO(begun);
            Guarded setting;
            setting.ask();
            const auto auth = setting.world.asked();
            auth->take();
            setting.world.send(auth, begun);
            if (reset) {
                auth->reset();
            } else {
                auth->end();
            }
            setting.world.run();
            CHECK(status_of(setting.client->take()) == 502);
            CHECK(setting.world.attempts.size() == 1);
        }
    }
}

TEST_CASE("a body until the connection's end, and one too long to hear out") {
    Guarded setting;
    World& world = setting.world;
    setting.ask();
    auto auth = world.asked();
    auth->take();
    world.send(auth, "HTTP/1.1 403 No\r\n\r\nbecause");
    CHECK_FALSE(setting.client->has_news());
    auth->end();
    world.run();
    const std::string answer = setting.client->take();
    CHECK(answer.ends_with("because"));
    CHECK(has(answer, "Content-Length: 7\r\n"));

    setting.ask();
    auth = world.asked();
    auth->take();
    world.send(auth,
               "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(70'000, 'x'));
    CHECK(auth->gone);
    CHECK(world.attempts.back() == 8001);
}

TEST_CASE("a kept connection that the service has just closed is no failure") {
    Guarded setting;
    World& world = setting.world;
    setting.ask();
    const auto auth = world.asked();
    setting.asked();
    setting.answer(kYes);
    setting.last()->take();
    world.send(setting.last(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    setting.client->take();
    setting.ask();
    auth->take();
    auth->reset();
    world.run();
    REQUIRE(world.attempts == std::vector<uint16_t>{kAuthPort, 8001, kAuthPort});
    setting.last()->take();
    world.send(setting.last(), kYes);
    CHECK(world.servers[1]->has_news());
}

TEST_CASE("the method and the body go along only where that is wanted") {
    const std::string post =
        "POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello";
    {
        Guarded setting;
        setting.world.send(setting.client, post);
        const std::string question = setting.asked();
        CHECK(question.starts_with("GET "));
        CHECK_FALSE(has(question, "Content-Length"));
        CHECK(question.ends_with("\r\n\r\n"));
        setting.answer(kYes);
        CHECK(setting.last()->take().ends_with("\r\n\r\nhello"));
    }
    {
        auto snapshot = guarded();
        snapshot->forward_auths[0].preserve_method = true;
        Guarded setting(snapshot);
        setting.world.send(setting.client, post);
        const std::string question = setting.asked();
        CHECK(question.starts_with("POST "));
        CHECK(question.ends_with("Content-Length: 0\r\n\r\n"));
    }
    for (const bool chunked : {false, true}) {
        INFO(chunked);
        auto snapshot = guarded();
        snapshot->forward_auths[0].forward_body = 10;
        Guarded setting(snapshot);
        World& world = setting.world;
        const std::string head = "POST /x HTTP/1.1\r\nHost: site.test\r\n";
        if (chunked) {
            world.send(setting.client, head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n");
            CHECK(world.attempts.empty());
            for (const char byte : std::string("3\r\nllo\r\n0\r\n\r")) {
                world.send(setting.client, {&byte, 1});
                CHECK(world.attempts.empty());
            }
            world.send(setting.client, "\n");
        } else {
            world.send(setting.client, head + "Content-Length: 5\r\n\r\nhe");
            CHECK(world.attempts.empty());
            world.send(setting.client, "llo");
        }
        REQUIRE(world.attempts.size() == 1);
        CHECK(setting.asked().ends_with("Content-Length: 5\r\n\r\nhello"));
        setting.answer(kYes);
        const std::string request = setting.asked();
        CHECK(has(request, chunked ? "\r\n5\r\nhello\r\n0\r\n\r\n" : "\r\n\r\nhello"));
        CHECK(status_of(setting.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) == 200);
        // The client's connection stands where it should.
        setting.ask();
        CHECK(world.asked()->take().starts_with("GET "));
    }
}

TEST_CASE("a body that is too large for the service") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].forward_body = 10;
    const std::string head = "POST /x HTTP/1.1\r\nHost: site.test\r\n";
    {
        Guarded setting(snapshot);
        setting.world.send(setting.client, head + "Content-Length: 11\r\n\r\n");
        CHECK(status_of(setting.client->take()) == 413);
    }
    {
        Guarded setting(snapshot);
        setting.world.send(setting.client, head + "Transfer-Encoding: chunked\r\n\r\nb\r\n" +
                                               std::string(11, 'x') + "\r\n0\r\n\r\n");
        CHECK(status_of(setting.client->take()) == 413);
    }
    {
        Guarded setting(snapshot);
        setting.world.send(setting.client, head + "Transfer-Encoding: chunked\r\n\r\nfff\r\n" +
                                               std::string(4095, 'x'));
        CHECK(status_of(setting.client->take()) == 413);
        CHECK(setting.world.attempts.empty());
    }
    {
        Guarded setting(snapshot);
        setting.world.send(setting.client, head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n");
        CHECK(status_of(setting.client->take()) == 400);
    }
    {
        auto generous = guarded();
        generous->forward_auths[0].forward_body = 10'000'000;
        Guarded setting(generous);
        setting.world.send(setting.client, head + "Content-Length: 9000000\r\n\r\n");
        CHECK(status_of(setting.client->take()) == 413);
    }
}

TEST_CASE("a client that waits for a word before its body gets it") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].forward_body = 10;
    Guarded setting(snapshot);
    World& world = setting.world;
    world.send(setting.client,
               "POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\n"
               "Expect: 100-continue\r\n\r\n");
    CHECK(setting.client->take() == "HTTP/1.1 100 Continue\r\n\r\n");
    world.send(setting.client, "ok");
    CHECK(setting.asked().ends_with("\r\n\r\nok"));
    setting.answer(kYes);
    const std::string request = setting.last()->take();
    CHECK_FALSE(has(request, "Expect"));
    CHECK(request.ends_with("\r\n\r\nok"));
}

TEST_CASE("a body that does not come") {
    auto snapshot = guarded();
    snapshot->forward_auths[0].forward_body = 10;
    {
        Guarded setting(snapshot);
        setting.ask("Content-Length: 5\r\n");
        setting.world.pass(std::chrono::seconds(31));
        CHECK(status_of(setting.client->take()) == 408);
    }
    {
        Guarded setting(snapshot);
        setting.ask("Content-Length: 5\r\n");
        setting.client->end();
        setting.world.run();
        CHECK(setting.client->gone);
        CHECK(setting.world.attempts.empty());
    }
}

TEST_CASE("a client that hangs up takes its question with it") {
    Guarded setting;
    setting.ask();
    const auto auth = setting.world.asked();
    auth->take();
    setting.client->reset();
    setting.world.run();
    CHECK(setting.client->gone);
    CHECK(auth->gone);
}

TEST_CASE("a reload while the service thinks") {
    Guarded setting;
    setting.ask();
    setting.asked();
    auto snapshot = World::snapshot({8002});
    snapshot->routes[0].hosts = {"other.test"};
    setting.world.apply(snapshot);
    // Begun by the old one, ended by the old one.
    setting.answer(kYes);
    CHECK(setting.world.attempts.back() == 8001);
}

TEST_CASE("the same through streams that help in nothing") {
    for (uint64_t seed = 0; seed < 60; ++seed) {
        SeededRandom whims(seed);
        World world;
        world.client_manner = {.read_max = 7, .write_max = 11, .whims = &whims};
        world.server_manner = {.read_max = 5, .write_max = 13, .holds_back = true, .whims = &whims};
        auto snapshot = guarded();
        snapshot->forward_auths[0].forward_body = 100;
        world.apply(snapshot);
        const auto client = world.client();
        for (int round = 0; round < 3; ++round) {
            INFO(seed);
            world.send(client,
                       "POST /x HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\nhello\r\n0\r\n\r\n");
            const auto auth = world.asked();
            CHECK(auth->take().ends_with("\r\n\r\nhello"));
            if (round == 1) {
                world.send(auth, "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope");
                CHECK(client->take().ends_with("nope"));
                break;
            }
            world.send(auth,
                       "HTTP/1.1 200 OK\r\nX-Auth-Request-User: ann\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n");
            const auto server = world.asked();
            const std::string request = server->take();
            CHECK(has(request, "X-Auth-Request-User: ann\r\n"));
            CHECK(has(request, "0\r\n\r\n"));
            world.send(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            CHECK(client->take().ends_with("hi"));
        }
    }
}

}  // namespace
}  // namespace sluice::http
