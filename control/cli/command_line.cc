#include "control/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "control/cli/client.h"
#include "control/cli/render.h"
#include "control/config/default_toml.h"
#include "control/config/document.h"
#include "control/config/load.h"
#include "control/config/read.h"
#include "dataplane/base/clock.h"

namespace sluice::cli {

namespace {

struct Arguments {
    std::string config_file;
    std::string socket;
    bool json = false;
    bool print_defaults = false;
};

struct Streams {
    std::ostream& out;
    std::ostream& err;
};

int failed(Streams to, std::string_view reason) {
    to.err << "sluice: " << reason << "\n";
    return kFailed;
}

// Commands of the manual that this version does not have; they are not in the help.
int not_yet(Streams to, std::string_view command) {
    return failed(to,
                  "not yet: `sluice " + std::string(command) + "` is not built into this version");
}

// Where the node listens: as said, else as its configuration file says, else the default.
Result<std::string> socket_of(const Arguments& arguments) {
    if (!arguments.socket.empty()) return arguments.socket;
    if (arguments.config_file.empty()) return config::Config{}.socket.value;
    const auto text = config::read_file(arguments.config_file, config::kFileBytesMax);
    if (!text) return std::unexpected(text.error());
    config::Diagnostics diagnostics;
    const auto read = config::read_config(*text, diagnostics);
    // Other errors of the file are no obstacle to speaking to a node that runs.
    if (!read) return fail(diagnostics.lines(arguments.config_file).front());
    return read->socket.value;
}

int show(Streams to, const Arguments& arguments, std::string_view command) {
    const auto socket = socket_of(arguments);
    if (!socket) return failed(to, socket.error().message);
    const auto answer = ask(*socket, "GET", "/v1/" + std::string(command));
    if (!answer) return failed(to, answer.error().message);
    if (answer->status != 200) return failed(to, error_of(answer->body));
    if (arguments.json) {
        to.out << answer->body;
        return kDone;
    }
    const auto text = render(command, answer->body, SystemClock().now().wall);
    if (!text) return failed(to, text.error().message);
    to.out << *text;
    return kDone;
}

int reload(Streams to, const Arguments& arguments) {
    const auto socket = socket_of(arguments);
    if (!socket) return failed(to, socket.error().message);
    const auto answer = ask(*socket, "POST", "/v1/reload");
    if (!answer) return failed(to, answer.error().message);
    const auto outcome = parse_reload(answer->body);
    if (!outcome) return failed(to, outcome.error().message);
    if (arguments.json) to.out << answer->body;
    const std::string generation = "generation " + std::to_string(outcome->generation);
    for (const std::string& line : outcome->warnings)
        to.err << line << "\n";
    if (answer->status != 200) {
        for (const std::string& line : outcome->errors)
            to.err << line << "\n";
        return failed(to, "reload refused; " + generation + " serves on");
    }
    if (!arguments.json) {
        to.out << generation << (outcome->changed ? "" : ", nothing changed") << "\n";
    }
    if (outcome->worker_errors.empty()) return kDone;
    for (const std::string& line : outcome->worker_errors)
        to.err << line << "\n";
    return failed(to, generation + " serves, but not all of it");
}

int end(Streams to, const Arguments& arguments, std::string_view command, std::string_view said) {
    const auto socket = socket_of(arguments);
    if (!socket) return failed(to, socket.error().message);
    const auto answer = ask(*socket, "POST", "/v1/" + std::string(command));
    if (!answer) return failed(to, answer.error().message);
    if (answer->status != 202) return failed(to, error_of(answer->body));
    if (arguments.json) {
        to.out << answer->body;
    } else {
        to.out << said << "\n";
    }
    return kDone;
}

int check(Streams to, const Arguments& arguments) {
    if (arguments.print_defaults) {
        to.out << config::default_toml();
        return kDone;
    }
    if (arguments.config_file.empty()) {
        to.err << "sluice: check needs --config FILE or --print-defaults\n";
        return kUsage;
    }
    config::Diagnostics diagnostics;
    const auto loaded = config::load(arguments.config_file, config::this_machine(),
                                     SystemClock().now().wall, diagnostics);
    for (const std::string& line : diagnostics.lines(arguments.config_file))
        to.err << line << "\n";
    if (!loaded) {
        const size_t errors = diagnostics.error_count();
        return failed(to, arguments.config_file + " has " + std::to_string(errors) +
                              (errors == 1 ? " error" : " errors"));
    }
    to.out << arguments.config_file << ": ok\n";
    return kDone;
}

// wg-quick(8) starts $WG_QUICK_USERSPACE_IMPLEMENTATION as one word, so there has to be a name
// that means `sluice wireguard`.
bool is_wireguard_name(std::string_view program) {
    return program.substr(program.rfind('/') + 1) == "sluice-wireguard";
}

// CLI11 reports wrong usage by exceptions; none leaves this file.
class CommandLine {
  public:
    CommandLine(const Program& program, Streams to) : program_(program), to_(to) {
        app_.require_subcommand(1);
        app_.set_help_flag("-h,--help", "Show this help");
        add_run();
        add_check();
        add_shown("status", "What the node is doing");
        add_shown("peers", "WireGuard peers, their endpoints and traffic");
        add_shown("routes", "Routes and how often they were asked for");
        add_shown("backends", "Backends and their servers");
        add_shown("certs", "Certificates and when they expire");
        add_shown("workers", "The threads that do the work");
        add_reload();
        add_end("drain", "Let requests in progress end, then stop the node",
                "draining; the node stops when the requests in progress have ended");
        add_end("stop", "Stop the node at once", "stopping");
        add_wireguard();
        app_.add_subcommand("version", "Print the version")->callback([this] {
            to_.out << "sluice " << program_.version << "\n";
        });
    }

