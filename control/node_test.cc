// The node with workers that are told how to behave: a file that is wrong changes nothing, callers
// always get an answer, and a worker that is stuck is named and not waited for.
#include "control/node.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "control/config/test_folder.h"
#include "control/fake_worker.h"

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

const std::string kConfig =
    "[log]\nlevel = \"error\"\n[node]\nname = \"one\"\nip = \"10.0.0.7\"\n"
    "[wireguard]\naddresses = [\"10.98.0.1/24\"]\nprivate_key_file = \"wg.key\"\n";

std::string renamed(const std::string& name) {
    std::string text = kConfig;
    return text.replace(text.find("\"one\""), 5, "\"" + name + "\"");
}

class World {
  public:
    explicit World(size_t worker_count = 2, const std::string& text = kConfig,
                   Duration ticket_key_period = 12h, Duration start_patience = 0s) {
        auto made = ControlLoop::create(clock);
        REQUIRE(made);
        loop = std::move(*made);
        write(text);
        NodeOptions options;
        options.config_file = folder.path("f.toml");
        options.machine.host_name = "testhost";
        options.machine.cores = 2;
        options.answer_timeout = 50ms;
        options.drain_timeout = 50ms;
        options.start_patience = start_patience;
        options.ticket_key_period = ticket_key_period;
        node = std::make_unique<Node>(*loop, random, options);
        for (size_t i = 0; i < worker_count; ++i) {
            workers.push_back(std::make_unique<FakeWorker>(*loop, static_cast<uint32_t>(i)));
        }
    }

    void write(const std::string& text) { folder.write("f.toml", text); }

    LoadOutcome start() {
        std::optional<LoadOutcome> outcome;
        start_with([&](const LoadOutcome& got) { outcome = got; });
        return await(outcome);
    }
    void start_with(Node::LoadDone done) {
        REQUIRE(node->load().ok);
        std::vector<contract::Mailbox*> mailboxes;
        for (const auto& worker : workers)
            mailboxes.push_back(&worker->mailbox);
        node->start(mailboxes, std::move(done));
    }

    LoadOutcome reload() {
        std::optional<LoadOutcome> outcome;
        node->reload([&](const LoadOutcome& got) { outcome = got; });
        return await(outcome);
    }

    template <typename T>
    T await(std::optional<T>& result) {
        await([&] { return result.has_value(); });
        return std::move(*result);
    }
    template <typename Condition>
    void await(Condition condition) {
        const Instant limit = clock.now().mono + 20s;
        while (!condition()) {
            loop->turn(100ms);
            REQUIRE(clock.now().mono < limit);
        }
    }

    // As a person reads it: without the test's folder.
    std::string told(const std::vector<std::string>& lines) const {
        std::string text;
        for (std::string line : lines) {
            for (size_t at; (at = line.find(folder.path(""))) != std::string::npos;) {
                line.erase(at, folder.path("").size());
            }
            text += line + "\n";
        }
        return text;
    }

    SystemClock clock;
    SeededRandom random{11};
    config::TestFolder folder;
    std::unique_ptr<ControlLoop> loop;
    std::vector<std::unique_ptr<FakeWorker>> workers;
    std::unique_ptr<Node> node;
};

}  // namespace

TEST_CASE("the first load makes the key; workers get generation 1") {
    World world;
    const LoadOutcome outcome = world.start();
    CHECK(outcome.ok);
    CHECK(outcome.generation == 1);
    CHECK(outcome.worker_errors.empty());
    CHECK(world.folder.read("wg.key").size() == 45);
    CHECK(world.node->state() == NodeState::kServing);
    for (const auto& worker : world.workers) {
        REQUIRE(worker->applied.size() == 1);
        CHECK(worker->applied[0] == world.node->snapshot());
    }
    CHECK(world.node->snapshot()->wireguard->listen_port == 41607);
}

TEST_CASE("all workers get the same ticket keys, before the first snapshot and then new ones") {
    World world(2, kConfig, 20ms);
    world.start();
    world.await([&] { return world.workers[1]->ticket_keys.size() >= 3; });
    const auto& keys = world.workers[0]->ticket_keys;
    CHECK(world.workers[0]->keys_before_snapshot);
    REQUIRE(keys.size() >= 3);
    CHECK(keys[0] == world.workers[1]->ticket_keys[0]);
    CHECK(keys[1] == world.workers[1]->ticket_keys[1]);
    REQUIRE(keys[0]->keys.size() == 1);
    REQUIRE(keys[1]->keys.size() == 2);
    CHECK(keys[1]->keys[1].name == keys[0]->keys[0].name);
    CHECK(keys[1]->keys[0].name != keys[0]->keys[0].name);
}

