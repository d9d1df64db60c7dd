// The socket of wg(8): one change after the other, and the file that belongs to it.
#include "control/uapi/server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace sluice::control::uapi {

namespace {

using namespace std::chrono_literals;

contract::Key no_public_key(const Secret<32>&) {
    return {};
}

// Takes each change when it is told to.
class SlowInterface final : public Interface {
  public:
    const contract::WireguardConfig& config() const override { return config_; }
    void report(Report done) override { done(7, {}); }
    void apply(contract::WireguardConfig config, std::function<void(int error)> done) override {
        REQUIRE_FALSE(next_);
        wanted_ = std::move(config);
        next_ = std::move(done);
        ++asked;
    }
    void finish(int error) {
        if (error == 0) config_ = wanted_;
        std::exchange(next_, nullptr)(error);
    }
    bool is_asked() const { return next_ != nullptr; }
    int asked = 0;

  private:
    contract::WireguardConfig config_;
    contract::WireguardConfig wanted_;
    std::function<void(int)> next_;
};

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    return address;
}

int listening_at(const std::string& path) {
    const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = address_of(path);
    REQUIRE(::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listening, 8) == 0);
    return listening;
}

class Folder {
  public:
    Folder() { REQUIRE(::mkdtemp(path_) != nullptr); }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path(const std::string& name) const { return std::string(path_) + "/" + name; }

  private:
    char path_[32] = "/tmp/sluice-uapi-XXXXXX";
};

class World {
  public:
    World() {
        loop = std::move(*ControlLoop::create(clock));
        auto adopted = Server::adopt(*loop, interface, listening_at(path), no_public_key);
        REQUIRE(adopted);
        server = std::move(*adopted);
    }
    template <typename Condition>
    void await(Condition condition) {
        const Instant limit = clock.now().mono + 20s;
        while (!condition()) {
            loop->turn(100ms);
            REQUIRE(clock.now().mono < limit);
        }
    }
    SystemClock clock;
    std::unique_ptr<ControlLoop> loop;
    Folder folder;
    std::string path = folder.path("wg.sock");
    SlowInterface interface;
    std::unique_ptr<Server> server;
};

class Client {
  public:
    explicit Client(World& world) : world_(world) {
        socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        const sockaddr_un address = address_of(world.path);
        REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                0);
    }
    ~Client() { ::close(socket_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    void say(const std::string& text) {
        REQUIRE(::send(socket_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    }
    std::string await_answer() {
        std::string answer;
        world_.await([&] {
            char buffer[4096];
            const ssize_t got = ::recv(socket_, buffer, sizeof buffer, 0);
            if (got > 0) answer.append(buffer, static_cast<size_t>(got));
            return answer.ends_with("\n\n");
        });
        return answer;
    }

  private:
    World& world_;
    int socket_ = -1;
};

std::string peer(char digit) {
    return "public_key=" + std::string(64, digit) + "\n";
}

}  // namespace

TEST_CASE("requests at once are answered one after the other, and none is lost") {
    World world;
    Client first(world);
    Client second(world);
    Client third(world);
    first.say("set=1\n" + peer('1') + "\n");
    world.await([&] { return world.interface.is_asked(); });
    second.say("set=1\n" + peer('2') + "\n");
    third.say("get=1\n\n");
    // Who only asks does not wait.
    CHECK(third.await_answer() == "listen_port=7\nerrno=0\n\n");
    CHECK(world.interface.asked == 1);
    world.interface.finish(0);
    CHECK(first.await_answer() == "errno=0\n\n");
    world.await([&] { return world.interface.is_asked(); });
    world.interface.finish(0);
    CHECK(second.await_answer() == "errno=0\n\n");
    CHECK(world.interface.config().peers.size() == 2);
}

TEST_CASE("a request that waits goes on when the one before it was refused, or is gone") {
    World world;
    Client second(world);
    {
        Client first(world);
        first.say("set=1\n" + peer('1') + "\n");
        world.await([&] { return world.interface.is_asked(); });
        second.say("set=1\n" + peer('2') + "\n");
    }
    world.loop->turn(0ms);
    world.interface.finish(EADDRINUSE);
    world.await([&] { return world.interface.is_asked(); });
    world.interface.finish(0);
    CHECK(second.await_answer() == "errno=0\n\n");
    CHECK(world.interface.config().peers.size() == 1);
}

TEST_CASE("an adopted socket goes with its file, unless the file is another's by now") {
    {
        World world;
        CHECK(world.server->path() == world.path);
        CHECK(world.server->has_its_file());
        world.server.reset();
        CHECK_FALSE(std::filesystem::exists(world.path));
    }
    World world;
    std::filesystem::remove(world.path);
    CHECK_FALSE(world.server->has_its_file());
    const int other = listening_at(world.path);
    CHECK_FALSE(world.server->has_its_file());
    world.server.reset();
    CHECK(std::filesystem::exists(world.path));
    ::close(other);
}

TEST_CASE("only a Unix socket that listens is adopted, and what is refused is closed") {
    SystemClock clock;
    const auto loop = std::move(*ControlLoop::create(clock));
    SlowInterface interface;
    const auto refusal_of = [&](int descriptor) {
        const auto adopted = Server::adopt(*loop, interface, descriptor, no_public_key);
        return adopted ? "it works" : adopted.error().message;
    };
    const int unix_socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const int inet = ::socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(::listen(inet, 1) == 0);
    for (const int descriptor : {unix_socket, inet, ::open("/dev/null", O_RDONLY)}) {
        CHECK(refusal_of(descriptor) ==
              "descriptor " + std::to_string(descriptor) + " is not a Unix socket that listens");
        CHECK(::fcntl(descriptor, F_GETFD) < 0);
    }
    CHECK(refusal_of(987) == "descriptor 987 is not open");
}

TEST_CASE("a great many requests in one piece are answered, each by itself") {
    World world;
    Client client(world);
    constexpr size_t kRequests = 5000;
    std::string text;
    for (size_t i = 0; i < kRequests; ++i)
        text += "set=1\nno_such_key=1\n\n";
    client.say(text);
    size_t answers = 0;
    while (answers < kRequests) {
        const std::string answer = client.await_answer();
        for (size_t at = answer.find("errno="); at != std::string::npos;
             at = answer.find("errno=", at + 1)) {
            ++answers;
        }
    }
    CHECK(answers == kRequests);
    CHECK(world.interface.asked == 0);
}

}  // namespace sluice::control::uapi
