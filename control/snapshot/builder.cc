#include "control/snapshot/builder.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

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

using Certificate = std::shared_ptr<const contract::CertificateConfig>;
// By their PEM text, because there may be thousands.
using CertificatesByText = std::multimap<std::string_view, Certificate>;

CertificatesByText index_certificates(const contract::Snapshot* snapshot) {
    CertificatesByText index;
    if (snapshot == nullptr) return index;
    for (const Certificate& certificate : snapshot->tls.certificates) {
        index.emplace(certificate->certificate_pem, certificate);
    }
    return index;
}

// The certificate that was there before for the same hosts with the same bytes, or a new one.
Certificate compile_certificate(const config::Certificate& from,
                                const config::CertificateFiles& files,
                                const CertificatesByText& before) {
    auto made = std::make_shared<contract::CertificateConfig>();
    for (const auto& host : from.hosts)
        made->hosts.push_back(host.value);
    made->certificate_pem = files.certificate_pem;
    made->private_key_pem = files.private_key_pem.text();
    made->not_after = files.not_after;
    const auto [first, last] = before.equal_range(made->certificate_pem);
    const auto same = std::find_if(first, last, [&](const auto& old) {
        return old.second->hosts == made->hosts &&
               old.second->private_key_pem == made->private_key_pem;
    });
    if (same == last) return made;
    return same->second;
}

void compile_routes(const config::Config& from, contract::Snapshot& to) {
    std::map<std::string_view, uint32_t> index;
    for (const config::Backend& backend : from.backends) {
        index.emplace(backend.name.value, static_cast<uint32_t>(to.backends.size()));
        contract::BackendConfig& compiled = to.backends.emplace_back();
        compiled.name = backend.name.value;
        compiled.connect_timeout = backend.connect_timeout.value;
        compiled.response_timeout = backend.response_timeout.value;
        for (const auto& server : backend.servers)
            compiled.servers.push_back(server.value);
    }
    for (const config::Route& route : from.routes) {
        const auto backend = index.find(route.backend.value);
        SLUICE_CHECK(backend != index.end());
        SLUICE_CHECK(route.auth.has_value());
        contract::RouteConfig& compiled = to.routes.emplace_back();
        compiled.name = route.name.value;
        for (const auto& host : route.hosts)
            compiled.hosts.push_back(host.value);
        compiled.path_prefix = route.path_prefix.value;
        compiled.auth = route.auth->value;
        compiled.backend = backend->second;
    }
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
    for (const config::Listener& listener : from.listeners) {
        to->listeners.push_back(
            {listener.name.value, listener.address.value, listener.scope.value});
    }
    to->tls.min_version = from.tls.min_version.value;
    SLUICE_CHECK(loaded.files.certificates.size() == from.certificates.size());
    const CertificatesByText before = index_certificates(current_.get());
    for (size_t i = 0; i < from.certificates.size(); ++i) {
        to->tls.certificates.push_back(
            compile_certificate(from.certificates[i], loaded.files.certificates[i], before));
    }
    compile_routes(from, *to);
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
