#include <openssl/evp.h>

#include "control/snapshot/builder.h"
#include "dataplane/base/check.h"

namespace sluice::snapshot {

namespace {

// Every variable-length thing goes in behind its length, so that no two contents share one stream
// of bytes.
class Hasher {
  public:
    Hasher() : context_(EVP_MD_CTX_new()) {
        SLUICE_CHECK(context_ != nullptr);
        SLUICE_CHECK(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
    }
    Hasher(const Hasher&) = delete;
    Hasher& operator=(const Hasher&) = delete;
    ~Hasher() { EVP_MD_CTX_free(context_); }

    void bytes(Bytes content) {
        number(content.size());
        SLUICE_CHECK(EVP_DigestUpdate(context_, content.data(), content.size()) == 1);
    }
    void text(std::string_view content) { bytes(as_bytes(content)); }
    void number(uint64_t value) {
        SLUICE_CHECK(EVP_DigestUpdate(context_, &value, sizeof value) == 1);
    }
    void time(Duration value) { number(static_cast<uint64_t>(value.count())); }
    void address(const IpAddress& value) {
        number(static_cast<uint64_t>(value.family));
        bytes(value.bytes);
    }
    void prefix(const IpPrefix& value) {
        address(value.address);
        number(value.length);
    }
    void endpoint(const Endpoint& value) {
        address(value.address);
        number(value.port);
    }
    template <typename Items, typename Each>
    void list(const Items& items, Each each) {
        number(items.size());
        for (const auto& item : items)
            each(item);
    }
    Digest finish() {
        Digest digest{};
        unsigned length = 0;
        SLUICE_CHECK(EVP_DigestFinal_ex(context_, digest.data(), &length) == 1);
        SLUICE_CHECK(length == digest.size());
        return digest;
    }

  private:
    EVP_MD_CTX* context_;
};

void hash(Hasher& to, const contract::WireguardConfig& wireguard) {
    to.text(wireguard.interface);
    to.bytes(wireguard.private_key.span());
    to.list(wireguard.addresses, [&](const IpPrefix& prefix) { to.prefix(prefix); });
    to.number(wireguard.listen_port);
    to.number(wireguard.fwmark);
    to.number(wireguard.mtu);
    to.list(wireguard.peers, [&](const contract::PeerConfig& peer) {
        to.text(peer.name);
        to.bytes(peer.public_key);
        to.bytes(peer.preshared_key.span());
        to.list(peer.allowed_ips, [&](const IpPrefix& prefix) { to.prefix(prefix); });
        to.endpoint(peer.endpoint.value_or(Endpoint{}));
        to.number(peer.persistent_keepalive_s);
    });
}

void hash(Hasher& to, const contract::TlsConfig& tls) {
    to.number(tls.min_version);
    to.list(tls.certificates, [&](const auto& certificate) {
        to.list(certificate->hosts, [&](const std::string& host) { to.text(host); });
        to.text(certificate->certificate_pem);
        to.text(certificate->private_key_pem);
    });
}

void hash(Hasher& to, const contract::BackendConfig& backend) {
    to.text(backend.name);
    to.time(backend.connect_timeout);
    to.time(backend.response_timeout);
    to.list(backend.servers, [&](const contract::ServerConfig& server) {
        to.number(static_cast<uint64_t>(server.kind));
        to.endpoint(server.address);
        to.text(server.host);
        to.number(server.weight);
        to.text(server.url);
    });
}

void hash(Hasher& to, const contract::HttpLimits& limits) {
    to.number(limits.head_bytes_max);
    to.number(limits.header_count_max);
    to.time(limits.head_timeout);
    to.time(limits.idle_timeout);
    to.time(limits.progress_timeout);
    to.number(limits.connections_max);
}

void hash(Hasher& to, const contract::OffloadConfig& offloads) {
    for (const contract::Wanted wanted :
         {offloads.udp_gso, offloads.udp_gro, offloads.tun_tso, offloads.tun_uso,
          offloads.tcp_coalescing, offloads.udp_coalescing}) {
        to.number(static_cast<uint64_t>(wanted));
    }
    to.number(static_cast<uint64_t>(offloads.aead));
}

}  // namespace

Digest digest_of(const contract::Snapshot& snapshot) {
    Hasher to;
    to.text(snapshot.node_name);
    to.number(snapshot.wireguard ? 1 : 0);
    if (snapshot.wireguard) hash(to, *snapshot.wireguard);
    to.list(snapshot.listeners, [&](const contract::ListenerConfig& listener) {
        to.text(listener.name);
        to.endpoint(listener.address);
        to.number(static_cast<uint64_t>(listener.scope));
    });
    hash(to, snapshot.tls);
    to.list(snapshot.routes, [&](const contract::RouteConfig& route) {
        to.text(route.name);
        to.list(route.hosts, [&](const std::string& host) { to.text(host); });
        to.text(route.path_prefix);
        to.number(static_cast<uint64_t>(route.auth));
        to.number(route.backend);
    });
    to.list(snapshot.backends, [&](const contract::BackendConfig& backend) { hash(to, backend); });
    hash(to, snapshot.limits);
    hash(to, snapshot.offloads);
    return to.finish();
}

}  // namespace sluice::snapshot
