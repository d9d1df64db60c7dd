#include "control/snapshot/builder.h"

#include <utility>

#include "control/snapshot/compile.h"
#include "dataplane/base/check.h"

namespace sluice::snapshot {

namespace {

contract::WireguardConfig compile_wireguard(const config::Wireguard& from,
                                            const config::Files& files) {
    contract::WireguardConfig to;
    to.interface = from.interface.value;
    to.private_key = files.private_key;
    to.public_key = files.public_key;
    for (const auto& address : from.addresses)
        to.addresses.push_back(address.value);
    to.listen_port = from.listen_port.value;
    to.mtu = from.mtu.value;
    for (size_t i = 0; i < from.peers.size(); ++i) {
        const config::Peer& peer = from.peers[i];
        contract::PeerConfig& compiled = to.peers.emplace_back();
        compiled.name = peer.name.value;
        compiled.public_key = peer.public_key.value;
        compiled.preshared_key = files.preshared_keys[i];
        for (const auto& prefix : peer.allowed_ips) {
            // Host bits say nothing here, and with them one route would have several texts.
            compiled.allowed_ips.push_back(prefix.value.masked());
        }
        if (peer.endpoint) compiled.endpoint = peer.endpoint->value;
        compiled.persistent_keepalive_s = peer.persistent_keepalive_s.value;
    }
    return to;
}

contract::ListenerConfig compile_listener(const config::Listener& from) {
    contract::ListenerConfig to;
    to.name = from.name.value;
    to.address = from.address.value;
    to.scope = from.scope.value;
    to.protocol = from.protocol.value;
    to.redirect_to_https = from.redirect_to_https.value;
    for (const auto& prefix : from.proxy_protocol_from)
        to.proxy_protocol_from.push_back(prefix.value.masked());
    return to;
}

}  // namespace

Builder::Built Builder::build(const config::Loaded& loaded) const {
    const config::Config& from = loaded.config;
    auto to = std::make_shared<contract::Snapshot>();
    to->generation = current_ ? current_->generation + 1 : 1;
    to->node_name = from.node.name.value;
    if (from.wireguard) {
        SLUICE_CHECK(!loaded.files.private_key.is_zero());
        SLUICE_CHECK(loaded.files.preshared_keys.size() == from.wireguard->peers.size());
        to->wireguard = compile_wireguard(*from.wireguard, loaded.files);
    }
    for (const config::Listener& listener : from.listeners)
        to->listeners.push_back(compile_listener(listener));
    to->tls = compile_tls(loaded, current_.get());
    compile_backends(loaded, current_.get(), *to);
    compile_routes(loaded, *to);
    to->access_log = from.access_log.value != "off";
    to->limits = from.limits;
    to->offloads = from.offloads.values();
    if (current_ && digest_of(*to) == digest_) return {current_, false};
    return {std::move(to), true};
}

Builder::Built Builder::build_with(const contract::WireguardConfig& wireguard) const {
    SLUICE_CHECK(current_ != nullptr);
    auto to = std::make_shared<contract::Snapshot>(*current_);
    to->generation = current_->generation + 1;
    to->wireguard = wireguard;
    if (digest_of(*to) == digest_) return {current_, false};
    return {std::move(to), true};
}

Builder::Built Builder::build_tunnel_only(const contract::WireguardConfig& wireguard) const {
    SLUICE_CHECK(current_ == nullptr);
    auto to = std::make_shared<contract::Snapshot>();
    to->generation = 1;
    to->wireguard = wireguard;
    return {std::move(to), true};
}

void Builder::take(const Built& built) {
    if (!built.changed) return;
    // Generations only grow: a worker that has seen a later one must not be sent back.
    SLUICE_CHECK(!current_ || built.snapshot->generation > current_->generation);
    current_ = built.snapshot;
    digest_ = digest_of(*current_);
}

}  // namespace sluice::snapshot