    int run(int argc, const char* const* argv) {
        if (argc < 2) {
            to_.err << app_.help();
            return kUsage;
        }
        try {
            app_.parse(argc, argv);
        } catch (const CLI::CallForHelp&) {
            for (const CLI::App* const command : app_.get_subcommands()) {
                to_.out << command->help();
                return kDone;
            }
            to_.out << app_.help();
            return kDone;
        } catch (const CLI::ParseError& error) {
            to_.err << "sluice: " << error.what() << "; `sluice --help` lists what can be said\n";
            return kUsage;
        }
        return exit_code_;
    }

  private:
    void add_socket_options(CLI::App* command) {
        command->add_option("--socket", arguments_.socket,
                            "The node's control socket (default: /run/sluice/control.sock)");
        command->add_option("--config", arguments_.config_file,
                            "The node's configuration file, which names the socket");
        command->add_flag("--json", arguments_.json, "Print the node's answer as it is");
    }
    void add_run() {
        CLI::App* const run = app_.add_subcommand("run", "Start the node");
        run->add_option("--config", arguments_.config_file, "The configuration file")->required();
        run->callback([this] { exit_code_ = program_.run(arguments_.config_file); });
    }
    void add_wireguard() {
        CLI::App* const command = app_.add_subcommand(
            "wireguard",
            "Make a plain WireGuard interface, for wg(8) and wg-quick(8) to configure");
        command->add_flag("-f,--foreground", wireguard_.foreground,
                          "Stay in the foreground; without it, return when the interface is there");
        command->add_option("INTERFACE", wireguard_.interface, "The name of the interface")
            ->required();
        command->footer(
            "Environment: LOG_LEVEL (verbose, error or silent), WG_TUN_FD, WG_UAPI_FD,\n"
            "WG_PROCESS_FOREGROUND=1, SLUICE_WORKERS (default: one per core), SLUICE_ENGINE\n"
            "(io_uring, epoll or auto). Called as sluice-wireguard, the program does just this.");
        command->callback([this] { exit_code_ = program_.wireguard(wireguard_); });
    }
    void add_check() {
        CLI::App* const command = app_.add_subcommand("check", "Check a configuration file");
        command->add_option("--config", arguments_.config_file, "The configuration file");
        command->add_flag("--print-defaults", arguments_.print_defaults,
                          "Print the manual: every key with its default");
        command->callback([this] { exit_code_ = check(to_, arguments_); });
    }
    void add_shown(const std::string& name, const std::string& description) {
        CLI::App* const command = app_.add_subcommand(name, description);
        add_socket_options(command);
        command->callback([this, name] { exit_code_ = show(to_, arguments_, name); });
    }
    void add_reload() {
        CLI::App* const command =
            app_.add_subcommand("reload", "Read the configuration file again");
        add_socket_options(command);
        command->callback([this] { exit_code_ = reload(to_, arguments_); });
    }
    void add_end(const std::string& name, const std::string& description, const std::string& said) {
        CLI::App* const command = app_.add_subcommand(name, description);
        add_socket_options(command);
        command->callback([this, name, said] { exit_code_ = end(to_, arguments_, name, said); });
    }

    const Program& program_;
    Streams to_;
    Arguments arguments_;
    WireguardStart wireguard_;
    int exit_code_ = kDone;
    CLI::App app_{"Sluice: one ingress node, WireGuard and TLS in one program", "sluice"};
};

}  // namespace

int run_command_line(int argc, const char* const* argv, const Program& program, std::ostream& out,
                     std::ostream& err) {
    static constexpr auto kLater =
        std::to_array<std::string_view>({"peer", "ca", "router-rules", "top"});
    const Streams to{out, err};
    if (argc >= 2 && std::find(kLater.begin(), kLater.end(), argv[1]) != kLater.end()) {
        return not_yet(to, argv[1]);
    }
    if (argc >= 1 && is_wireguard_name(argv[0])) {
        std::vector<const char*> arguments(argv, argv + argc);
        arguments.insert(arguments.begin() + 1, "wireguard");
        return CommandLine(program, to).run(argc + 1, arguments.data());
    }
    return CommandLine(program, to).run(argc, argv);
}

}  // namespace sluice::cli
