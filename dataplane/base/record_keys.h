// The keys of one direction of a TLS connection, from one record on: what somebody else needs to go
// on where the TLS library stopped.
// Source: RFC 8446 section 5.3; RFC 5288 section 3 (TLS 1.2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/secret.h"

namespace sluice {

struct RecordKeys {
    enum class Cipher : uint8_t { kAes128Gcm, kAes256Gcm };

    uint16_t version = 0x0304;  // or 0x0303
    Cipher cipher = Cipher::kAes128Gcm;
    Secret<32> key;  // the first key_size() bytes count
    // TLS 1.3: the vector that is combined with the record's number. TLS 1.2: four bytes of salt,
    // and the explicit nonce of the next record, which is counted upwards.
    Secret<12> iv;
    uint64_t sequence = 0;  // of the next record

    size_t key_size() const { return cipher == Cipher::kAes128Gcm ? 16 : 32; }
    // What a record is longer than its content: header, explicit nonce or type, tag.
    size_t overhead() const { return version == 0x0304 ? 5 + 1 + 16 : 5 + 8 + 16; }
};

}  // namespace sluice
