#include "dataplane/tls/client_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::tls {

namespace {

// As on the other side: four records leave in one write below.
constexpr size_t kBatchMax = 64 * 1024;
// A server that asks for new keys again and again and takes no answers is given up beyond this.
constexpr size_t kWaitingMax = 2 * kBatchMax + 16 * 1024;

}  // namespace

ClientStream::ClientStream(std::shared_ptr<ClientContext> context,
                           std::unique_ptr<ByteStream> transport, std::string place,
                           std::string alpn)
    : context_(std::move(context)),
      below_(std::move(transport)),
      place_{std::move(place), nullptr},
      alpn_(std::move(alpn)),
      ssl_(context_->new_connection(place_, alpn_)) {
    below_->set_handler(this);
    if (ssl_ == nullptr) {
        state_ = State::kFailed;
        failure_ = "TLS: " + (context_->fault().empty() ? "out of memory" : context_->fault());
        return;
    }
    BIO* const bio = BIO_new(method());
    SLUICE_CHECK(bio != nullptr);
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);  // takes the one reference for both directions
}

ClientStream::~ClientStream() {
    below_->set_handler(nullptr);
    // Or OpenSSL takes the session of a connection that was not closed in both directions for
    // unusable, and the next handshake would be a full one.
    if (ssl_ != nullptr && state_ == State::kOpen)
        SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

// Made once for the whole process, and only read afterwards.
const BIO_METHOD* ClientStream::method() {
    static const BIO_METHOD* const kMethod = [] {
        BIO_METHOD* made =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice client transport");
        SLUICE_CHECK(made != nullptr);
        BIO_meth_set_read_ex(made, [](BIO* bio, char* into, size_t size, size_t* received) {
            return of(bio).receive(bio, {reinterpret_cast<uint8_t*>(into), size}, received);
        });
        BIO_meth_set_write_ex(made, [](BIO* bio, const char* from, size_t size, size_t* sent) {
            BIO_clear_retry_flags(bio);
            std::vector<uint8_t>& waiting = of(bio).waiting_;
            waiting.insert(waiting.end(), from, from + size);
            *sent = size;
            return 1;
        });
        BIO_meth_set_ctrl(made, [](BIO* bio, int command, long, void*) -> long {
            if (command == BIO_CTRL_FLUSH) return 1;
            return command == BIO_CTRL_EOF && of(bio).ended_ ? 1 : 0;
        });
        return made;
    }();
    return kMethod;
}

int ClientStream::receive(BIO* bio, MutableBytes into, size_t* received) {
    BIO_clear_retry_flags(bio);
    *received = 0;
    if (broken_ || ended_) return 0;
    const IoResult result = below_->read(into);
    switch (result.status) {
        case IoStatus::kOk:
            *received = result.bytes;
            return 1;
        case IoStatus::kWouldBlock:
            dry_ = true;
            BIO_set_retry_read(bio);
            return 0;
        case IoStatus::kEnd:
            ended_ = true;
            return 0;
        case IoStatus::kError:
            break;
    }
    broken_ = true;
    return 0;
}

void ClientStream::send_waiting() {
    while (sent_ < waiting_.size() && !broken_) {
        const IoResult result = below_->write(std::array{Bytes(waiting_).subspan(sent_)});
        if (result.status == IoStatus::kWouldBlock) return;
        if (result.status != IoStatus::kOk) {
            broken_ = true;
            break;
        }
        sent_ += result.bytes;
    }
    sent_ = 0;
    waiting_ = {};  // idle connections hold no buffer
    if (write_ended_ && !broken_ && !std::exchange(transport_ended_, true))
        below_->shutdown_write();
}

void ClientStream::on_stream_ready() {
    send_waiting();
    if (state_ == State::kHandshake) {
        drive_handshake();
        if (state_ == State::kHandshake) return;  // nothing that the handler could use
    }
    if (handler_ != nullptr) handler_->on_stream_ready();  // this may be destroyed now
}

IoStatus ClientStream::judge(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return dry_ ? IoStatus::kWouldBlock : IoStatus::kOk;
        case SSL_ERROR_ZERO_RETURN:
            return IoStatus::kEnd;
        default:
            return IoStatus::kError;
    }
}

void ClientStream::drive_handshake() {
    IoStatus status = IoStatus::kOk;
    dry_ = false;
    const ErrorQueueScope errors;
    while (status == IoStatus::kOk) {
        const int result = SSL_do_handshake(ssl_.get());
        if (result == 1) break;
        status = judge(result);
    }
    if (status == IoStatus::kOk) {
        complete_handshake();
    } else if (status != IoStatus::kWouldBlock) {
        fail_handshake();
    }
    send_waiting();  // a flight, or the alert
    if (broken_ && state_ == State::kHandshake) state_ = State::kFailed;
}