TEST_CASE("a first load that fails tells every error and makes nothing") {
    World world(1,
                "[node]\nnmae = \"x\"\n[wireguard]\nprivate_key_file = \"wg.key\"\nmtu = "
                "1\nlisten_port = 7\n");
    const LoadOutcome outcome = world.node->load();
    CHECK_FALSE(outcome.ok);
    CHECK(world.told(outcome.errors) ==
          "f.toml:2:1: unknown key \"nmae\" in [node]; did you mean \"name\"?\n"
          "f.toml:3:1: [wireguard] has no \"addresses\"; write the node's addresses inside the "
          "tunnel, such as [\"10.98.0.1/24\"]\n"
          "f.toml:5:7: \"mtu\" is 1; it must be from 576 to 8940\n");
    CHECK(access(world.folder.path("wg.key").c_str(), F_OK) != 0);
}

TEST_CASE("a reload gives workers the next generation") {
    World world;
    world.start();
    world.write(renamed("two"));
    const LoadOutcome outcome = world.reload();
    CHECK(outcome.ok);
    CHECK(outcome.changed);
    CHECK(outcome.generation == 2);
    for (const auto& worker : world.workers) {
        REQUIRE(worker->applied.size() == 2);
        CHECK(worker->applied[1]->node_name == "two");
    }
    CHECK(world.node->last_reload()->outcome.ok);
}

TEST_CASE("a reload of a broken file changes nothing and says why") {
    World world;
    world.start();
    const auto before = world.node->snapshot();
    world.write(kConfig + "mtu = \"big\"\n");
    const LoadOutcome outcome = world.reload();
    CHECK_FALSE(outcome.ok);
    CHECK(outcome.generation == 1);
    CHECK(world.told(outcome.errors) ==
          "f.toml:9:7: \"mtu\" is a string; it must be a whole number\n");
    CHECK(world.node->snapshot() == before);
    CHECK(world.workers[0]->applied.size() == 1);
    CHECK_FALSE(world.node->last_reload()->outcome.ok);

    // And the next good one is taken.
    world.write(renamed("two"));
    CHECK(world.reload().generation == 2);
}

TEST_CASE("a file that is gone is a broken file") {
    World world;
    world.start();
    REQUIRE(::unlink(world.folder.path("f.toml").c_str()) == 0);
    const LoadOutcome outcome = world.reload();
    CHECK_FALSE(outcome.ok);
    CHECK(world.told(outcome.errors) == "f.toml: cannot read \"f.toml\": there is no such file\n");
}

TEST_CASE("a reload without a change makes no generation and wakes no worker") {
    World world;
    world.start();
    const LoadOutcome outcome = world.reload();
    CHECK(outcome.ok);
    CHECK_FALSE(outcome.changed);
    CHECK(outcome.generation == 1);
    CHECK(world.workers[0]->applied.size() == 1);
}

TEST_CASE("what a worker could not take on is told, and tried again by the next reload") {
    World world;
    world.workers[1]->apply_error = "listener l: the port is in use";
    CHECK(world.start().worker_errors ==
          std::vector<std::string>{"worker 1: listener l: the port is in use"});
    world.workers[1]->apply_error.clear();
    const LoadOutcome outcome = world.reload();
    CHECK(outcome.ok);
    CHECK_FALSE(outcome.changed);
    CHECK(outcome.worker_errors.empty());
    CHECK(world.workers[1]->applied.size() == 2);
    world.reload();
    CHECK(world.workers[1]->applied.size() == 2);
}

TEST_CASE("a start is tried again for a while: what was killed before may still hold the ports") {
    World world(2, kConfig, 12h, 20s);
    world.workers[1]->apply_error = "listener l: the port is in use";
    std::optional<LoadOutcome> outcome;
    world.start_with([&](const LoadOutcome& got) { outcome = got; });
    world.await([&] { return world.workers[1]->applied.size() >= 3; });
    CHECK_FALSE(outcome);
    CHECK(world.node->state() == NodeState::kStarting);
    world.workers[1]->apply_error.clear();
    CHECK(world.await(outcome).worker_errors.empty());
    CHECK(world.node->state() == NodeState::kServing);
}

TEST_CASE("what all workers say is said once") {
    World world(3);
    for (const auto& worker : world.workers)
        worker->apply_error = "the port is in use";
    CHECK(world.start().worker_errors == std::vector<std::string>{"the port is in use"});
}

