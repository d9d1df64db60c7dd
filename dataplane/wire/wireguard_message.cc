#include "dataplane/wire/wireguard_message.h"

#include <cstring>

namespace sluice::wire {

namespace {

// Walks a message field by field. The callers' sizes are constants that were checked as a whole.
class Reader {
  public:
    explicit Reader(Bytes from) : at_(from.data() + 4) {}
    Reader& operator>>(uint32_t& value) {
        value = load_le32(at_);
        at_ += sizeof value;
        return *this;
    }
    template <size_t kSize>
    Reader& operator>>(std::array<uint8_t, kSize>& bytes) {
        std::memcpy(bytes.data(), at_, kSize);
        at_ += kSize;
        return *this;
    }

  private:
    const uint8_t* at_;
};

class Writer {
  public:
    Writer(WireguardType type, MutableBytes to) : at_(to.data()) {
        *this << static_cast<uint32_t>(type);
    }
    Writer& operator<<(uint32_t value) {
        store_le32(at_, value);
        at_ += sizeof value;
        return *this;
    }
    template <size_t kSize>
    Writer& operator<<(const std::array<uint8_t, kSize>& bytes) {
        std::memcpy(at_, bytes.data(), kSize);
        at_ += kSize;
        return *this;
    }

  private:
    uint8_t* at_;
};

}  // namespace

std::expected<WireguardType, DropReason> classify(Bytes datagram) {
    if (datagram.size() < DataHeader::kMessageSizeMin) {
        return std::unexpected(DropReason::kDatagramTooShort);
    }
    const auto type = static_cast<WireguardType>(load_le32(datagram.data()));
    size_t size = 0;
    switch (type) {
        case WireguardType::kData:
            return type;
        case WireguardType::kInitiation:
            size = HandshakeInitiation::kSize;
            break;
        case WireguardType::kResponse:
            size = HandshakeResponse::kSize;
            break;
        case WireguardType::kCookieReply:
            size = CookieReply::kSize;
            break;
        default:
            return std::unexpected(DropReason::kDatagramBadType);
    }
    if (datagram.size() != size) return std::unexpected(DropReason::kDatagramBadLength);
    return type;
}

HandshakeInitiation read_initiation(Bytes datagram) {
    HandshakeInitiation m;
    Reader(datagram) >> m.sender >> m.ephemeral >> m.sealed_static >> m.sealed_timestamp >>
        m.mac1 >> m.mac2;
    return m;
}

HandshakeResponse read_response(Bytes datagram) {
    HandshakeResponse m;
    Reader(datagram) >> m.sender >> m.receiver >> m.ephemeral >> m.sealed_nothing >> m.mac1 >>
        m.mac2;
    return m;
}

CookieReply read_cookie_reply(Bytes datagram) {
    CookieReply m;
    Reader(datagram) >> m.receiver >> m.nonce >> m.sealed_cookie;
    return m;
}

void write(const HandshakeInitiation& m, std::span<uint8_t, HandshakeInitiation::kSize> out) {
    Writer(WireguardType::kInitiation, out)
        << m.sender << m.ephemeral << m.sealed_static << m.sealed_timestamp << m.mac1 << m.mac2;
}

void write(const HandshakeResponse& m, std::span<uint8_t, HandshakeResponse::kSize> out) {
    Writer(WireguardType::kResponse, out)
        << m.sender << m.receiver << m.ephemeral << m.sealed_nothing << m.mac1 << m.mac2;
}

void write(const CookieReply& m, std::span<uint8_t, CookieReply::kSize> out) {
    Writer(WireguardType::kCookieReply, out) << m.receiver << m.nonce << m.sealed_cookie;
}

}  // namespace sluice::wire
