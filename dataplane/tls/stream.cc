#include "dataplane/tls/stream.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/tls/piece_reader.h"

namespace sluice::tls {
namespace {

// Records that carry no data (changes of keys, warnings, refused renegotiations) cost us work and
// the peer nothing. No honest peer sends more than a few in a row; OpenSSL stops after 32 empty
// records, so here it is as many. Lower could cut off a client that renews its keys eagerly.
constexpr uint32_t kIdleRecordsMax = 32;

}  // namespace

Stream::Stream(std::shared_ptr<ServerContext> context, std::unique_ptr<ByteStream> transport)
    : context_(std::move(context)),
      transport_(std::move(transport), *context_),
      ssl_(context_->new_connection(notes_)) {
    BIO* bio = transport_.make_bio().release();
    SSL_set_bio(ssl_.get(), bio, bio);  // takes the one reference for both directions
    transport_.below().set_handler(this);
}

Stream::~Stream() {
    transport_.below().set_handler(nullptr);
}

void Stream::on_stream_ready() {
    if (transport_.holds_ciphertext()) transport_.flush();
    if (!notes_.control.empty()) send_control();
    if (state_ == State::kHandshake) {
        drive_handshake();
        if (state_ == State::kHandshake) return;  // nothing that the handler could use
    }
    if (handler_ != nullptr) handler_->on_stream_ready();  // this may be destroyed now
}

IoStatus Stream::judge(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return transport_.dry() ? IoStatus::kWouldBlock : IoStatus::kOk;
        case SSL_ERROR_ZERO_RETURN:
            return IoStatus::kEnd;
        default:
            return IoStatus::kError;
    }
}

void Stream::drive_handshake() {
    IoStatus status = IoStatus::kOk;
    transport_.begin();
    transport_.cork();  // a whole flight in one write
    while (status == IoStatus::kOk) {
        const ErrorQueueScope errors;
        const int result = SSL_do_handshake(ssl_.get());
        if (result == 1) break;
        status = judge(result);
    }
    transport_.uncork();
    if (status == IoStatus::kWouldBlock && transport_.broken()) status = IoStatus::kError;
    if (status == IoStatus::kOk) {
        complete_handshake();
    } else if (status != IoStatus::kWouldBlock) {
        fail_handshake();
    }
}

void Stream::complete_handshake() {
    state_ = State::kOpen;
    notes_.idle_records = 0;
    facts_.server_name = std::move(notes_.server_name);
    facts_.version = SSL_get_version(ssl_.get());
    facts_.cipher = SSL_get_cipher_name(ssl_.get());
    const uint8_t* alpn = nullptr;
    unsigned int alpn_size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &alpn_size);
    facts_.alpn = as_text({alpn, alpn_size});
    facts_.resumed = SSL_session_reused(ssl_.get()) == 1;
    facts_.asked_for_certificate = notes_.asked_for_certificate;
    if (facts_.asked_for_certificate) certificate_ = context_->client_certificate(ssl_.get());
    if (facts_.resumed) context_->resumptions().add();
    notes_.certificates.reset();
    facts_.done = true;
    context_->handshakes().add();
}

void Stream::fail_handshake() {
    state_ = State::kFailed;
    transport_.shutdown_write();  // after the alert
    // Whoever connects and leaves without a byte asked for nothing: a health check, a port scan.
    if (!transport_.received_anything()) return;
    context_->drops().add(notes_.unknown_name ? DropReason::kTlsUnknownServerName
                                              : DropReason::kTlsHandshakeFailed);
}

