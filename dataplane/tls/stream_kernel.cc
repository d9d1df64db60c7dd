// Sending through the kernel: when a stream goes over to it, and what it has to do itself then.
//
// OpenSSL goes on to read, and to answer: alerts, close_notify, changes of keys. It still believes
// that it encrypts; its records go nowhere, and what they say goes to the kernel as records of
// their types, between those of the data.
#include <algorithm>
#include <array>

#include "dataplane/base/check.h"
#include "dataplane/tls/stream.h"

namespace sluice::tls {

namespace {

// Of a peer that provokes answers and takes none. Reading stops when one of them cannot be sent,
// and in one call no more come than records without data are allowed.
constexpr size_t kControlMax = 64;

}  // namespace

bool ControlRecord::is_key_update() const {
    return type == SSL3_RT_HANDSHAKE && !content.empty() && content[0] == SSL3_MT_KEY_UPDATE;
}

void note_sent(ConnectionNotes& notes, int type, Bytes content) {
    if (notes.diverted) {
        if (type != SSL3_RT_ALERT && type != SSL3_RT_HANDSHAKE) return;
        ControlRecord record{static_cast<uint8_t>(type), {content.begin(), content.end()}};
        // One change answers any number of wishes for one (RFC 8446 section 4.6.3).
        const bool known = record.is_key_update() &&
                           std::ranges::any_of(notes.control, &ControlRecord::is_key_update);
        if (!known && notes.control.size() < kControlMax)
            notes.control.push_back(std::move(record));
        return;
    }
    if (type == SSL3_RT_HEADER) {
        notes.write_keys.note_record();
    } else if (type == SSL3_RT_CHANGE_CIPHER_SPEC) {
        notes.write_keys.note_change_cipher_spec();
    } else if (type == SSL3_RT_HANDSHAKE && content[0] == SSL3_MT_KEY_UPDATE) {
        notes.write_keys.note_key_update();
    }
}

// RFC 8446 section 5.5 bounds what may be encrypted under one key; see records_per_key. Whether a
// body fits is decided before it begins, so that none is cut off.
bool Stream::kernel_bytes_fit(uint64_t bytes) const {
    const uint64_t bound = context_->records_per_key * kRecordMax;
    return kernel_bytes_ <= bound && bytes <= bound - kernel_bytes_;
}

bool Stream::worn_out() const {
    return kernel_writes() &&
           (keys_owed_ || !kernel_bytes_fit(context_->records_per_key * kRecordMax / 2));
}

std::unique_ptr<Conduit> Stream::conduit_from(ByteStream& source, uint64_t bytes) {
    const KernelTls& kernel = context_->kernel_tls();
    if (state_ != State::kOpen || write_ended_) return nullptr;
    if (!kernel_writes() && (!kernel.usable() || bytes < kernel.bytes_min)) return nullptr;
    if (!kernel_bytes_fit(bytes)) return nullptr;
    // One after the other: the kernel can only go on where everything of ours has gone.
    if (!kernel_writes() && transport_.holds_ciphertext() && !transport_.flush()) return nullptr;
    if (!notes_.control.empty() && !send_control()) return nullptr;
    // First, because it can be given back and the keys cannot.
    auto conduit = transport_.below().conduit_from(source, bytes);
    if (conduit == nullptr) return nullptr;
    if (!kernel_writes() && !hand_over()) return nullptr;
    kernel_bytes_ += bytes;
    return conduit;
}

bool Stream::hand_over() {
    // A change of keys that OpenSSL has begun must come to its end first.
    if (transport_.holds_ciphertext() || SSL_get_key_update_type(ssl_.get()) != SSL_KEY_UPDATE_NONE)
        return false;
    const ErrorQueueScope errors;
    const auto keys = sealer_ != nullptr ? sealer_->keys()
                                         : notes_.write_keys.next(ssl_.get(), context_->library(),
                                                                  transport_.last_nonce());
    if (!keys || !transport_.below().encrypt_writes(*keys)) return false;
    sealer_.reset();
    notes_.diverted = true;
    kernel_bytes_ = records_under_key_ * kRecordMax;
    transport_.divert();
    facts_.ktls_transmit = true;
    context_->kernel_tls().uses.add();
    return true;
}

IoResult Stream::write_to_kernel(std::span<const Bytes> pieces) {
    if (!notes_.control.empty() && !send_control()) {
        return {state_ == State::kFailed ? IoStatus::kError : IoStatus::kWouldBlock, 0};
    }
    if (!kernel_bytes_fit(kRecordMax)) {
        context_->drops().add(DropReason::kTlsKeyWornOut);
        state_ = State::kFailed;
        return {IoStatus::kError, 0};
    }
    const IoResult result = transport_.below().write(pieces);
    if (result.status == IoStatus::kError) state_ = State::kFailed;
    kernel_bytes_ += result.bytes;
    return result;
}

// OpenSSL would answer with its next data, and has none any more.
void Stream::answer_key_update() {
    if (SSL_get_key_update_type(ssl_.get()) == SSL_KEY_UPDATE_NONE) return;
    const ErrorQueueScope errors;
    // Refused while one half of a message of the peer's is there; the other half brings us here.
    if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) SSL_do_handshake(ssl_.get());
}

// True: nothing waits any more.
bool Stream::send_control() {
    size_t sent = 0;
    IoStatus status = IoStatus::kOk;
    while (sent < notes_.control.size() && send_control(notes_.control[sent], status))
        ++sent;
    notes_.control.erase(notes_.control.begin(),
                         notes_.control.begin() + static_cast<ptrdiff_t>(sent));
    if (status == IoStatus::kError) {
        state_ = State::kFailed;
        notes_.control.clear();
        return false;
    }
    return notes_.control.empty();
}

bool Stream::send_control(const ControlRecord& record, IoStatus& status) {
    if (sealer_ != nullptr) {
        seal_control(record);
        status = transport_.broken() || (record.is_key_update() && !new_sealer()) ? IoStatus::kError
                                                                                  : IoStatus::kOk;
        return status == IoStatus::kOk;
    }
    if (record.is_key_update() && !context_->kernel_tls().new_keys) {
        // The answer to this wish would have to come before our next data. What is under way was
        // begun before we read it, and is finished; then the connection ends (worn_out()).
        if (!keys_owed_) context_->drops().add(DropReason::kTlsKeyUpdateRefused);
        keys_owed_ = true;
        return true;
    }
    const IoResult written = transport_.below().write_record(record.type, record.content);
    status = written.status;
    if (status != IoStatus::kOk) return false;
    if (!record.is_key_update()) return true;
    const ErrorQueueScope errors;
    notes_.write_keys.note_key_update();
    const auto keys = notes_.write_keys.next(ssl_.get(), context_->library(), 0);
    // The peer expects the next record under the new keys.
    if (!keys || !transport_.below().encrypt_writes(*keys)) {
        status = IoStatus::kError;
        return false;
    }
    kernel_bytes_ = 0;
    return true;
}

}  // namespace sluice::tls
