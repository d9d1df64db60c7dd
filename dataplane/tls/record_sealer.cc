#include "dataplane/tls/record_sealer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/base/check.h"

namespace sluice::tls {

namespace {

constexpr uint8_t kApplicationData = 23;
constexpr size_t kHeaderSize = 5;
constexpr size_t kSaltSize = 4;
constexpr size_t kExplicitNonceSize = 8;
constexpr uint16_t kRecordVersion = 0x0303;  // of both; TLS 1.3 hides its own (RFC 8446 5.1)

void write_header(uint8_t type, size_t size, uint8_t* into) {
    into[0] = type;
    store_be16(into + 1, kRecordVersion);
    store_be16(into + 3, static_cast<uint16_t>(size));
}

}  // namespace

RecordSealer::RecordSealer(const RecordKeys& keys)
    : keys_(keys), key_(keys_.key.span().first(keys_.key_size())) {}

void RecordSealer::seal(uint8_t type, std::span<const Bytes> pieces, size_t content,
                        uint8_t* into) {
    SLUICE_CHECK(content <= size_t{1} << 14);
    if (keys_.version == 0x0304) {
        seal13(type, pieces, content, into);
    } else {
        seal12(type, pieces, content, into);
    }
    ++keys_.sequence;
}

uint8_t* RecordSealer::seal_pieces(std::span<const Bytes> pieces, uint8_t* into) {
    for (const Bytes piece : pieces) {
        if (piece.empty()) continue;
        key_.seal_piece(piece, into);
        into += piece.size();
    }
    return into;
}

// The true type follows the content; the nonce is the record's number, combined with the vector.
void RecordSealer::seal13(uint8_t type, std::span<const Bytes> pieces, size_t content,
                          uint8_t* into) {
    write_header(kApplicationData, content + 1 + crypto::AesGcmKey::kTagSize, into);
    std::array<uint8_t, crypto::AesGcmKey::kNonceSize> nonce;
    std::copy_n(keys_.iv.data(), nonce.size(), nonce.begin());
    uint8_t* const counter = nonce.data() + kSaltSize;
    store_be64(counter, load_be64(counter) ^ keys_.sequence);
    key_.begin_seal(nonce, {into, kHeaderSize});
    uint8_t* const behind = seal_pieces(pieces, into + kHeaderSize);
    key_.seal_piece({&type, 1}, behind);
    key_.end_seal(behind + 1);
}

// The nonce is the salt and a counter that stands before the content; the number of the record, its
// type and its length are authenticated.
void RecordSealer::seal12(uint8_t type, std::span<const Bytes> pieces, size_t content,
                          uint8_t* into) {
    write_header(type, kExplicitNonceSize + content + crypto::AesGcmKey::kTagSize, into);
    uint8_t* const counter = keys_.iv.data() + kSaltSize;
    std::memcpy(into + kHeaderSize, counter, kExplicitNonceSize);
    std::array<uint8_t, 8 + kHeaderSize> additional;
    store_be64(additional.data(), keys_.sequence);
    write_header(type, content, additional.data() + 8);
    key_.begin_seal(crypto::AesGcmKey::Nonce(keys_.iv.data(), crypto::AesGcmKey::kNonceSize),
                    additional);
    key_.end_seal(seal_pieces(pieces, into + kHeaderSize + kExplicitNonceSize));
    store_be64(counter, load_be64(counter) + 1);
}

}  // namespace sluice::tls
