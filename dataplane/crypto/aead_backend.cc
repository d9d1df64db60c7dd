#include "dataplane/crypto/aead_backend.h"

#include <mutex>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aead_chosen.h"

namespace sluice::crypto {

constinit std::atomic<const AeadFunctions*> chosen_aead{nullptr};

namespace {

std::mutex mutex;  // choosing is rare; keys read what was chosen without a lock

// Made when it is first asked for, so that it is there whoever chooses first.
AeadStatus& status() {
    static AeadStatus made;
    return made;
}

AeadStatus decide(AeadChoice choice, const IpsecMb& candidate, const AeadFunctions*& functions) {
    functions = &openssl_aead();
    SLUICE_CHECK(aead_fault(openssl_aead(), openssl_aead()).empty());
    if (choice == AeadChoice::kOpenssl) return {};
    if (candidate.functions == nullptr) return {.why_not_ipsec_mb = candidate.why_not};
    const std::string fault = aead_fault(*candidate.functions, openssl_aead());
    if (!fault.empty()) return {.why_not_ipsec_mb = "its self-test found " + fault};
    functions = candidate.functions;
    return {.backend = AeadBackend::kIpsecMb, .why_not_ipsec_mb = {}};
}

}  // namespace

AeadStatus choose_aead_from(AeadChoice choice, const IpsecMb& candidate) {
    const std::lock_guard lock(mutex);
    const AeadFunctions* functions = nullptr;
    status() = decide(choice, candidate, functions);
    chosen_aead.store(functions, std::memory_order_release);
    return status();
}

AeadStatus choose_aead(AeadChoice choice) {
    return choose_aead_from(choice, choice == AeadChoice::kOpenssl ? IpsecMb{} : ipsec_mb_aead());
}

AeadStatus aead_status() {
    if (chosen_aead.load(std::memory_order_acquire) == nullptr) choose_aead(AeadChoice::kAuto);
    const std::lock_guard lock(mutex);
    return status();
}

std::string_view name_of(AeadBackend backend) {
    return backend == AeadBackend::kIpsecMb ? "libipsec-mb" : "OpenSSL";
}

}  // namespace sluice::crypto