IoResult Stream::read(MutableBytes into) {
    if (state_ == State::kHandshake) drive_handshake();
    if (state_ == State::kFailed) return {IoStatus::kError, 0};
    if (state_ == State::kHandshake) return {IoStatus::kWouldBlock, 0};
    if (read_ended_) return {IoStatus::kEnd, 0};
    // Reading can make us write (answers to changes of keys). A peer that sends them and takes no
    // answers has to wait. One that merely is slow to take our data does not: it may well be busy
    // sending, and would wait for ever.
    if (transport_.overfull()) {
        transport_.flush();
        if (transport_.overfull()) return {IoStatus::kWouldBlock, 0};
    }
    if (!notes_.control.empty() && !send_control()) {
        return {state_ == State::kFailed ? IoStatus::kError : IoStatus::kWouldBlock, 0};
    }

    transport_.begin();
    size_t received = 0;
    IoStatus status = IoStatus::kOk;
    while (status == IoStatus::kOk && received < into.size()) {
        const ErrorQueueScope errors;
        size_t part = 0;
        const int result =
            SSL_read_ex(ssl_.get(), into.data() + received, into.size() - received, &part);
        if (result != 1) status = judge(result);
        if (status == IoStatus::kOk && notes_.idle_records > kIdleRecordsMax) {
            status = IoStatus::kError;
        }
        if (result == 1) notes_.idle_records = 0;
        received += part;
    }
    if (notes_.diverted) answer_key_update();
    if (!notes_.control.empty()) send_control();  // a fatal alert included
    if (status == IoStatus::kEnd) read_ended_ = true;
    if (status == IoStatus::kError) state_ = State::kFailed;
    if (received > 0) return {IoStatus::kOk, received};  // the rest is told by the next call
    return {status == IoStatus::kOk ? IoStatus::kWouldBlock : status, 0};
}

IoResult Stream::write(std::span<const Bytes> pieces) {
    if (state_ == State::kHandshake) drive_handshake();
    if (state_ == State::kFailed || write_ended_) return {IoStatus::kError, 0};
    if (state_ == State::kHandshake) return {IoStatus::kWouldBlock, 0};
    if (kernel_writes()) return write_to_kernel(pieces);
    if (sealer_ != nullptr || take_over(pieces)) return write_sealed(pieces);
    if (transport_.holds_ciphertext()) transport_.flush();
    if (transport_.broken()) return {IoStatus::kError, 0};
    if (transport_.holds_ciphertext()) return {IoStatus::kWouldBlock, 0};

    PieceReader reader(pieces);
    size_t accepted = 0;
    transport_.begin();
    const IoStatus status = write_batch(reader, &accepted);
    transport_.uncork();
    if (status == IoStatus::kError || transport_.broken()) {
        state_ = State::kFailed;
        return {IoStatus::kError, 0};
    }
    if (accepted > 0) return {IoStatus::kOk, accepted};
    return {IoStatus::kWouldBlock, 0};
}

IoStatus Stream::write_batch(PieceReader& pieces, size_t* accepted) {
    while (!pieces.done() && *accepted < kBatchMax) {
        if (!renew_keys()) return IoStatus::kError;
        const Bytes record = pieces.next(context_->gather_space(), kRecordMax);
        // Several records are collected for one write below; a single one goes there directly.
        if (!pieces.done() && *accepted + record.size() < kBatchMax) transport_.cork();
        if (const IoStatus status = encrypt_record(record); status != IoStatus::kOk) return status;
        *accepted += record.size();
        ++records_under_key_;
    }
    return IoStatus::kOk;
}

IoStatus Stream::encrypt_record(Bytes record) {
    IoStatus status = IoStatus::kOk;
    while (status == IoStatus::kOk) {
        const ErrorQueueScope errors;
        size_t written = 0;
        const int result = SSL_write_ex(ssl_.get(), record.data(), record.size(), &written);
        if (result == 1) {
            SLUICE_CHECK(written == record.size());
            return IoStatus::kOk;
        }
        // The peer may have sent one half of a message that changes keys. Nothing can be sent
        // before the other half is there; its coming calls the handler.
        status = judge(result);
    }
    return status == IoStatus::kWouldBlock ? status : IoStatus::kError;
}

bool Stream::renew_keys() {
    if (records_under_key_ < context_->records_per_key) return true;
    if (SSL_version(ssl_.get()) < TLS1_3_VERSION) return true;  // has no such message
    records_under_key_ = 0;
    const ErrorQueueScope errors;
    return SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
}

bool Stream::flush() {
    if (!notes_.control.empty() && !send_control()) return state_ == State::kFailed;
    if (std::exchange(shutdown_owed_, false)) transport_.shutdown_write();
    return transport_.flush();
}

void Stream::shutdown_write() {
    if (std::exchange(write_ended_, true)) return;
    if (state_ == State::kOpen) {
        const ErrorQueueScope errors;
        SSL_shutdown(ssl_.get());
    }
    if (state_ == State::kHandshake) state_ = State::kFailed;
    shutdown_owed_ = !notes_.control.empty() && !send_control() && state_ == State::kOpen;
    if (!shutdown_owed_) transport_.shutdown_write();
}

}  // namespace sluice::tls
