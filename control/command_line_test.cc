// The commands as a person gives them, against a node that runs on another thread: what is printed,
// where, and the exit code.
#include "control/cli/command_line.h"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "control/api.h"
#include "control/config/default_toml.h"
#include "control/config/test_certificate.h"
#include "control/config/test_folder.h"
#include "control/config/text_forms.h"
#include "control/fake_worker.h"
#include "dataplane/base/check.h"

namespace sluice::control {

namespace {

struct Said {
    int code = -1;
    std::string out;
    std::string err;
};

Said call(const std::string& name, const std::vector<std::string>& words) {
    std::vector<const char*> arguments{name.c_str()};
    for (const std::string& word : words)
        arguments.push_back(word.c_str());
    std::ostringstream out;
    std::ostringstream err;
    const cli::Program program{"9.9.9",
                               [&](const std::string& file) {
                                   out << "run " << file << "\n";
                                   return 7;
                               },
                               [&](const cli::WireguardStart& start) {
                                   out << "wireguard " << start.interface << " " << start.foreground
                                       << "\n";
                                   return 8;
                               }};
    Said said;
    said.code = cli::run_command_line(static_cast<int>(arguments.size()), arguments.data(), program,
                                      out, err);
    said.out = out.str();
    said.err = err.str();
    return said;
}

Said sluice(const std::vector<std::string>& words) {
    return call("sluice", words);
}

const std::string kConfig = R"([log]
level = "error"
[node]
name = "node-21"
ip = "192.168.10.21"
[control]
socket = "SOCKET"
[wireguard]
addresses = ["10.98.0.1/24"]
private_key_file = "wg.key"
[[wireguard.peers]]
name = "pixel"
public_key = "42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU="
allowed_ips = ["10.98.0.2/32", "fd98::2/128"]
[[wireguard.peers]]
name = "laptop"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
allowed_ips = ["10.98.0.3/32"]
[[listeners]]
name = "secure"
address = "0.0.0.0:3443"
[[certificates]]
hosts = ["happy.example"]
cert_file = "c.pem"
key_file = "k.pem"
[[routes]]
name = "happy"
hosts = ["happy.example"]
backend = "welcome"
[[backends]]
name = "welcome"
servers = [ { url = "builtin:welcome" }, { url = "http://127.0.0.1:8080", weight = 3 } ]
)";

// A node with two workers that answer what the test put into them.
class RunningNode {
  public:
    RunningNode() {
        const auto made =
            config::make_test_certificate("DNS:happy.example", -60, 90L * 86400 + 3600);
        folder.write("c.pem", made.certificate_pem);
        folder.write("k.pem", made.key_pem);
        write(kConfig);
        thread = std::thread([this] { run(); });
        while (!started)
            std::this_thread::yield();
    }
    ~RunningNode() {
        if (!ended) static_cast<void>(sluice({"stop", "--socket", socket()}));
        thread.join();
    }
    RunningNode(const RunningNode&) = delete;
    RunningNode& operator=(const RunningNode&) = delete;

    std::string socket() const { return folder.path("c.sock"); }
    std::string config() const { return folder.path("f.toml"); }
    void write(std::string text) const {
        const size_t at = text.find("SOCKET");
        if (at != std::string::npos) text.replace(at, 6, socket());
        folder.write("f.toml", text);
    }
    Said ask(std::vector<std::string> words) const {
        words.push_back("--socket");
        words.push_back(socket());
        return sluice(words);
    }

    config::TestFolder folder;
    std::thread thread;
    std::atomic<bool> started = false;
    std::atomic<bool> ended = false;
    std::atomic<bool> port_in_use = false;

  private:
    void fill_reports(FakeWorker& one, FakeWorker& two, WallTime now) {
        one.report.engine = two.report.engine = "io_uring";
        one.report.requests = 40;
        two.report.requests = 2;
        one.report.connections_open = 3;
        one.report.connections_accepted = 5;
        one.report.drops[static_cast<size_t>(DropReason::kMac1Invalid)] = 3;
        two.report.drops[static_cast<size_t>(DropReason::kMac1Invalid)] = 4;
        contract::PeerReport pixel;
        pixel.public_key = *config::parse_key("42q8Bg3nRlCzxAR+uWDFPsHuuoOxfRrN3BIl+WyTXDU=");
        pixel.endpoint = *Endpoint::parse("203.0.113.9:51820");
        pixel.last_handshake = now - std::chrono::seconds(3 * 60 + 5);
        pixel.received_bytes = 1024 * 1024 * 3 / 2;
        pixel.sent_bytes = 17;
        one.report.peers = {pixel};
        one.report.routes = {{"happy", 40}};
        two.report.routes = {{"happy", 2}};
        one.report.servers = {{"welcome", "http://127.0.0.1:8080", 30, 1, 2}};
        two.report.servers = {{"welcome", "http://127.0.0.1:8080", 1, 0, 1}};
        // Whoever thinks worst of a server is heard.
        one.report.servers[0].state = "ejected";
        one.report.servers[0].reason = "refused";
        two.report.servers[0].state = "serving";
        one.report.offloads = {{"udp_gso", "on", "", 9},
                               {"udp_gro", "off", "the kernel has none", 0}};
        two.report.offloads = {{"udp_gso", "on", "", 1},
                               {"udp_gro", "off", "the kernel has none", 0}};
    }

