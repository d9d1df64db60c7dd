// The control socket under friendly and hostile callers: raw bytes in, every answer read to its
// end.
#include "control/admin/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <thread>

#include "control/config/test_folder.h"
#include "control/log.h"
#include "dataplane/base/random.h"

namespace sluice::admin {

namespace {

using control::ControlLoop;
using namespace std::chrono_literals;

int connect_to(const std::string& path) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(descriptor);
        return -1;
    }
    return descriptor;
}

class World {
  public:
    explicit World(ServerOptions options = {}) {
        control::log::set_level(control::log::Level::kError);
        auto made = ControlLoop::create(clock);
        REQUIRE(made);
        loop = std::move(*made);
        auto opened = Server::open(*loop, path(), options);
        if (!opened) UNSCOPED_INFO(opened.error().message);
        REQUIRE(opened);
        server = std::move(*opened);
        server->handle("GET", "/v1/status", [this](const Request& request, const Respond& respond) {
            last = request;
            respond({200, "{\"generation\": 1}", {}});
        });
        server->handle("POST", "/v1/echo", [](const Request& request, const Respond& respond) {
            respond({200, request.body, {}});
        });
        server->handle("POST", "/v1/late",
                       [this](const Request&, const Respond& respond) { late.push_back(respond); });
    }

    std::string path() const { return folder.path("run/control.sock"); }

    template <typename Condition>
    void await(Condition condition) {
        const Instant limit = clock.now().mono + 20s;
        while (!condition()) {
            loop->turn(20ms);
            REQUIRE(clock.now().mono < limit);
        }
    }

    SystemClock clock;
    config::TestFolder folder;
    std::unique_ptr<ControlLoop> loop;
    std::unique_ptr<Server> server;
    std::optional<Request> last;
    std::vector<Respond> late;
};

class Caller {
  public:
    explicit Caller(World& world) : world_(world), descriptor_(connect_to(world.path())) {
        REQUIRE(descriptor_ >= 0);
    }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    ~Caller() { ::close(descriptor_); }

    void send(std::string_view bytes) const {
        // A server that has answered and left may refuse the rest.
        [[maybe_unused]] const ssize_t sent =
            ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    void end() const { ::shutdown(descriptor_, SHUT_WR); }

    // Everything until the server closes.
    std::string answer() {
        std::string all;
        world_.await([&] { return take(all); });
        return all;
    }
    // True when the connection has ended.
    bool take(std::string& into) const {
        std::array<char, 4096> bytes;
        while (true) {
            const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT);
            if (got < 0 && errno == EAGAIN) return false;
            if (got <= 0) return true;
            into.append(bytes.data(), static_cast<size_t>(got));
        }
    }

  private:
    World& world_;
    int descriptor_;
};

std::string ask(World& world, std::string_view bytes) {
    Caller caller(world);
    caller.send(bytes);
    return caller.answer();
}

std::string status_line(const std::string& answer) {
    return answer.substr(0, answer.find('\r'));
}

std::string body_of(const std::string& answer) {
    return answer.substr(answer.find("\r\n\r\n") + 4);
}

constexpr std::string_view kStatus = "GET /v1/status HTTP/1.1\r\nHost: sluice\r\n\r\n";

}  // namespace

TEST_CASE("a request is answered, and the connection ends") {
    World world;
    CHECK(ask(world, kStatus) ==
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
          "Connection: close\r\nContent-Length: 18\r\n\r\n{\"generation\": 1}\n");
    CHECK(world.last->method == "GET");
    world.await([&] { return world.server->connections_open() == 0; });
}

TEST_CASE("the query is no part of the path") {
    World world;
    CHECK(status_line(ask(world, "GET /v1/status?pretty=1 HTTP/1.1\r\nHost: x\r\n\r\n")) ==
          "HTTP/1.1 200 OK");
    CHECK(world.last->path == "/v1/status");
}

