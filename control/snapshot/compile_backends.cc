// Backends, their servers, and the services of forward-auth.
#include <map>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

#include "control/snapshot/compile.h"
#include "dataplane/base/check.h"

namespace sluice::snapshot {

namespace {

using ServerTls = std::shared_ptr<const contract::ServerTls>;

// Servers with the same settings share one object, within a snapshot and from one to the next, so
// that workers make one TLS context of it.
class ServerTlsPool {
  public:
    explicit ServerTlsPool(const contract::Snapshot* before) {
        if (before == nullptr) return;
        for (const contract::BackendConfig& backend : before->backends) {
            for (const contract::ServerConfig& server : backend.servers) {
                if (!server.tls) continue;
                known_.emplace(key_of(*server.tls), server.tls);
                if (server.tls->machine_cas_pem) machine_cas_pem_ = server.tls->machine_cas_pem;
            }
        }
    }

    // What was there before, if it is the same.
    std::shared_ptr<const std::string> machine_cas(const std::shared_ptr<const std::string>& read) {
        if (read == nullptr) return nullptr;
        if (machine_cas_pem_ == nullptr || *machine_cas_pem_ != *read) machine_cas_pem_ = read;
        return machine_cas_pem_;
    }

    ServerTls same_or_new(std::shared_ptr<contract::ServerTls> made) {
        const auto known = known_.find(key_of(*made));
        if (known != known_.end()) return known->second;
        ServerTls kept = std::move(made);
        known_.emplace(key_of(*kept), kept);
        return kept;
    }

  private:
    // Views of the value's own texts, so that no copy of a private key is left behind.
    using Key = std::tuple<std::string_view, std::string_view, const std::string*, bool,
                           std::string_view, std::string_view>;
    static Key key_of(const contract::ServerTls& tls) {
        return {tls.server_name, tls.ca_pem,          tls.machine_cas_pem.get(),
                tls.verify,      tls.certificate_pem, tls.private_key_pem};
    }
    std::shared_ptr<const std::string> machine_cas_pem_;
    std::map<Key, ServerTls> known_;
};

contract::ServerConfig compile_server(const config::Server& from,
                                      const config::ServerTlsFiles& files, ServerTlsPool& pool) {
    contract::ServerConfig to = from.settings;
    if (to.kind != contract::ServerKind::kHttps) return to;
    auto tls = std::make_shared<contract::ServerTls>();
    tls->ca_pem = files.ca_pem;
    tls->machine_cas_pem = pool.machine_cas(files.machine_cas_pem);
    tls->server_name = from.server_name.value;
    if (tls->server_name.empty()) {
        tls->server_name = to.dns_name.empty() ? to.address.address.text() : to.dns_name;
    }
    tls->verify = from.verify.value;
    tls->certificate_pem = files.certificate_pem;
    tls->private_key_pem = files.private_key_pem.text();
    to.tls = pool.same_or_new(std::move(tls));
    return to;
}

contract::BackendConfig hidden_backend(const config::ForwardAuth& service,
                                       contract::ServerConfig server) {
    contract::BackendConfig backend;
    backend.name = "forward-auth:" + service.name.value;
    // The question has a Host header of its own, and one time for all of it.
    backend.connect_timeout = service.settings.timeout;
    backend.response_timeout = service.settings.timeout;
    // A service with one server is asked, however often it failed: resting it would refuse people
    // that it might let in again.
    backend.ejection.failures = 0;
    backend.servers.push_back(std::move(server));
    return backend;
}

}  // namespace

void compile_backends(const config::Loaded& loaded, const contract::Snapshot* before,
                      contract::Snapshot& to) {
    const config::Config& from = loaded.config;
    ServerTlsPool pool(before);
    SLUICE_CHECK(loaded.files.backends.size() == from.backends.size());
    for (size_t i = 0; i < from.backends.size(); ++i) {
        const config::Backend& backend = from.backends[i];
        contract::BackendConfig& compiled = to.backends.emplace_back(backend.settings);
        compiled.name = backend.name.value;
        SLUICE_CHECK(loaded.files.backends[i].size() == backend.servers.size());
        for (size_t j = 0; j < backend.servers.size(); ++j) {
            compiled.servers.push_back(
                compile_server(backend.servers[j], loaded.files.backends[i][j], pool));
        }
    }
    SLUICE_CHECK(loaded.files.forward_auths.size() == from.forward_auths.size());
    for (size_t i = 0; i < from.forward_auths.size(); ++i) {
        const config::ForwardAuth& service = from.forward_auths[i];
        SLUICE_CHECK(service.server.has_value());
        contract::ForwardAuthConfig& compiled = to.forward_auths.emplace_back(service.settings);
        compiled.name = service.name.value;
        compiled.backend = static_cast<uint32_t>(to.backends.size());
        to.backends.push_back(hidden_backend(
            service, compile_server(*service.server, loaded.files.forward_auths[i], pool)));
    }
}

}  // namespace sluice::snapshot