    void run() {
        SystemClock clock;
        SeededRandom random(1);
        auto loop = ControlLoop::create(clock);
        NodeOptions options;
        options.config_file = config();
        options.machine.host_name = "testhost";
        FakeWorker one(**loop, 0);  // before the node, which holds their mailboxes
        FakeWorker two(**loop, 1);
        Node node(**loop, random, options);
        SLUICE_CHECK(node.load().ok);
        fill_reports(one, two, clock.now().wall);
        auto server = admin::Server::open(**loop, socket());
        SLUICE_CHECK(server);
        serve_api(**server, node, **loop, {.version = "9.9.9", .offloads = {}});
        node.set_prepare([&](const contract::Snapshot&, const contract::Snapshot&) -> Result<void> {
            one.apply_error = two.apply_error = port_in_use ? "the port is in use" : "";
            return {};
        });
        node.set_on_stopped([&](bool) { (*loop)->stop(); });
        node.start({&one.mailbox, &two.mailbox}, [&](const LoadOutcome&) { started = true; });
        (*loop)->run();
        ended = true;
    }
};

}  // namespace

TEST_CASE("without words: the help, and that is wrong usage") {
    const Said said = sluice({});
    CHECK(said.code == 2);
    CHECK(said.out.empty());
    CHECK_THAT(said.err, Catch::Contains("Usage: sluice"));
    CHECK_THAT(said.err, Catch::Contains("reload"));
    // What is not built yet is not offered.
    CHECK_THAT(said.err, !Catch::Contains("router-rules"));
    CHECK_THAT(said.err, !Catch::Contains("peer "));
}

TEST_CASE("help that was asked for is an answer") {
    const Said all = sluice({"--help"});
    CHECK(all.code == 0);
    CHECK_THAT(all.out, Catch::Contains("Usage: sluice"));
    const Said one = sluice({"reload", "--help"});
    CHECK(one.code == 0);
    CHECK_THAT(one.out, Catch::Contains("--socket"));
}

TEST_CASE("wrong usage is 2, with one line that says what is right") {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"frobnicate"},
                                                  {"status", "--colour"},
                                                  {"run"},
                                                  {"check"},
                                                  {"status", "extra"},
                                                  {"--json"},
                                                  {"reload", "--socket"}}) {
        INFO(words[0]);
        const Said said = sluice(words);
        CHECK(said.code == 2);
        CHECK(said.out.empty());
        CHECK(std::count(said.err.begin(), said.err.end(), '\n') == 1);
        CHECK_THAT(said.err, Catch::StartsWith("sluice: "));
    }
}

TEST_CASE("commands of later versions say so") {
    for (const std::string command : {"peer", "ca", "router-rules", "top"}) {
        const Said said = sluice({command, "add", "--x"});
        CHECK(said.code == 1);
        CHECK(said.err ==
              "sluice: not yet: `sluice " + command + "` is not built into this version\n");
    }
}

TEST_CASE("version and run") {
    CHECK(sluice({"version"}).out == "sluice 9.9.9\n");
    const Said said = sluice({"run", "--config", "/some/file"});
    CHECK(said.code == 7);
    CHECK(said.out == "run /some/file\n");
}

