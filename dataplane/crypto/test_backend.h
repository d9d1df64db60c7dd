// For tests: the same case over both libraries.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "dataplane/crypto/aead_backend.h"

namespace sluice::crypto {

// Use as: if (!use_backend(GENERATE(AeadChoice::kOpenssl, AeadChoice::kIpsecMb))) return;
inline bool use_backend(AeadChoice choice) {
    const AeadStatus status = choose_aead(choice);
    if (choice == AeadChoice::kOpenssl || status.backend == AeadBackend::kIpsecMb) return true;
    // A machine that lacks something is no failure; a library that is there and wrong is.
    if (status.why_not_ipsec_mb.find("self-test") != std::string::npos) {
        FAIL(status.why_not_ipsec_mb);
    }
    WARN("libipsec-mb is not tested: " << status.why_not_ipsec_mb);
    return false;
}

}  // namespace sluice::crypto