TEST_CASE("any split of a request gives one answer") {
    World world;
    const std::string request =
        "POST /v1/echo HTTP/1.1\r\nHost: sluice\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    const std::string expected = ask(world, request);
    CHECK(body_of(expected) == "{\"a\":1}\n");
    for (size_t split = 1; split < request.size(); ++split) {
        Caller caller(world);
        caller.send(std::string_view(request).substr(0, split));
        world.loop->turn(0ms);
        world.loop->turn(0ms);
        caller.send(std::string_view(request).substr(split));
        CHECK(caller.answer() == expected);
    }
    Caller drop_by_drop(world);
    for (const char c : request) {
        drop_by_drop.send({&c, 1});
        world.loop->turn(0ms);
    }
    CHECK(drop_by_drop.answer() == expected);
}

TEST_CASE("what is not there, and what is asked in the wrong way") {
    World world;
    const std::string nothing = ask(world, "GET /v2/status HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(status_line(nothing) == "HTTP/1.1 404 Not Found");
    CHECK(body_of(nothing) == "{\"error\":\"there is nothing at this path\"}\n");
    const std::string wrong = ask(world, "DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(status_line(wrong) == "HTTP/1.1 405 Method Not Allowed");
    CHECK_THAT(wrong, Catch::Contains("\r\nAllow: GET\r\n"));
    CHECK(body_of(wrong) == "{\"error\":\"this path takes GET only\"}\n");
}

TEST_CASE("malformed requests get 400 or their own status, and an explanation") {
    World world;
    const std::pair<std::string, const char*> cases[] = {
        {"\x16\x03\x01\x02\x01\x01", nullptr},  // half of something else: see below
        {"garbage\r\n\r\n", "400 Bad Request"},
        {"GET /v1/status HTTP/1.1\nHost: x\n\n", "400 Bad Request"},
        {"GET  /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
        {"GET /v1/status HTTP/1.1\r\n\r\n", "400 Bad Request"},
        {"GET /v1/status HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400 Bad Request"},
        {"GET /v1/status HTTP/1.1\r\nHost : x\r\n\r\n", "400 Bad Request"},
        {"GET /v1/status HTTP/2.0\r\nHost: x\r\n\r\n", "505 HTTP Version Not Supported"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", "400 Bad Request"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
         "400 Bad Request"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
         "400 Bad Request"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n",
         "413 Content Too Large"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "411 Length Required"},
        {"POST /v1/echo HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "417 Expectation Failed"},
        {"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status HTTP/1.1\r\n",
         "400 Bad Request"},
        {std::string("GET /") + std::string(20000, 'a') + " HTTP/1.1\r\n\r\n", "414 URI Too Long"},
        {"GET / HTTP/1.1\r\nX: " + std::string(20000, 'a') + "\r\n\r\n",
         "431 Request Header Fields Too Large"},
    };
    for (const auto& [bytes, status] : cases) {
        INFO(bytes.substr(0, 100));
        Caller caller(world);
        caller.send(bytes);
        caller.end();
        const std::string answer = caller.answer();
        CHECK(status_line(answer) ==
              std::string("HTTP/1.1 ") + (status ? status : "400 Bad Request"));
        CHECK_THAT(body_of(answer), Catch::StartsWith("{\"error\":\""));
    }
    CHECK_FALSE(world.last);
    CHECK(status_line(ask(world, kStatus)) == "HTTP/1.1 200 OK");
}

TEST_CASE("an answer reaches a caller that is still sending what nobody wants") {
    World world;
    Caller caller(world);
    caller.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    caller.send(std::string(50000, 'x'));
    CHECK(status_line(caller.answer()) == "HTTP/1.1 413 Content Too Large");
}

TEST_CASE("a body that is asked to wait is asked for") {
    World world;
    Caller caller(world);
    caller.send(
        "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    std::string got;
    world.await([&] {
        caller.take(got);
        return !got.empty();
    });
    CHECK(got == "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send("ok");
    CHECK_THAT(caller.answer(), Catch::EndsWith("\r\n\r\nok\n"));
}

TEST_CASE("random bytes never get more than a refusal") {
    World world;
    SeededRandom random(5);
    for (int i = 0; i < 500; ++i) {
        std::string bytes(random.below(200), '\0');
        random.fill({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
        Caller caller(world);
        caller.send(bytes);
        caller.end();
        const std::string answer = caller.answer();
        if (!answer.empty()) CHECK(answer.substr(9, 1) != "2");
    }
    world.await([&] { return world.server->connections_open() == 0; });
    CHECK_FALSE(world.last);
}

TEST_CASE("an answer may come later, and callers that left are no harm") {
    World world;
    constexpr std::string_view kLate = "POST /v1/late HTTP/1.1\r\nHost: x\r\n\r\n";
    Caller stays(world);
    stays.send(kLate);
    {
        Caller leaves(world);
        leaves.send(kLate);
        world.await([&] { return world.late.size() == 2; });
    }
    world.await([&] { return world.server->connections_open() == 1; });
    for (const Respond& respond : world.late)
        respond({200, "{}", {}});
    for (const Respond& respond : world.late)
        respond({200, "{\"twice\":1}", {}});
    CHECK(body_of(stays.answer()) == "{}\n");
}

TEST_CASE("a handler that never answers costs the caller a while, not for ever") {
    World world({.answer_timeout = 20ms});
    CHECK(status_line(ask(world, "POST /v1/late HTTP/1.1\r\nHost: x\r\n\r\n")) ==
          "HTTP/1.1 504 Gateway Timeout");
}

TEST_CASE("callers that say nothing, or not enough, are let go") {
    World world({.request_timeout = 20ms});
    Caller silent(world);
    Caller slow(world);
    slow.send("GET /v1/sta");
    CHECK(silent.answer().empty());
    CHECK(status_line(slow.answer()) == "HTTP/1.1 408 Request Timeout");
    world.await([&] { return world.server->connections_open() == 0; });
}

TEST_CASE("an answer larger than the socket's buffer arrives whole") {
    World world;
    const std::string large(8 * 1024 * 1024, 'x');
    world.server->handle("GET", "/large", [&](const Request&, const Respond& respond) {
        respond({200, large, {}});
    });
    CHECK(body_of(ask(world, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")) == large + "\n");
}

TEST_CASE("many idle callers do not keep a busy one out") {
    World world;
    std::vector<std::unique_ptr<Caller>> idle;
    for (int i = 0; i < 200; ++i) {
        idle.push_back(std::make_unique<Caller>(world));
        world.loop->turn(0ms);
        REQUIRE(world.server->connections_open() <= 64);
    }
    world.await([&] { return world.server->connections_open() == 64; });
    CHECK(status_line(ask(world, kStatus)) == "HTTP/1.1 200 OK");
}

TEST_CASE("the socket is for its owner only, from the first moment") {
    World world;
    struct stat facts{};
    REQUIRE(stat(world.path().c_str(), &facts) == 0);
    CHECK(S_ISSOCK(facts.st_mode));
    CHECK((facts.st_mode & 0777) == 0600);
}

TEST_CASE("another user is refused even where the file lets him in") {
    if (geteuid() != 0) {
        WARN("skipped: only root can become another user");
        return;
    }
    World world;
    for (const std::string& place : {world.folder.path(""), world.folder.path("run")}) {
        REQUIRE(chmod(place.c_str(), 0755) == 0);
    }
    const auto as_nobody = [&] {
        std::array<int, 2> pipe{};
        REQUIRE(::pipe(pipe.data()) == 0);
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // Only calls that are safe after fork; the parent's loop serves us.
            std::array<char, 256> answer{};
            ssize_t got = 0;
            if (setgid(65534) == 0 && setuid(65534) == 0) {
                const int descriptor = connect_to(world.path());
                if (descriptor >= 0) {
                    [[maybe_unused]] const ssize_t sent =
                        ::send(descriptor, kStatus.data(), kStatus.size(), MSG_NOSIGNAL);
                    got = ::recv(descriptor, answer.data(), answer.size(), MSG_WAITALL);
                }
            }
            if (got > 0) {
                [[maybe_unused]] const ssize_t told =
                    ::write(pipe[1], answer.data(), static_cast<size_t>(got));
            }
            _exit(0);
        }
        ::close(pipe[1]);
        int status = 0;
        world.await([&] { return waitpid(child, &status, WNOHANG) == child; });
        std::string answer(256, '\0');
        const ssize_t got = ::read(pipe[0], answer.data(), answer.size());
        ::close(pipe[0]);
        answer.resize(got > 0 ? static_cast<size_t>(got) : 0);
        return answer;
    };
    CHECK(as_nobody().empty());  // the file's mode
    REQUIRE(chmod(world.path().c_str(), 0666) == 0);
    control::log::set_level(control::log::Level::kError);
    CHECK(status_line(as_nobody()) == "HTTP/1.1 403 Forbidden");
    CHECK_FALSE(world.last);
    CHECK(status_line(ask(world, kStatus)) == "HTTP/1.1 200 OK");
}

TEST_CASE("a socket that nobody listens on is replaced") {
    const config::TestFolder folder;
    const std::string path = folder.path("control.sock");
    const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(stale, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::close(stale);
    SystemClock clock;
    auto loop = ControlLoop::create(clock);
    auto server = Server::open(**loop, path);
    REQUIRE(server);
    const int caller = connect_to(path);
    CHECK(caller >= 0);
    ::close(caller);
    server->reset();
    CHECK(access(path.c_str(), F_OK) != 0);
}

TEST_CASE("a socket that a node listens on is not") {
    World world;
    auto second = Server::open(*world.loop, world.path());
    REQUIRE_FALSE(second);
    CHECK(second.error().message ==
          "cannot make the control socket " + world.path() +
              ": a node is already running there; stop it with `sluice stop --socket " +
              world.path() + "`, or give this one another control.socket");
    CHECK(status_line(ask(world, kStatus)) == "HTTP/1.1 200 OK");
}

TEST_CASE("of many that start at one moment, one wins") {
    const config::TestFolder folder;
    const std::string path = folder.path("control.sock");
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> won = 0;
        std::vector<std::thread> threads;
        std::atomic<int> ready = 0;
        std::atomic<int> done = 0;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                SystemClock clock;
                auto loop = ControlLoop::create(clock);
                ++ready;
                while (ready < 4)
                    std::this_thread::yield();
                auto server = Server::open(**loop, path);
                if (server) ++won;
                ++done;
                while (done < 4)
                    std::this_thread::yield();
            });
        }
        for (std::thread& thread : threads)
            thread.join();
        CHECK(won == 1);
    }
}

TEST_CASE("something else in the socket's place is left alone") {
    const config::TestFolder folder;
    folder.write("control.sock", "precious");
    SystemClock clock;
    auto loop = ControlLoop::create(clock);
    auto server = Server::open(**loop, folder.path("control.sock"));
    REQUIRE_FALSE(server);
    CHECK_THAT(server.error().message,
               Catch::EndsWith("something that is no socket is in its place; remove it"));
    CHECK(folder.read("control.sock") == "precious");
    auto below = Server::open(**loop, folder.path("control.sock/x.sock"));
    REQUIRE_FALSE(below);
    CHECK_THAT(below.error().message, Catch::Contains("cannot make its folder"));
}

TEST_CASE("a server that ends does not remove its successor's socket") {
    World world;
    REQUIRE(::unlink(world.path().c_str()) == 0);
    auto successor = Server::open(*world.loop, world.path());
    REQUIRE(successor);
    world.server.reset();
    CHECK(access(world.path().c_str(), F_OK) == 0);
}

}  // namespace sluice::admin
