// Watching a folder, with and without the kernel's help.
#include "control/folder_watch.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>

#include "control/config/test_folder.h"

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

bool await(ControlLoop& loop, const bool& condition) {
    const Instant limit = loop.now().mono + 20s;
    while (!condition && loop.now().mono < limit)
        loop.turn(100ms);
    return condition;
}

}  // namespace

TEST_CASE("what is made, renamed and removed in a folder is told, and the watch may go meanwhile") {
    SystemClock clock;
    const auto loop = std::move(*ControlLoop::create(clock));
    const config::TestFolder folder;
    bool seen = false;
    std::optional<FolderWatch> watch;
    const auto happens = [&](const auto& change) {
        seen = false;
        change();
        return await(*loop, seen);
    };
    watch.emplace(*loop, folder.path(""), [&] { seen = true; });
    CHECK(happens([&] { folder.write("a", "x"); }));
    CHECK(happens([&] { std::filesystem::rename(folder.path("a"), folder.path("b")); }));
    CHECK(happens([&] { std::filesystem::remove(folder.path("b")); }));
    watch.emplace(*loop, folder.path(""), [&] {
        seen = true;
        watch.reset();
    });
    CHECK(happens([&] { folder.write("a", "x"); }));
}

TEST_CASE("a folder that the kernel does not watch is looked at all the same") {
    SystemClock clock;
    const auto loop = std::move(*ControlLoop::create(clock));
    bool seen = false;
    const FolderWatch watch(*loop, "/is/not/there", [&] { seen = true; });
    CHECK(await(*loop, seen));
    seen = false;
    CHECK(await(*loop, seen));
}

}  // namespace sluice::control