void ClientStream::complete_handshake() {
    const uint8_t* alpn = nullptr;
    unsigned int alpn_size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &alpn_size);
    facts_.alpn = as_text({alpn, alpn_size});
    if (facts_.alpn != alpn_ && !(facts_.alpn.empty() && alpn_ == "http/1.1")) {
        state_ = State::kFailed;
        failure_ = "TLS: the server does not speak " + alpn_;
        return;
    }
    state_ = State::kOpen;
    facts_.version = SSL_get_version(ssl_.get());
    facts_.cipher = SSL_get_cipher_name(ssl_.get());
    facts_.resumed = SSL_session_reused(ssl_.get()) == 1;
    facts_.done = true;
}

void ClientStream::fail_handshake() {
    state_ = State::kFailed;
    context_->forget(place_.name);
    const long verdict = SSL_get_verify_result(ssl_.get());
    if (broken_) return;  // the network's failure, not one of TLS
    if (verdict != X509_V_OK && SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
        failure_ = std::string("TLS: the server's certificate is not accepted: ") +
                   X509_verify_cert_error_string(verdict);
    } else if (ended_) {
        failure_ = "TLS: the server ended the connection in the handshake";
    } else {
        failure_ = "TLS: the handshake failed: " + ErrorQueueScope::reason();
    }
}

IoResult ClientStream::read(MutableBytes into) {
    if (state_ == State::kHandshake) drive_handshake();
    if (state_ == State::kFailed) return {IoStatus::kError, 0};
    if (state_ == State::kHandshake) return {IoStatus::kWouldBlock, 0};
    if (read_ended_) return {IoStatus::kEnd, 0};
    dry_ = false;
    size_t received = 0;
    IoStatus status = IoStatus::kOk;
    while (status == IoStatus::kOk && received < into.size()) {
        const ErrorQueueScope errors;
        size_t part = 0;
        const int result =
            SSL_read_ex(ssl_.get(), into.data() + received, into.size() - received, &part);
        if (result != 1) status = judge(result);
        received += part;
    }
    if (!waiting_.empty()) send_waiting();
    if (waiting_.size() - sent_ > kWaitingMax) status = IoStatus::kError;
    if (status == IoStatus::kEnd) read_ended_ = true;
    if (status == IoStatus::kError) state_ = State::kFailed;
    if (received > 0) return {IoStatus::kOk, received};  // the rest is told by the next call
    return {status == IoStatus::kOk ? IoStatus::kWouldBlock : status, 0};
}

IoResult ClientStream::write(std::span<const Bytes> pieces) {
    if (state_ == State::kHandshake) drive_handshake();
    if (state_ == State::kFailed || write_ended_ || broken_) return {IoStatus::kError, 0};
    if (state_ == State::kHandshake) return {IoStatus::kWouldBlock, 0};
    if (!waiting_.empty()) send_waiting();
    if (!waiting_.empty()) return {IoStatus::kWouldBlock, 0};
    size_t accepted = 0;
    const IoStatus status = write_batch(pieces, accepted);
    send_waiting();
    if (status == IoStatus::kError || broken_) {
        state_ = State::kFailed;
        return {IoStatus::kError, 0};
    }
    if (accepted > 0) return {IoStatus::kOk, accepted};
    return {IoStatus::kWouldBlock, 0};
}

IoStatus ClientStream::write_batch(std::span<const Bytes> pieces, size_t& accepted) {
    const MutableBytes space = context_->gather_space();
    size_t offset = 0;  // in the first piece
    while (!pieces.empty() && accepted < kBatchMax) {
        Bytes record = pieces.front().subspan(offset);
        if (record.size() >= space.size() || pieces.size() == 1) {
            record = record.first(std::min(record.size(), space.size()));
            offset += record.size();
        } else {
            size_t size = 0;
            while (!pieces.empty() && size < space.size()) {
                const Bytes rest = pieces.front().subspan(offset);
                const size_t part = std::min(rest.size(), space.size() - size);
                if (part > 0) std::memcpy(space.data() + size, rest.data(), part);
                size += part;
                offset += part;
                if (offset < pieces.front().size()) break;
                pieces = pieces.subspan(1);
                offset = 0;
            }
            record = space.first(size);
        }
        if (!pieces.empty() && offset == pieces.front().size()) {
            pieces = pieces.subspan(1);
            offset = 0;
        }
        if (record.empty()) continue;
        const ErrorQueueScope errors;
        size_t written = 0;
        // The BIO takes everything, so a record is written whole or not at all.
        if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &written) != 1 ||
            written != record.size())
            return IoStatus::kError;
        accepted += written;
    }
    return IoStatus::kOk;
}

bool ClientStream::flush() {
    if (state_ == State::kHandshake) drive_handshake();
    if (!waiting_.empty()) send_waiting();
    return waiting_.empty() && below_->flush();
}

void ClientStream::shutdown_write() {
    if (std::exchange(write_ended_, true)) return;
    if (state_ == State::kOpen) {
        const ErrorQueueScope errors;
        SSL_shutdown(ssl_.get());
    }
    send_waiting();
}

}  // namespace sluice::tls
