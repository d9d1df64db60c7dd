#include "dataplane/tls/transport.h"

#include <array>
#include <utility>

#include "dataplane/base/check.h"

namespace sluice::tls {

namespace {

constexpr size_t kHeaderSize = SSL3_RT_HEADER_LENGTH;

}  // namespace

Transport::Transport(std::unique_ptr<ByteStream> below, ServerContext& context)
    : below_(std::move(below)), context_(context) {}

Transport::~Transport() {
    if (waiting_.capacity() > 0) context_.return_buffer(std::move(waiting_));
}

// Made once for the whole process, and only read afterwards.
const BIO_METHOD* Transport::method() {
    static const BIO_METHOD* const kMethod = [] {
        BIO_METHOD* made =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice transport");
        SLUICE_CHECK(made != nullptr);
        BIO_meth_set_read_ex(made, [](BIO* bio, char* into, size_t size, size_t* received) {
            return of(bio).receive(bio, {reinterpret_cast<uint8_t*>(into), size}, received);
        });
        BIO_meth_set_write_ex(made, [](BIO* bio, const char* from, size_t size, size_t* sent) {
            BIO_clear_retry_flags(bio);
            return of(bio).send({reinterpret_cast<const uint8_t*>(from), size}, sent);
        });
        BIO_meth_set_ctrl(made, [](BIO* bio, int command, long, void*) -> long {
            switch (command) {
                case BIO_CTRL_FLUSH:  // whatever is corked leaves in a moment
                    return 1;
                case BIO_CTRL_EOF:
                    return of(bio).ended_ ? 1 : 0;
                default:  // among them the questions about kernel TLS
                    return 0;
            }
        });
        return made;
    }();
    return kMethod;
}

BioPtr Transport::make_bio() {
    BioPtr bio(BIO_new(method()));
    SLUICE_CHECK(bio != nullptr);
    BIO_set_data(bio.get(), this);
    BIO_set_init(bio.get(), 1);
    return bio;
}

int Transport::receive(BIO* bio, MutableBytes into, size_t* received) {
    BIO_clear_retry_flags(bio);
    *received = 0;
    if (broken_ || ended_) return 0;
    const IoResult result = below_->read(into);
    switch (result.status) {
        case IoStatus::kOk:
            received_anything_ = true;
            if (!gate_.admit(into.first(result.bytes))) {
                broken_ = true;
                return 0;
            }
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

int Transport::send(Bytes ciphertext, size_t* sent) {
    *sent = 0;
    if (broken_) return 0;
    *sent = ciphertext.size();
    if (diverted_) return 1;
    // Records of data come one in each write.
    if (ciphertext.size() >= kHeaderSize + sizeof last_nonce_ &&
        ciphertext[0] == SSL3_RT_APPLICATION_DATA) {
        last_nonce_ = load_be64(ciphertext.data() + kHeaderSize);
    }
    if (corked_ || holds_ciphertext()) {
        hold(ciphertext);
        return 1;
    }
    const IoResult result = below_->write(std::array{ciphertext});
    if (result.status == IoStatus::kError) {
        broken_ = true;
        *sent = 0;
        return 0;
    }
    const size_t taken = result.status == IoStatus::kOk ? result.bytes : 0;
    if (taken < ciphertext.size()) hold(ciphertext.subspan(taken));
    return 1;
}

void Transport::hold(Bytes ciphertext) {
    if (waiting_.capacity() == 0) waiting_ = context_.borrow_buffer();
    if (sent_ > kBatchMax) {  // or a peer that never quite takes all would make it grow for ever
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(sent_));
        sent_ = 0;
    }
    waiting_.insert(waiting_.end(), ciphertext.begin(), ciphertext.end());
}

uint8_t* Transport::append(size_t size) {
    hold({});
    const size_t end = waiting_.size();
    waiting_.resize(end + size);
    return waiting_.data() + end;
}

bool Transport::send_waiting() {
    while (holds_ciphertext() && !broken_) {
        const IoResult result = below_->write(std::array{Bytes(waiting_).subspan(sent_)});
        if (result.status == IoStatus::kOk) {
            sent_ += result.bytes;
        } else if (result.status == IoStatus::kWouldBlock) {
            return true;
        } else {
            broken_ = true;
        }
    }
    // What a broken transport did not take goes nowhere any more.
    sent_ = 0;
    if (waiting_.capacity() > 0) context_.return_buffer(std::exchange(waiting_, {}));
    return !broken_;
}

void Transport::uncork() {
    corked_ = false;
    send_waiting();
}

bool Transport::flush() {
    if (!send_waiting() || holds_ciphertext()) return false;
    if (shutdown_asked_) finish_shutdown();
    return below_->flush();
}

void Transport::shutdown_write() {
    shutdown_asked_ = true;
    if (!holds_ciphertext()) finish_shutdown();
}

void Transport::finish_shutdown() {
    if (std::exchange(shutdown_done_, true)) return;
    below_->shutdown_write();
}

}  // namespace sluice::tls
