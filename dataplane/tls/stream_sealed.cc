// Sealing our own records: when a stream begins to, and what it has to do itself then.
//
// As with the kernel (stream_kernel.cc), OpenSSL goes on to read and to answer, and believes that
// it encrypts. Unlike the kernel we can always change our keys, so nothing ends the connection.
#include <algorithm>
#include <array>

#include "dataplane/base/check.h"
#include "dataplane/tls/piece_reader.h"
#include "dataplane/tls/stream.h"

namespace sluice::tls {

namespace {

// A head, a chunk's frame and payload, and the next one's; more pieces make one more record.
constexpr size_t kPiecesMax = 16;

// Taking over costs some 5 us, for the derivation of the keys, and saves 0.3 us a small record and
// 2.5 us a full one. So a connection that asks once and goes does not do it: it sends one record,
// and not a full one.
bool pays(uint64_t records_before, std::span<const Bytes> pieces) {
    size_t size = 0;
    for (const Bytes piece : pieces)
        size += piece.size();
    return records_before > 0 || size > kRecordMax;
}

}  // namespace

// Records that OpenSSL made and that have not gone do not matter: what we seal goes behind them.
bool Stream::take_over(std::span<const Bytes> pieces) {
    if (keeps_openssl_ || !pays(records_under_key_, pieces)) return false;
    if (!crypto::AesGcmKey::why_not().empty()) return false;
    // A change of keys that OpenSSL has begun must come to its end first.
    if (SSL_get_key_update_type(ssl_.get()) != SSL_KEY_UPDATE_NONE) return false;
    const ErrorQueueScope errors;
    keeps_openssl_ = !new_sealer();
    if (keeps_openssl_) return false;
    notes_.diverted = true;
    context_->takeovers().add();
    transport_.divert();
    return true;
}

bool Stream::new_sealer() {
    const auto keys =
        notes_.write_keys.next(ssl_.get(), context_->library(), transport_.last_nonce());
    if (!keys) return false;
    sealer_ = std::make_unique<RecordSealer>(*keys);
    return true;
}

IoResult Stream::write_sealed(std::span<const Bytes> pieces) {
    if (transport_.holds_ciphertext()) transport_.flush();
    if (transport_.holds_ciphertext()) return {IoStatus::kWouldBlock, 0};

    PieceReader reader(pieces);
    size_t accepted = 0;
    bool fresh = true;  // the key may be used
    while (!reader.done() && accepted < kBatchMax && (fresh = renew_sealer())) {
        std::array<Bytes, kPiecesMax> some;
        size_t size = 0;
        const size_t count = reader.take(some, kRecordMax, size);
        sealer_->seal(SSL3_RT_APPLICATION_DATA, {some.data(), count}, size,
                      transport_.append(sealer_->sealed_size(size)));
        accepted += size;
        ++records_under_key_;
    }
    transport_.uncork();
    if (transport_.broken() || !fresh) {
        state_ = State::kFailed;
        return {IoStatus::kError, 0};
    }
    return {accepted > 0 ? IoStatus::kOk : IoStatus::kWouldBlock, accepted};
}

// As renew_keys(). OpenSSL makes the message and changes its own keys, which nobody sees; ours
// change when the message is sealed.
bool Stream::renew_sealer() {
    if (records_under_key_ >= context_->records_per_key &&
        sealer_->keys().version == TLS1_3_VERSION) {
        const ErrorQueueScope errors;
        // Refused while one half of a message of the peer's is there. One that never completes it
        // does not get a second helping under the old keys.
        if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
            SSL_do_handshake(ssl_.get());
        } else if (records_under_key_ / 2 >= context_->records_per_key) {
            return false;
        }
    }
    return notes_.control.empty() || send_control();
}

void Stream::seal_control(const ControlRecord& record) {
    const std::array<Bytes, 1> content = {record.content};
    sealer_->seal(record.type, content, record.content.size(),
                  transport_.append(sealer_->sealed_size(record.content.size())));
    transport_.uncork();
    if (!record.is_key_update()) return;
    notes_.write_keys.note_key_update();
    records_under_key_ = 0;
}

}  // namespace sluice::tls
