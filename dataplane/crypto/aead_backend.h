// Which library does ChaCha20-Poly1305 for this process, why, and how much of it.
//
// libipsec-mb where the processor has AVX-512 or AVX2: its job interface takes 160 ns for 64 bytes
// and 375 for 1420 where OpenSSL's EVP takes 390 and 785 (Zen 5, AVX-512; with AVX2 only, 300 and
// 990 against 430 and 1150). OpenSSL everywhere else. README.md says what is known of both.
//
// A backend is used only after it has passed a self-test in this process: a known answer, equality
// with OpenSSL for lengths around every block boundary, and refusal of changed tags.
// Thread: any. Keys hold nothing of a backend, so the choice may change at any time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::crypto {

enum class AeadBackend : uint8_t { kOpenssl, kIpsecMb };
enum class AeadChoice : uint8_t { kAuto, kOpenssl, kIpsecMb };

struct AeadStatus {
    AeadBackend backend = AeadBackend::kOpenssl;
    // Why it is not libipsec-mb although nobody asked for OpenSSL; else empty.
    std::string why_not_ipsec_mb;
};

// Decides for the whole process. Asking for libipsec-mb where it cannot be used gives OpenSSL, as
// kAuto does. A process that never chooses gets kAuto when its first key is set.
AeadStatus choose_aead(AeadChoice choice);
AeadStatus aead_status();

// Packets that libipsec-mb sealed or opened on the calling thread.
uint64_t ipsec_mb_packets();

std::string_view name_of(AeadBackend backend);

}  // namespace sluice::crypto
