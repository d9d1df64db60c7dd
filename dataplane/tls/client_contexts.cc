#include "dataplane/tls/client_contexts.h"

#include <map>
#include <utility>

#include "dataplane/tls/client_context.h"
#include "dataplane/tls/client_stream.h"

namespace sluice::tls {

struct ClientContexts::Impl {
    struct Entry {
        std::shared_ptr<const contract::ServerTls> tls;
        std::shared_ptr<ClientContext> context;
    };

    std::shared_ptr<ClientContext> context_of(
        const std::shared_ptr<const contract::ServerTls>& tls) {
        const auto found = contexts.find(tls.get());
        if (found != contexts.end()) return found->second.context;
        const auto made = std::make_shared<ClientContext>(*tls, library, store_of(*tls));
        contexts.emplace(tls.get(), Entry{tls, made});
        return made;
    }

    // Null: the machine's CAs do not count, or cannot be used.
    X509_STORE* store_of(const contract::ServerTls& tls) {
        if (tls.machine_cas_pem == nullptr || !tls.ca_pem.empty()) return nullptr;
        if (machine_cas_pem == tls.machine_cas_pem) return machine_cas.get();
        machine_cas_pem = tls.machine_cas_pem;
        machine_cas.reset(X509_STORE_new());
        if (machine_cas == nullptr ||
            !add_anchors(machine_cas.get(), *machine_cas_pem, library.get()))
            machine_cas.reset();
        return machine_cas.get();
    }

    std::shared_ptr<OSSL_LIB_CTX> library{OSSL_LIB_CTX_new(), OSSL_LIB_CTX_free};
    std::shared_ptr<const std::string> machine_cas_pem;  // what is in the store
    StorePtr machine_cas;
    std::map<const contract::ServerTls*, Entry> contexts;
};

ClientContexts::ClientContexts() : impl_(std::make_unique<Impl>()) {}

ClientContexts::~ClientContexts() = default;

void ClientContexts::prepare(std::span<const std::shared_ptr<const contract::ServerTls>> all) {
    // Streams hold theirs. Whoever still has an older snapshot makes what it needs once more, and
    // that goes with the next one.
    auto before = std::exchange(impl_->contexts, {});
    for (const auto& tls : all) {
        impl_->contexts.insert(before.extract(tls.get()));
        impl_->context_of(tls);
    }
}

std::unique_ptr<ByteStream> ClientContexts::connect(
    std::unique_ptr<ByteStream> transport, const std::shared_ptr<const contract::ServerTls>& tls,
    std::string_view place, std::string_view alpn) {
    return std::make_unique<ClientStream>(impl_->context_of(tls), std::move(transport),
                                          std::string(place), std::string(alpn));
}

}  // namespace sluice::tls