TEST_CASE("a plain interface is started by either name") {
    const std::vector<std::string> as_command = {"wireguard", "-f", "wg7"};
    const std::vector<std::string> as_name = {"wg7", "--foreground"};
    for (const Said& said : {sluice(as_command), call("sluice-wireguard", as_name),
                             call("/a/sluice-wireguard", as_name)}) {
        CHECK(said.code == 8);
        CHECK(said.out == "wireguard wg7 1\n");
    }
    CHECK(call("./sluice-wireguard", {"wg7"}).out == "wireguard wg7 0\n");
    CHECK(sluice({"wireguard", "--help"}).out.find("WG_TUN_FD") != std::string::npos);
    for (const Said& said : {sluice({"wireguard"}), sluice({"wireguard", "a", "b"}),
                             sluice({"wireguard", "-x", "a"}), call("sluice-wireguard", {})}) {
        CHECK(said.code == 2);
        CHECK(said.out.empty());
        CHECK(!said.err.empty());
    }
}

TEST_CASE("check: the manual, a good file, a broken one, none") {
    CHECK(sluice({"check", "--print-defaults"}).out == config::default_toml());
    const config::TestFolder folder;
    const std::string file = folder.write("f.toml",
                                          "[wireguard]\naddresses = [\"10.0.0.1/8\"]\n"
                                          "listen_port = 1\nprivate_key_file = \"k\"\n");
    Said said = sluice({"check", "--config", file});
    CHECK(said.code == 0);
    CHECK(said.out == file + ": ok\n");
    CHECK(said.err.empty());
    folder.write("f.toml", "[log]\nlevel = 1\ncolour = 2\n");
    said = sluice({"check", "--config", file});
    CHECK(said.code == 1);
    CHECK(said.out.empty());
    CHECK(said.err == file + ":2:9: \"level\" is a whole number; it must be a string\n" + file +
                          ":3:1: unknown key \"colour\" in [log]; known here: level, access\n" +
                          "sluice: " + file + " has 2 errors\n");
    said = sluice({"check", "--config", folder.path("none")});
    CHECK(said.code == 1);
    CHECK_THAT(said.err, Catch::Contains("there is no such file"));
}

TEST_CASE("no node: one line that says what to do") {
    const config::TestFolder folder;
    for (const std::string command : {"status", "peers", "reload", "stop", "drain"}) {
        const Said said = sluice({command, "--socket", folder.path("none.sock")});
        CHECK(said.code == 1);
        CHECK(said.out.empty());
        CHECK(said.err ==
              "sluice: no node is running at " + folder.path("none.sock") +
                  "; start one with `sluice run --config FILE`, or name its socket with "
                  "--socket\n");
    }
    const std::string file =
        folder.write("f.toml", "[control]\nsocket = \"" + folder.path("named.sock") + "\"\n");
    CHECK_THAT(sluice({"status", "--config", file}).err, Catch::Contains("named.sock"));
    CHECK_THAT(sluice({"status", "--config", folder.path("none")}).err,
               Catch::Contains("there is no such file"));
    const Said long_path = sluice({"status", "--socket", std::string(200, 'x')});
    CHECK(long_path.code == 1);
    CHECK_THAT(long_path.err, Catch::Contains("1 to 107 bytes"));
}

TEST_CASE("what a running node shows to people") {
    const RunningNode node;
    const Said status = sluice({"status", "--config", node.config()});
    CHECK(status.err.empty());
    CHECK(status.code == 0);
    CHECK_THAT(status.out, Catch::StartsWith("node-21 is serving, generation 1\n"
                                             "  version      9.9.9, up 0 seconds\n"
                                             "  workers      2, engine io_uring\n"
                                             "  tunnel       sluice0, UDP port 41621, 2 peers\n"
                                             "  public key   "));
    CHECK_THAT(status.out, Catch::EndsWith("  connections  3 open, 5 accepted\n"
                                           "  requests     42\n"
                                           "  offloads     udp_gso on, used 10 times\n"
                                           "               udp_gro off: the kernel has none\n"
                                           "  drops        mac1_invalid 7\n"));
    CHECK(node.ask({"peers"}).out ==
          "PEER    ENDPOINT           ALLOWED IPS   LAST HANDSHAKE  RECEIVED  SENT\n"
          "pixel   203.0.113.9:51820  10.98.0.2/32  3 minutes ago    1.5 MiB  17 B\n"
          "                           fd98::2/128\n"
          "laptop  -                  10.98.0.3/32  never                0 B   0 B\n");
    CHECK(node.ask({"routes"}).out ==
          "ROUTE  HOSTS          PATH  AUTH            BACKEND  REQUESTS\n"
          "happy  happy.example  /     tailscale-only  welcome        42\n");
    CHECK(node.ask({"backends"}).out ==
          "BACKEND  SERVER                 STATE    WEIGHT  REQUESTS  FAILURES\n"
          "welcome  builtin:welcome        -             1         0         0\n"
          "         http://127.0.0.1:8080  ejected       3        31         1\n"
          "                                refused\n");
    CHECK_THAT(node.ask({"certs"}).out, Catch::EndsWith("  in 90 days  -\n"));
    CHECK(node.ask({"workers"}).out ==
          "WORKER  ENGINE    GENERATION  OPEN  REQUESTS  DATAGRAMS IN  OUT  DROPS\n"
          "     0  io_uring           1     3        40             0    0      3\n"
          "     1  io_uring           1     0         2             0    0      4\n");
}

