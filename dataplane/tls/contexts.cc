#include "dataplane/tls/contexts.h"

#include <utility>

#include "dataplane/tls/server_context.h"
#include "dataplane/tls/stream.h"

namespace sluice::tls {

struct Contexts::Impl {
    std::shared_ptr<ServerContext> context;
};

Contexts::Contexts(DropCounters& drops)
    : impl_(std::make_unique<Impl>(Impl{std::make_shared<ServerContext>(drops)})) {}

Contexts::~Contexts() = default;

Result<void> Contexts::apply(const contract::TlsConfig& config) {
    return impl_->context->apply(config);
}

std::unique_ptr<ByteStream> Contexts::accept(std::unique_ptr<ByteStream> transport) {
    return std::make_unique<Stream>(impl_->context, std::move(transport));
}

void Contexts::set_kernel_tls(bool transmit, bool new_keys) {
    impl_->context->kernel_tls().transmit = transmit;
    impl_->context->kernel_tls().new_keys = new_keys;
}

uint64_t Contexts::kernel_tls_uses() const {
    return impl_->context->kernel_tls().uses.value();
}

contract::Wanted Contexts::kernel_tls_wanted() const {
    return impl_->context->kernel_tls().wanted;
}

void Contexts::set_ticket_keys(std::shared_ptr<const contract::TicketKeys> keys) {
    impl_->context->set_ticket_keys(std::move(keys));
}

void Contexts::offer_http2(bool offer) {
    impl_->context->offer_http2(offer);
}

void Contexts::set_now(const Now& now) {
    impl_->context->set_now(now);
}

void Contexts::report(contract::WorkerReport& report) const {
    impl_->context->report(report);
}

uint64_t Contexts::handshakes() const {
    return impl_->context->handshakes().value();
}

}  // namespace sluice::tls
