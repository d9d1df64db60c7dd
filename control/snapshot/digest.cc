#include <openssl/evp.h>

#include <optional>
#include <type_traits>

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
    template <typename T>
    void optional(const std::optional<T>& value) {
        number(value ? 1 : 0);
        if constexpr (std::is_same_v<T, std::string>) {
            if (value) text(*value);
        } else {
            if (value) number(static_cast<uint64_t>(*value));
        }
    }
    void texts(const std::vector<std::string>& items) {
        list(items, [this](const std::string& item) { text(item); });
    }
    void prefixes(const std::vector<IpPrefix>& items) {
        list(items, [this](const IpPrefix& item) { prefix(item); });
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

void hash(Hasher& to, const contract::ListenerConfig& listener) {
    to.text(listener.name);
    to.endpoint(listener.address);
    to.number(static_cast<uint64_t>(listener.scope));
    to.number(static_cast<uint64_t>(listener.protocol));
    to.number(listener.redirect_to_https);
    to.prefixes(listener.proxy_protocol_from);
}

void hash(Hasher& to, const contract::TlsConfig& tls) {
    to.number(tls.min_version);
    to.number(static_cast<uint64_t>(tls.ktls));
    to.list(tls.trusts, [&](const auto& trust) {
        to.text(trust->name);
        to.text(trust->anchors_pem);
        to.text(trust->crl_pem);
        to.number(trust->crl_wanted);
        to.text(trust->fault);
    });
    to.list(tls.client_certificate_hosts, [&](const contract::ClientCertificateHost& host) {
        to.text(host.host);
        to.list(host.trusts, [&](uint32_t trust) { to.number(trust); });
    });
    to.list(tls.certificates, [&](const auto& certificate) {
        to.texts(certificate->hosts);
        to.text(certificate->certificate_pem);
        to.text(certificate->private_key_pem);
        to.text(certificate->ocsp_response);
    });
}

void hash(Hasher& to, const contract::HeaderEdits& edits) {
    to.texts(edits.remove);
    to.list(edits.set, [&](const auto& header) {
        to.text(header.first);
        to.text(header.second);
    });
}

void hash_conditions(Hasher& to, const contract::RouteConfig& route) {
    to.texts(route.hosts);
    to.text(route.path_prefix);
    to.optional(route.path);
    to.texts(route.methods);
    to.list(route.headers, [&](const contract::HeaderMatch& header) {
        to.text(header.name);
        to.optional(header.value);
    });
    to.prefixes(route.clients);
    to.optional(route.priority);
}

void hash_access(Hasher& to, const contract::RouteConfig& route) {
    to.number(static_cast<uint64_t>(route.auth));
    to.optional(route.forward_auth);
    to.number(route.client_certificate ? 1 : 0);
    if (route.client_certificate) {
        to.number(route.client_certificate->trust);
        to.texts(route.client_certificate->uris);
        to.texts(route.client_certificate->dns);
        to.texts(route.client_certificate->emails);
        to.texts(route.client_certificate->serials);
    }
    to.number(route.rate_limit ? 1 : 0);
    if (route.rate_limit) {
        to.number(route.rate_limit->requests);
        to.time(route.rate_limit->per);
        to.number(route.rate_limit->burst);
        to.number(route.rate_limit->each_client);
    }
    to.optional(route.body_bytes_max);
}

void hash(Hasher& to, const contract::RouteConfig& route) {
    to.text(route.name);
    hash_conditions(to, route);
    hash_access(to, route);
    to.number(route.redirect ? 1 : 0);
    if (route.redirect) {
        to.number(route.redirect->status);
        to.optional(route.redirect->scheme);
        to.optional(route.redirect->host);
        to.optional(route.redirect->port);
        to.optional(route.redirect->path);
    }
    to.text(route.strip_prefix);
    to.text(route.add_prefix);
    hash(to, route.request_headers);
    hash(to, route.response_headers);
    to.number(route.retries);
    to.number(route.backend);
}

void hash(Hasher& to, const contract::ServerConfig& server) {
    to.number(static_cast<uint64_t>(server.kind));
    to.endpoint(server.address);
    to.text(server.dns_name);
    to.text(server.unix_path);
    to.text(server.host);
    to.number(server.weight);
    to.text(server.url);
    to.number(server.tls ? 1 : 0);
    if (!server.tls) return;
    to.text(server.tls->ca_pem);
    to.number(server.tls->machine_cas_pem ? 1 : 0);
    if (server.tls->machine_cas_pem) to.text(*server.tls->machine_cas_pem);
    to.text(server.tls->server_name);
    to.number(server.tls->verify);
    to.text(server.tls->certificate_pem);
    to.text(server.tls->private_key_pem);
}

void hash_care(Hasher& to, const contract::BackendConfig& backend) {
    to.number(backend.sticky ? 1 : 0);
    if (backend.sticky) {
        to.text(backend.sticky->name);
        to.number(backend.sticky->secure);
        to.number(backend.sticky->http_only);
        to.text(backend.sticky->same_site);
        to.time(backend.sticky->max_age);
    }
    to.number(backend.health ? 1 : 0);
    if (backend.health) {
        to.text(backend.health->path);
        to.text(backend.health->host);
        to.time(backend.health->interval);
        to.time(backend.health->timeout);
        to.number(backend.health->healthy_after);
        to.number(backend.health->unhealthy_after);
    }
    to.number(backend.ejection.failures);
    to.time(backend.ejection.rest);
    to.time(backend.ejection.slow_start);
}

void hash(Hasher& to, const contract::BackendConfig& backend) {
    to.text(backend.name);
    to.list(backend.servers, [&](const contract::ServerConfig& server) { hash(to, server); });
    to.number(static_cast<uint64_t>(backend.balance));
    to.number(static_cast<uint64_t>(backend.protocol));
    to.number(backend.pass_host);
    hash_care(to, backend);
    to.time(backend.connect_timeout);
    to.time(backend.response_timeout);
    to.time(backend.idle_timeout);
}

void hash(Hasher& to, const contract::ForwardAuthConfig& service) {
    to.text(service.name);
    to.number(service.backend);
    to.text(service.authority);
    to.text(service.path);
    to.texts(service.response_headers);
    to.texts(service.request_headers);
    to.texts(service.response_cookies);
    to.text(service.signin_url);
    to.optional(service.forward_body);
    to.number(service.preserve_method);
    to.number(service.answer_bytes_max);
    to.time(service.timeout);
}

void hash(Hasher& to, const contract::HttpLimits& limits) {
    to.number(limits.head_bytes_max);
    to.number(limits.header_count_max);
    to.time(limits.head_timeout);
    to.time(limits.idle_timeout);
    to.time(limits.progress_timeout);
    to.number(limits.connections_max);
    to.time(limits.handshake_timeout);
    to.number(limits.connections_per_client);
    to.number(limits.handshakes_per_client);
    to.number(limits.streams_max);
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
    const auto each = [&to](const auto& item) { hash(to, item); };
    to.list(snapshot.listeners, each);
    hash(to, snapshot.tls);
    to.list(snapshot.routes, each);
    to.list(snapshot.backends, each);
    to.list(snapshot.forward_auths, each);
    to.number(snapshot.access_log);
    hash(to, snapshot.limits);
    hash(to, snapshot.offloads);
    return to.finish();
}

}  // namespace sluice::snapshot
