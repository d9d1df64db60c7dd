#include "dataplane/crypto/aead_backend.h"

#include <mutex>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aead_chosen.h"

namespace sluice::crypto {

constinit std::atomic<const AeadFunctions*> chosen_aead{nullptr};

namespace {

std::mutex mutex;  // choosing is rare; keys read what was chosen without a lock
AeadStatus status;

AeadStatus decide(AeadChoice choice, const AeadFunctions*& functions) {
    functions = &openssl_aead();
    SLUICE_CHECK(aead_fault(openssl_aead(), openssl_aead()).empty());
    if (choice == AeadChoice::kOpenssl) return {};
    const IpsecMb found = ipsec_mb_aead();
    if (found.functions == nullptr) return {.why_not_ipsec_mb = found.why_not};
    if (const std::string fault = aead_fault(*found.functions, openssl_aead()); !fault.empty()) {
        return {.why_not_ipsec_mb = "the self-test of libipsec-mb found " + fault};
    }
    functions = found.functions;
    return {.backend = AeadBackend::kIpsecMb, .why_not_ipsec_mb = {}};
}

}  // namespace

AeadStatus choose_aead(AeadChoice choice) {
    const std::lock_guard lock(mutex);
    const AeadFunctions* functions = nullptr;
    status = decide(choice, functions);
    chosen_aead.store(functions, std::memory_order_release);
    return status;
}

AeadStatus aead_status() {
    if (chosen_aead.load(std::memory_order_acquire) == nullptr) choose_aead(AeadChoice::kAuto);
    const std::lock_guard lock(mutex);
    return status;
}

std::string_view name_of(AeadBackend backend) {
    return backend == AeadBackend::kIpsecMb ? "libipsec-mb" : "OpenSSL";
}

}  // namespace sluice::crypto