TEST_CASE("a stuck worker is named, and the reload answers all the same") {
    World world;
    world.start();
    world.workers[0]->answers = false;
    world.write(renamed("two"));
    const LoadOutcome outcome = world.reload();
    CHECK(outcome.ok);
    CHECK(outcome.generation == 2);
    CHECK(outcome.worker_errors ==
          std::vector<std::string>{"worker 0: has not taken on the snapshot in time"});

    world.workers[0]->answers = true;
    CHECK(world.reload().worker_errors.empty());
}

TEST_CASE("a storm of reloads costs two") {
    World world;
    world.start();
    world.write(renamed("two"));
    std::vector<LoadOutcome> outcomes;
    for (int i = 0; i < 100; ++i) {
        world.node->reload([&](const LoadOutcome& got) { outcomes.push_back(got); });
        // The first is on its way; what is written now must be seen by those that follow.
        if (i == 0) world.write(renamed("three"));
    }
    world.await([&] { return outcomes.size() == 100; });
    CHECK(outcomes.front().generation == 2);
    CHECK(outcomes.back().generation == 3);
    CHECK(world.workers[0]->applied.size() == 3);
    CHECK(world.node->snapshot()->node_name == "three");
}

TEST_CASE("a reload during the start comes after it") {
    World world;
    REQUIRE(world.node->load().ok);
    std::string order;
    world.node->start({&world.workers[0]->mailbox, &world.workers[1]->mailbox},
                      [&](const LoadOutcome&) { order += "start "; });
    world.write(renamed("two"));
    world.node->reload(
        [&](const LoadOutcome& got) { order += "reload " + std::to_string(got.generation); });
    world.await([&] { return order.size() > 6; });
    CHECK(order == "start reload 2");
}

TEST_CASE("the machine is prepared before workers hear of a snapshot, and may refuse it") {
    World world;
    std::vector<std::string> prepared;
    bool refuses = false;
    world.node->set_prepare(
        [&](const contract::Snapshot& next, const contract::Snapshot& previous) -> Result<void> {
            prepared.push_back(previous.node_name + "→" + next.node_name);
            CHECK(world.workers[0]->applied.back()->node_name == "one");
            if (refuses && next.node_name == "bad") return fail("the kernel refuses it");
            return {};
        });
    world.start();
    CHECK(prepared.empty());  // what runs at the start was made for it
    refuses = true;
    world.write(renamed("bad"));
    const LoadOutcome outcome = world.reload();
    CHECK_FALSE(outcome.ok);
    CHECK(outcome.errors == std::vector<std::string>{"the kernel refuses it"});
    CHECK(prepared == std::vector<std::string>{"one→bad", "bad→one"});
    CHECK(world.node->snapshot()->node_name == "one");
    world.write(renamed("good"));
    CHECK(world.reload().generation == 2);
    CHECK(prepared.back() == "one→good");
}

TEST_CASE("what takes a restart is refused or kept, and told") {
    World world;
    world.start();
    world.write(kConfig + "interface = \"other\"\n");
    CHECK(
        world.told(world.reload().errors) ==
        "f.toml:9:13: \"interface\" was \"sluice0\" when the node started and cannot change while "
        "it runs; restart it\n");
    world.write("[node]\nname = \"one\"\nip = \"10.0.0.7\"\n");
    CHECK(world.told(world.reload().errors) ==
          "f.toml: [wireguard] was removed; the tunnel is made and ended with the process, so "
          "restart it\n");

    world.write(renamed("two") +
                "[io]\nengine = \"epoll\"\n[control]\nsocket = \"/x\"\n"
                "[offloads]\ntun_uso = false\naead = \"openssl\"\n");
    for (int i = 0; i < 2; ++i) {  // the second time too: the file still says it
        const LoadOutcome outcome = world.reload();
        CHECK(outcome.ok);
        CHECK(
            world.told(outcome.warnings) ==
            "f.toml:10:10: warning: \"engine\" has changed, which takes effect at the next start\n"
            "f.toml:12:10: warning: \"socket\" has changed, which takes effect at the next start\n"
            "f.toml:14:11: warning: \"tun_uso\" has changed, which takes effect at the next start\n"
            "f.toml:15:8: warning: \"aead\" has changed, which takes effect at the next start\n");
    }
    CHECK(world.node->config().engine.value == config::Engine::kAuto);
    CHECK(world.node->snapshot()->offloads == contract::OffloadConfig{});
    CHECK(world.node->snapshot()->node_name == "two");
}

