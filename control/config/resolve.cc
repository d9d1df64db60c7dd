#include <filesystem>

#include "control/config/check.h"
#include "control/config/text_forms.h"

namespace sluice::config {

namespace {

// tailscaled listens here unless told otherwise.
constexpr uint16_t kTailscaledPort = 41641;

void resolve_name(Config& config, const Environment& machine, Diagnostics& diagnostics) {
    Located<std::string>& name = config.node.name;
    if (!name.value.empty() || name.at.line > 0) return;
    const bool from_kubernetes = !machine.k8s_node_name.empty();
    const std::string& found = from_kubernetes ? machine.k8s_node_name : machine.host_name;
    const std::string fault = name_fault(found);
    if (!fault.empty()) {
        diagnostics.error({}, std::string(from_kubernetes ? "$K8S_NODE_NAME" : "the host name") +
                                  " " + in_quotes(found) + " is no name for a node: " + fault +
                                  "; set node.name");
        return;
    }
    name.value = found;
}

void resolve_address(Config& config, const Environment& machine, Diagnostics& diagnostics) {
    IpAddress& ip = config.node.ip.value;
    if (ip.is_set()) return;
    if (machine.k8s_node_ip.empty()) {
        ip = machine.default_route_address;
        return;
    }
    const auto found = IpAddress::parse(machine.k8s_node_ip);
    if (found) {
        ip = *found;
    } else {
        diagnostics.error({}, "$K8S_NODE_IP " + in_quotes(machine.k8s_node_ip) +
                                  " is no IP address; correct it or set node.ip");
    }
}

// Several nodes behind one public address need ports that differ without anybody handing them out;
// the last byte of a node's address differs wherever nodes share a /24 (IPv6: a /120).
void resolve_listen_port(Wireguard& wireguard, const IpAddress& ip, Diagnostics& diagnostics) {
    Located<uint16_t>& port = wireguard.listen_port;
    const bool automatic = port.value == 0;
    if (automatic) {
        if (!ip.is_set()) {
            diagnostics.error(
                port.at,
                "\"listen_port\" is \"auto\", which needs the node's address, but this "
                "machine has no default route; set node.ip, or write a number");
            return;
        }
        port.value = static_cast<uint16_t>(wireguard.base_port.value + ip.view().back());
    }
    if (port.value == kTailscaledPort) {
        diagnostics.warning(port.at,
                            "the listen port is 41641, which is tailscaled's default; if it "
                            "runs on this machine too, write another number");
    }
}

}  // namespace

void resolve(Config& config, const Environment& machine, Diagnostics& diagnostics) {
    resolve_name(config, machine, diagnostics);
    resolve_address(config, machine, diagnostics);
    if (config.node.workers.value == 0) config.node.workers.value = machine.cores;
    if (!config.wireguard) return;
    Wireguard& wireguard = *config.wireguard;
    resolve_listen_port(wireguard, config.node.ip.value, diagnostics);
    if (wireguard.private_key_file.value.empty()) {
        const std::filesystem::path state(config.node.state_dir.value);
        wireguard.private_key_file = {state / "wireguard.key", wireguard.at};
    }
}

}  // namespace sluice::config
