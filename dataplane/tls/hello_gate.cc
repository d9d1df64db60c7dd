#include "dataplane/tls/hello_gate.h"

namespace sluice::tls {
namespace {

constexpr uint8_t kRecordHandshake = 22;
constexpr uint8_t kClientHello = 1;

}  // namespace

bool HelloGate::admit(Bytes bytes) {
    for (const uint8_t byte : bytes) {
        switch (stage_) {
            case Stage::kDecided:
                return true;
            case Stage::kRecordHeader:
                record_header_[record_have_++] = byte;
                if (record_have_ < record_header_.size()) break;
                record_have_ = 0;
                payload_left_ = load_be16(record_header_.data() + 3);
                if (record_header_[0] != kRecordHandshake) {
                    stage_ = Stage::kDecided;  // not TLS, or an alert
                } else if (payload_left_ > 0) {
                    stage_ = Stage::kPayload;
                }
                break;
            case Stage::kPayload:
                message_header_[message_have_++] = byte;
                if (message_have_ == message_header_.size()) {
                    stage_ = Stage::kDecided;
                    const uint32_t length = load_be32(message_header_.data()) & 0xffffff;
                    return message_header_[0] != kClientHello || length <= kHelloMax;
                }
                if (--payload_left_ == 0) stage_ = Stage::kRecordHeader;
                break;
        }
    }
    return true;
}

}  // namespace sluice::tls
