// For tests: the same case over both libraries, and what to put into it.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"
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

inline std::vector<uint8_t> random_bytes(Random& random, size_t size) {
    std::vector<uint8_t> bytes(size);
    random.fill(bytes);
    return bytes;
}

inline Secret<32> random_key(Random& random) {
    Secret<32> key;
    random.fill(key.span());
    return key;
}

}  // namespace sluice::crypto