TEST_CASE("what a running node shows to programs") {
    const RunningNode node;
    const auto status = nlohmann::json::parse(node.ask({"status", "--json"}).out);
    CHECK(status["generation"] == 1);
    CHECK(status["version"] == "9.9.9");
    CHECK(status["state"] == "serving");
    CHECK(status["uptime_seconds"].is_number_unsigned());
    CHECK(status["workers"] == 2);
    CHECK(status["engine"] == "io_uring");
    CHECK(status["node"]["name"] == "node-21");
    CHECK(status["node"]["ip"] == "192.168.10.21");
    CHECK(status["wireguard"]["interface"] == "sluice0");
    CHECK(status["wireguard"]["listen_port"] == 41621);
    CHECK(status["wireguard"]["peers"] == 2);
    CHECK(status["wireguard"]["public_key"].get<std::string>().size() == 44);
    CHECK(status["requests"] == 42);
    CHECK(status["connections"]["open"] == 3);
    CHECK(status["drops"] == nlohmann::json{{"mac1_invalid", 7}});
    CHECK(status["offloads"][0] ==
          nlohmann::json{{"name", "udp_gso"}, {"state", "on"}, {"uses", 10}});
    CHECK(status["last_reload"]["result"] == "none");
    CHECK(status["last_reload"]["time"].is_null());
    const auto peers = nlohmann::json::parse(node.ask({"peers", "--json"}).out)["peers"];
    CHECK(peers[0]["name"] == "pixel");
    CHECK(peers[0]["allowed_ips"] == nlohmann::json{"10.98.0.2/32", "fd98::2/128"});
    CHECK(peers[1]["last_handshake"].is_null());
    const auto certs = nlohmann::json::parse(node.ask({"certs", "--json"}).out)["certificates"];
    CHECK(certs[0]["hosts"] == nlohmann::json{"happy.example"});
}

TEST_CASE("reload: the new generation, nothing new, or why not") {
    RunningNode node;
    Said said = node.ask({"reload"});
    CHECK(said.code == 0);
    CHECK(said.out == "generation 1, nothing changed\n");

    node.write("[limits]\nheaders = 50\n" + kConfig);
    said = node.ask({"reload"});
    CHECK(said.code == 0);
    CHECK(said.out == "generation 2\n");
    CHECK(said.err.empty());

    node.write("[limits]\nheaders = 5\n" + kConfig);
    said = node.ask({"reload"});
    CHECK(said.code == 1);
    CHECK(said.out.empty());
    CHECK(said.err == node.config() +
                          ":2:11: \"headers\" is 5; it must be from 8 to 1000\n"
                          "sluice: reload refused; generation 2 serves on\n");
    const auto status = nlohmann::json::parse(node.ask({"status", "--json"}).out);
    CHECK(status["generation"] == 2);
    CHECK(status["last_reload"]["result"] == "refused");
    CHECK(status["last_reload"]["error"] ==
          node.config() + ":2:11: \"headers\" is 5; it must be from 8 to 1000");
    CHECK_THAT(node.ask({"status"}).out, Catch::Contains("  last reload  refused, "));

    node.port_in_use = true;
    node.write("[limits]\nheaders = 60\n" + kConfig);
    said = node.ask({"reload"});
    CHECK(said.code == 1);
    CHECK(said.out == "generation 3\n");
    CHECK(said.err == "the port is in use\nsluice: generation 3 serves, but not all of it\n");
}

TEST_CASE("stop and drain end the node, and say so") {
    for (const auto& [command, said_out] :
         {std::pair<const char*, const char*>{"stop", "stopping\n"},
          {"drain", "draining; the node stops when the requests in progress have ended\n"}}) {
        RunningNode node;
        const Said said = node.ask({command});
        CHECK(said.code == 0);
        CHECK(said.out == said_out);
        while (!node.ended)
            std::this_thread::yield();
        CHECK(node.ask({"status"}).code == 1);
    }
}

}  // namespace sluice::control