TEST_CASE("a key file that vanished is not replaced by another identity") {
    World world;
    world.start();
    REQUIRE(::unlink(world.folder.path("wg.key").c_str()) == 0);
    const LoadOutcome outcome = world.reload();
    CHECK(world.told(outcome.errors) ==
          "f.toml:8:20: the private key file \"wg.key\" is gone; put it back\n");
    CHECK(access(world.folder.path("wg.key").c_str(), F_OK) != 0);
}

TEST_CASE("reports are collected from all workers, or from those that answer") {
    World world(3);
    world.start();
    for (const auto& worker : world.workers)
        worker->report.requests = 5;
    std::optional<CollectedReports> collected;
    world.node->collect_reports([&](CollectedReports got) { collected = std::move(got); });
    CollectedReports all = world.await(collected);
    REQUIRE(all.reports.size() == 3);
    CHECK(all.reports[2].worker == 2);
    CHECK(all.reports[2].requests == 5);
    CHECK(all.silent.empty());

    world.workers[1]->answers = false;
    collected.reset();
    world.node->collect_reports([&](CollectedReports got) { collected = std::move(got); });
    CollectedReports some = world.await(collected);
    CHECK(some.reports.size() == 2);
    CHECK(some.silent == std::vector<uint32_t>{1});
}

TEST_CASE("many callers ask for reports at once") {
    World world;
    world.start();
    int answered = 0;
    for (int i = 0; i < 50; ++i) {
        world.node->collect_reports([&](const CollectedReports& got) {
            CHECK(got.reports.size() == 2);
            ++answered;
            // A caller that asks again from inside its answer.
            if (answered <= 10)
                world.node->collect_reports([&](const CollectedReports&) { ++answered; });
        });
    }
    world.await([&] { return answered == 60; });
}

TEST_CASE("a drain ends in a stop when the last request has") {
    World world;
    world.start();
    std::optional<bool> clean;
    world.node->set_on_stopped([&](bool all_left) { clean = all_left; });
    world.workers[1]->drains = false;
    world.node->drain();
    world.node->drain();
    CHECK(world.node->state() == NodeState::kDraining);
    CHECK_FALSE(world.reload().ok);
    world.await([&] { return world.workers[1]->drains_asked > 0; });
    CHECK_FALSE(world.workers[0]->stopped);
    world.workers[1]->mailbox.answer(contract::Drained{});
    CHECK(world.await(clean));
    CHECK(world.workers[0]->stopped);
    CHECK(world.workers[0]->drains_asked == 1);
    CHECK(world.node->state() == NodeState::kStopped);
}

TEST_CASE("a drain that takes too long ends in a stop too") {
    World world;
    world.start();
    std::optional<bool> clean;
    world.node->set_on_stopped([&](bool all_left) { clean = all_left; });
    world.workers[0]->drains = false;
    world.node->drain();
    CHECK(world.await(clean));
}

TEST_CASE("a worker that does not stop does not keep the node") {
    World world;
    world.start();
    std::optional<bool> clean;
    world.node->set_on_stopped([&](bool all_left) { clean = all_left; });
    world.workers[0]->stops = false;
    world.node->stop();
    CHECK_FALSE(world.await(clean));
    CHECK(world.node->state() == NodeState::kStopped);
}

TEST_CASE("workers that leave by themselves are heard of") {
    World world;
    std::optional<bool> clean;
    world.node->set_on_stopped([&](bool all_left) { clean = all_left; });
    world.start();
    world.workers[0]->leave();
    world.write(renamed("two"));
    world.await([&] { return !world.reload().worker_errors.empty(); });
    CHECK(world.reload().worker_errors == std::vector<std::string>{"worker 0: has stopped"});
    CHECK_FALSE(clean);
    world.workers[1]->leave();
    CHECK(world.await(clean));
}

TEST_CASE("a worker that could not begin says why, and the start answers") {
    World world(1);
    world.workers[0]->answers = false;
    REQUIRE(world.node->load().ok);
    std::optional<LoadOutcome> outcome;
    world.node->start({&world.workers[0]->mailbox}, [&](const LoadOutcome& got) { outcome = got; });
    world.workers[0]->mailbox.answer(contract::Applied{0, "io_uring is not allowed here"});
    world.workers[0]->mailbox.answer(contract::Stopped{});
    CHECK(world.await(outcome).worker_errors ==
          std::vector<std::string>{"io_uring is not allowed here"});
}

TEST_CASE("a node that is gone is not called by workers that remain") {
    World world;
    world.start();
    world.workers[0]->mailbox.answer(contract::Drained{});  // its wake-up is in the loop's queue
    world.node.reset();
    world.workers[0]->mailbox.answer(contract::Drained{});
    world.loop->turn(0ms);
    world.loop->turn(0ms);
}

}  // namespace sluice::control
