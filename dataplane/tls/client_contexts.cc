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
    std::map<const contract::ServerTls*, Entry> contexts;
};

ClientContexts::ClientContexts() : impl_(std::make_unique<Impl>()) {}

ClientContexts::~ClientContexts() = default;

std::unique_ptr<ByteStream> ClientContexts::connect(
    std::unique_ptr<ByteStream> transport, const std::shared_ptr<const contract::ServerTls>& tls,
    std::string_view place, std::string_view alpn) {
    auto& contexts = impl_->contexts;
    auto found = contexts.find(tls.get());
    if (found == contexts.end()) {
        // Only we hold those that no snapshot has any more.
        std::erase_if(contexts,
                      [](const auto& entry) { return entry.second.tls.use_count() == 1; });
        const auto entry = Impl::Entry{tls, std::make_shared<ClientContext>(*tls)};
        found = contexts.emplace(tls.get(), entry).first;
    }
    return std::make_unique<ClientStream>(found->second.context, std::move(transport),
                                          std::string(place), std::string(alpn));
}

}  // namespace sluice::tls
