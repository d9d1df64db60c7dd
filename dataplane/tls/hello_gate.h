// Looks at the first bytes of a connection, before OpenSSL does, for one thing only: how long the
// ClientHello claims to be. OpenSSL believes up to 128 KiB and sets that much memory aside at once,
// so that ten bytes from each of many connections would take gigabytes.
// Source: RFC 8446 sections 4 and 5.1 (a message may be spread over records in any way).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/bytes.h"

namespace sluice::tls {

class HelloGate {
  public:
    // Real ones stay below 4 KiB, with post-quantum key shares, an encrypted inner hello and a
    // ticket; 16 KiB is also what fits in one record. Higher lets strangers reserve more memory,
    // lower would one day refuse a client with longer keys.
    static constexpr uint32_t kHelloMax = 16 * 1024;

    // Takes the bytes in the order of their arrival, in any pieces. False: the ClientHello is too
    // long; end the connection. Everything else that is wrong is left for OpenSSL to refuse.
    bool admit(Bytes bytes);

  private:
    enum class Stage : uint8_t { kRecordHeader, kPayload, kDecided };

    Stage stage_ = Stage::kRecordHeader;
    std::array<uint8_t, 5> record_header_{};
    std::array<uint8_t, 4> message_header_{};
    uint8_t record_have_ = 0;
    uint8_t message_have_ = 0;
    uint16_t payload_left_ = 0;
};

}  // namespace sluice::tls
