// TLS records, sealed by ourselves: from the moment when the keys of a direction are known, nobody
// but AES-GCM is needed for data (record_keys.h, crypto/aes_gcm.h).
//
// It takes pieces of content as they lie and puts one whole record where it leaves from, so that
// each byte is touched once.
// Thread: the worker's. Memory: 1.2 KB, wiped at the end.
// Source: RFC 8446 sections 5.2 and 5.3; RFC 5246 section 6.2.3.3 with RFC 5288 section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/record_keys.h"
#include "dataplane/crypto/aes_gcm.h"

namespace sluice::tls {

class RecordSealer {
  public:
    // Precondition: crypto::AesGcmKey::why_not() is empty.
    explicit RecordSealer(const RecordKeys& keys);

    // How long a record with so much content is.
    size_t sealed_size(size_t content) const { return content + keys_.overhead(); }

    // The next record. `pieces` together have `content` bytes, at most 2^14; `into` holds
    // sealed_size(content) bytes and overlaps with none of them.
    void seal(uint8_t type, std::span<const Bytes> pieces, size_t content, uint8_t* into);

    // From the next record on, for whoever goes on.
    const RecordKeys& keys() const { return keys_; }

  private:
    void seal13(uint8_t type, std::span<const Bytes> pieces, size_t content, uint8_t* into);
    void seal12(uint8_t type, std::span<const Bytes> pieces, size_t content, uint8_t* into);
    uint8_t* seal_pieces(std::span<const Bytes> pieces, uint8_t* into);

    RecordKeys keys_;
    crypto::AesGcmKey key_;
};

}  // namespace sluice::tls
