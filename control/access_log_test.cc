// The access log's far end: whole lines reach the file in order, a file that was moved away is
// opened again, and a place that takes nothing costs lines but nothing else.
#include "control/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>

#include "control/config/test_folder.h"
#include "control/log.h"
#include "dataplane/base/clock.h"

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

class Rings {
  public:
    explicit Rings(size_t count, size_t bytes = 1 << 16) {
        for (size_t i = 0; i < count; ++i)
            pointers.push_back(&rings.emplace_back(bytes, bell));
    }
    Doorbell bell;
    std::deque<LineRing> rings;
    std::vector<LineRing*> pointers;
};

template <typename Condition>
void await(Condition condition) {
    SystemClock clock;
    const Instant limit = clock.now().mono + 20s;
    while (!condition()) {
        std::this_thread::sleep_for(1ms);
        REQUIRE(clock.now().mono < limit);
    }
}

}  // namespace

TEST_CASE("access log: lines of several workers reach the file whole, each worker's in order") {
    const config::TestFolder folder;
    Rings rings(2);
    {
        AccessLog log(rings.pointers, rings.bell);
        log.write_to(folder.path("access.log"));
        std::vector<std::thread> workers;
        for (int who = 0; who < 2; ++who) {
            workers.emplace_back([&rings, who] {
                LineRing& ring = rings.rings[static_cast<size_t>(who)];
                for (int i = 0; i < 5000; ++i) {
                    const std::string line =
                        std::to_string(who) + " " + std::to_string(i) + std::string(40, '.') + "\n";
                    while (!ring.push(line))
                        std::this_thread::yield();
                }
            });
        }
        for (std::thread& worker : workers)
            worker.join();
        await([&] { return log.status().lines == 10000; });
        CHECK(log.status().error.empty());
        CHECK(log.status().target == folder.path("access.log"));
    }
    const std::string text = folder.read("access.log");
    int next[2] = {0, 0};
    size_t begin = 0;
    for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        const std::string line = text.substr(begin, end - begin);
        const int who = line[0] - '0';
        REQUIRE((who == 0 || who == 1));
        REQUIRE(line ==
                std::to_string(who) + " " + std::to_string(next[who]) + std::string(40, '.'));
        ++next[who];
    }
    CHECK(next[0] == 5000);
    CHECK(next[1] == 5000);
    struct stat facts{};
    REQUIRE(stat(folder.path("access.log").c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0007) == 0);
}

TEST_CASE("access log: a file that was moved away is opened again") {
    const config::TestFolder folder;
    Rings rings(1);
    AccessLog log(rings.pointers, rings.bell);
    log.write_to(folder.path("a"));
    rings.rings[0].push("one\n");
    await([&] { return folder.read("a") == "one\n"; });
    std::filesystem::rename(folder.path("a"), folder.path("b"));
    rings.rings[0].push("two\n");
    await([&] { return folder.read("b") == "one\ntwo\n"; });
    log.write_to(folder.path("a"));
    await([&] { return std::filesystem::exists(folder.path("a")); });
    rings.rings[0].push("three\n");
    await([&] { return folder.read("a") == "three\n"; });
    CHECK(folder.read("b") == "one\ntwo\n");
}

TEST_CASE("access log: a folder that is not there yet, and a full disk") {
    log::set_level(log::Level::kSilent);
    const config::TestFolder folder;
    Rings rings(1);
    AccessLog log(rings.pointers, rings.bell);
    log.write_to(folder.path("later/a"));
    rings.rings[0].push("lost\n");
    await([&] { return log.status().dropped == 1; });
    CHECK(log.status().error.find("cannot open") == 0);
    std::filesystem::create_directory(folder.path("later"));
    rings.rings[0].push("kept\n");
    await([&] { return folder.read("later/a") == "kept\n"; });
    await([&] { return log.status().error.empty(); });
    CHECK(log.status().lines == 1);

    log.write_to("/dev/full");
    await([&] {
        rings.rings[0].push("lost\n");
        return log.status().error == "cannot write: No space left on device";
    });
    CHECK(log.status().dropped > 1);
    CHECK(log.status().lines == 1);
    log.write_to("off");
    await([&] { return log.status().error.empty(); });
    log::set_level(log::Level::kInfo);
}

TEST_CASE("access log: a pipe that nobody empties holds up neither workers nor the end") {
    log::set_level(log::Level::kSilent);
    const config::TestFolder folder;
    Rings rings(1, 4096);
    REQUIRE(mkfifo(folder.path("pipe").c_str(), 0600) == 0);
    const int reader = ::open(folder.path("pipe").c_str(), O_RDONLY | O_NONBLOCK);
    REQUIRE(reader >= 0);
    {
        AccessLog log(rings.pointers, rings.bell);
        log.write_to(folder.path("pipe"));
        await([&] {
            while (rings.rings[0].push(std::string(100, 'x') + "\n")) {
            }
            return log.status().dropped > 10 && log.status().lines > 100;
        });
    }
    ::close(reader);
    log::set_level(log::Level::kInfo);
}

}  // namespace sluice::control
