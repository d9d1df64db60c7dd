// Any bytes as a configuration file: never a crash, never a half success, and every finding has a
// place inside the file and one line of text.
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "control/config/check.h"
#include "control/config/read.h"
#include "dataplane/base/check.h"

namespace sluice::config {

namespace {

// How many characters each line has.
std::vector<size_t> line_widths(std::string_view text) {
    std::vector<size_t> widths(1);
    for (const char c : text) {
        if (c == '\n') {
            widths.push_back(0);
        } else if ((c & 0xc0) != 0x80) {
            ++widths.back();
        }
    }
    return widths;
}

void check_places(const Diagnostics& diagnostics, std::string_view text) {
    const std::vector<size_t> widths = line_widths(text);
    for (const Diagnostic& entry : diagnostics.sorted()) {
        SLUICE_CHECK(!entry.message.empty());
        SLUICE_CHECK(entry.message.find('\n') == std::string::npos);
        if (entry.at.line == 0) continue;
        SLUICE_CHECK(entry.at.line <= widths.size());
        SLUICE_CHECK(entry.at.column >= 1);
        // One behind the last: where something is missing.
        SLUICE_CHECK(entry.at.column <= widths[entry.at.line - 1] + 1);
    }
}

// What a configuration without errors promises to whoever compiles it.
void check_promises(const Config& config) {
    if (config.wireguard) {
        SLUICE_CHECK(config.wireguard->listen_port.value != 0);
        SLUICE_CHECK(!config.wireguard->private_key_file.value.empty());
        for (const Peer& peer : config.wireguard->peers)
            SLUICE_CHECK(!peer.name.value.empty());
    }
    for (const Listener& listener : config.listeners) {
        SLUICE_CHECK(listener.address.value.is_set() && listener.address.value.port != 0);
    }
    for (const Certificate& certificate : config.certificates) {
        SLUICE_CHECK(!certificate.cert_file.value.empty() && !certificate.key_file.value.empty());
    }
    for (const Route& route : config.routes) {
        SLUICE_CHECK(route.auth && route.path_prefix.value.starts_with('/'));
        SLUICE_CHECK(route.redirect || std::any_of(config.backends.begin(), config.backends.end(),
                                                   [&](const Backend& backend) {
                                                       return backend.name.value ==
                                                              route.backend.value;
                                                   }));
    }
    for (const Backend& backend : config.backends) {
        SLUICE_CHECK(!backend.name.value.empty());
        SLUICE_CHECK(backend.servers.size() == backend.servers_written);
    }
    SLUICE_CHECK(config.socket.value.starts_with('/'));
}

std::vector<std::string> run(std::string_view text) {
    Environment machine;
    machine.host_name = "fuzz";
    machine.default_route_address = *IpAddress::parse("192.168.10.21");
    Diagnostics diagnostics;
    std::optional<Config> config = read_config(text, diagnostics);
    SLUICE_CHECK(config || diagnostics.has_errors());
    if (config) {
        resolve(*config, machine, diagnostics);
        check(*config, diagnostics);
        if (!diagnostics.has_errors()) check_promises(*config);
    }
    check_places(diagnostics, text);
    return diagnostics.lines("f");
}

}  // namespace

}  // namespace sluice::config

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    SLUICE_CHECK(sluice::config::run(text) == sluice::config::run(text));
    return 0;
}
