// Any datagram: the table of types and lengths is exact, and what is read is written again as it
// was.
#include <algorithm>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/wireguard_message.h"

using namespace sluice;
using namespace sluice::wire;

namespace {

template <typename Message>
void write_again(const Message& message, Bytes original) {
    std::array<uint8_t, Message::kSize> out;
    write(message, out);
    SLUICE_CHECK(std::equal(out.begin(), out.end(), original.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::vector<uint8_t> exact(data, data + size);  // so that reading past the end is seen
    const Bytes datagram(exact);
    const auto type = classify(datagram);
    if (!type) {
        const DropReason reason = type.error();
        SLUICE_CHECK((reason == DropReason::kDatagramTooShort) == (size < 32));
        if (size >= 32) {
            const uint32_t word = load_le32(datagram.data());
            SLUICE_CHECK((reason == DropReason::kDatagramBadType) == (word < 1 || word > 4));
        }
        return 0;
    }
    switch (*type) {
        case WireguardType::kInitiation:
            SLUICE_CHECK(size == 148);
            write_again(read_initiation(datagram), datagram);
            break;
        case WireguardType::kResponse:
            SLUICE_CHECK(size == 92);
            write_again(read_response(datagram), datagram);
            break;
        case WireguardType::kCookieReply:
            SLUICE_CHECK(size == 64);
            write_again(read_cookie_reply(datagram), datagram);
            break;
        case WireguardType::kData:
            SLUICE_CHECK(size >= 32);
            write_again(read_data_header(datagram), datagram);
            break;
    }
    return 0;
}
