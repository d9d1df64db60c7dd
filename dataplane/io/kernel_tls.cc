#include "dataplane/io/kernel_tls.h"

#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "dataplane/io/descriptor.h"

namespace sluice::io {

namespace {

constexpr std::string_view kProtocol = "tls";

template <typename Info>
Info filled(uint16_t cipher, const RecordKeys& keys) {
    Info info{};
    info.info.version = keys.version == 0x0304 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
    info.info.cipher_type = cipher;
    static_assert(sizeof info.salt + sizeof info.iv == 12);
    std::memcpy(info.key, keys.key.data(), sizeof info.key);
    std::memcpy(info.salt, keys.iv.data(), sizeof info.salt);
    std::memcpy(info.iv, keys.iv.data() + sizeof info.salt, sizeof info.iv);
    store_be64(info.rec_seq, keys.sequence);
    return info;
}

template <typename Info>
int set_keys(int socket, Info info) {
    const int result = setsockopt(socket, SOL_TLS, TLS_TX, &info, sizeof info);
    const int error = result == 0 ? 0 : errno;
    wipe(&info, sizeof info);
    return error;
}

template <typename Info>
bool read_sequence(int socket, uint64_t& sequence) {
    Info info{};
    socklen_t length = sizeof info;
    const bool read = getsockopt(socket, SOL_TLS, TLS_TX, &info, &length) == 0;
    sequence = load_be64(info.rec_seq);
    wipe(&info, sizeof info);
    return read;
}

// Two ends of one TCP connection over loopback.
struct Pair {
    Descriptor client;
    Descriptor server;

    bool open() {
        const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        client = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (bind(listener.get(), any, length) != 0 || listen(listener.get(), 1) != 0) return false;
        if (getsockname(listener.get(), any, &length) != 0) return false;
        // Into the backlog, so this does not wait.
        if (connect(client.get(), any, length) != 0) return false;
        server = Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const timeval patience{.tv_sec = 5, .tv_usec = 0};
        setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        return server.is_open();
    }
};

std::string in_words(int error) {
    if (error == ENOENT) {
        return "the kernel has no TLS or no AES-GCM, or their modules are not loaded "
               "(modprobe -a tls gcm)";
    }
    return "the kernel refuses TLS: " + error_text(error);
}

// One record under a key of zeros must be what RFC 8446 makes of it. AES-128-GCM, sequence 0 and
// vector 0, content "sluice" and the type of application data; from an independent implementation.
constexpr std::array<uint8_t, 28> kExpected = {
    0x17, 0x03, 0x03, 0x00, 0x17,  // header; its five bytes are authenticated too
    0x70, 0xe4, 0xaf, 0xa7, 0x03, 0xd3, 0xb4, 0x5a, 0x2d, 0x62, 0x85, 0xd8,
    0xdc, 0x5a, 0x06, 0x9d, 0x84, 0x43, 0xa5, 0xe1, 0xcf, 0x28, 0xab,
};

KernelTlsAbility try_it() {
    KernelTlsAbility ability;
    Pair pair;
    if (!pair.open()) {
        ability.why_not = "it cannot be tried: no TCP connection over loopback";
        return ability;
    }
    const RecordKeys keys;
    if (const int error = set_transmit_keys(pair.server.get(), keys); error != 0) {
        ability.why_not = in_words(error);
        return ability;
    }
    constexpr std::string_view kContent = "sluice";
    std::array<uint8_t, 64> record;
    if (send(pair.server.get(), kContent.data(), kContent.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(kContent.size()) ||
        recv(pair.client.get(), record.data(), kExpected.size(), MSG_WAITALL) !=
            static_cast<ssize_t>(kExpected.size())) {
        ability.why_not = "the kernel's TLS sends nothing in its self-test";
        return ability;
    }
    if (!std::ranges::equal(Bytes(record).first(kExpected.size()), kExpected)) {
        ability.why_not = "the kernel's TLS encrypts wrongly in its self-test";
        return ability;
    }
    ability.transmit = true;
    ability.new_keys = set_transmit_keys(pair.server.get(), keys) == 0;
    return ability;
}

}  // namespace

const KernelTlsAbility& kernel_tls_ability() {
    static const KernelTlsAbility kAbility = try_it();
    return kAbility;
}

int set_transmit_keys(int socket, const RecordKeys& keys) {
    const int attached =
        setsockopt(socket, IPPROTO_TCP, TCP_ULP, kProtocol.data(), kProtocol.size());
    if (attached != 0 && errno != EEXIST) return errno;
    if (keys.cipher == RecordKeys::Cipher::kAes128Gcm) {
        return set_keys(socket,
                        filled<tls12_crypto_info_aes_gcm_128>(TLS_CIPHER_AES_GCM_128, keys));
    }
    return set_keys(socket, filled<tls12_crypto_info_aes_gcm_256>(TLS_CIPHER_AES_GCM_256, keys));
}

long send_tls_record(int socket, uint8_t type, Bytes content) {
    iovec piece{const_cast<uint8_t*>(content.data()), content.size()};
    alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof type)> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_TLS;
    header->cmsg_type = TLS_SET_RECORD_TYPE;
    header->cmsg_len = CMSG_LEN(sizeof type);
    *CMSG_DATA(header) = type;
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

bool transmit_sequence(int socket, const RecordKeys& keys, uint64_t& sequence) {
    if (keys.cipher == RecordKeys::Cipher::kAes128Gcm)
        return read_sequence<tls12_crypto_info_aes_gcm_128>(socket, sequence);
    return read_sequence<tls12_crypto_info_aes_gcm_256>(socket, sequence);
}

bool bytes_given_to_tcp(int socket, uint64_t& bytes) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
    bytes = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
    return true;
}

}  // namespace sluice::io
