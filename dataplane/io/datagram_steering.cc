// Several sockets on one port, and the program by which the kernel chooses among them.
#include <linux/filter.h>
#include <sys/socket.h>

#include "dataplane/base/check.h"
#include "dataplane/io/datagram_socket.h"

namespace sluice::io {

namespace {

// Classic BPF, which needs no privilege. It sees the UDP payload, and the IP header at SKF_NET_OFF;
// what it returns is the number of the socket, in the order in which they were bound. For a number
// that no socket has the kernel chooses by addresses and ports (linux/net/core/sock_reuseport.c).
std::vector<sock_filter> program_of(const Steering& steering, unsigned sockets) {
    constexpr auto kIpHeader = static_cast<uint32_t>(SKF_NET_OFF);
    // 2^32 divided by the golden ratio, which spreads neighbouring addresses.
    constexpr uint32_t kGolden = 0x9e3779b1;
    std::vector<sock_filter> program;
    const auto add = [&program](uint16_t code, uint32_t value, uint8_t yes = 0, uint8_t no = 0) {
        program.push_back({.code = code, .jt = yes, .jf = no, .k = value});
    };
    add(BPF_LD | BPF_W | BPF_ABS, 0);
    for (const Steering::Rule& rule : steering.rules) {
        constexpr uint8_t kRuleInstructions = 3;
        add(BPF_JMP | BPF_JEQ | BPF_K, load_be32(rule.first_bytes.data()), 0, kRuleInstructions);
        // A datagram that ends before this byte ends the program, and is the first socket's.
        add(BPF_LD | BPF_B | BPF_ABS, rule.offset);
        add(BPF_ALU | BPF_RSH | BPF_K, 8 - steering.bits);
        add(BPF_RET | BPF_A, 0);
    }
    add(BPF_LD | BPF_B | BPF_ABS, kIpHeader);
    add(BPF_ALU | BPF_RSH | BPF_K, 4);
    add(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 2);
    add(BPF_LD | BPF_W | BPF_ABS, kIpHeader + 12);  // IPv4: the source
    add(BPF_JMP | BPF_JA, 4);
    add(BPF_LD | BPF_W | BPF_ABS, kIpHeader + 8);  // IPv6: its first half
    add(BPF_MISC | BPF_TAX, 0);
    add(BPF_LD | BPF_W | BPF_ABS, kIpHeader + 12);
    add(BPF_ALU | BPF_XOR | BPF_X, 0);
    add(BPF_ALU | BPF_MUL | BPF_K, kGolden);
    add(BPF_ALU | BPF_RSH | BPF_K, 16);
    add(BPF_ALU | BPF_MOD | BPF_K, sockets);
    add(BPF_RET | BPF_A, 0);
    return program;
}

}  // namespace

void CloseDatagramSocket::operator()(DatagramSocket* socket) const {
    delete socket;
}

Result<std::vector<OpenedDatagramSocket>> open_datagram_sockets(const DatagramPortOptions& options,
                                                                unsigned count,
                                                                const Steering& steering) {
    SLUICE_CHECK(count > 0);
    std::vector<OpenedDatagramSocket> sockets;
    const auto add = [&sockets](const DatagramPortOptions& chosen,
                                PortSharing sharing) -> Result<void> {
        auto socket = open_datagram_socket(chosen, sharing);
        if (!socket) return std::unexpected(socket.error());
        sockets.emplace_back(new DatagramSocket(std::move(*socket)));
        return {};
    };
    const auto first = add(options, count == 1 ? PortSharing::kAlone : PortSharing::kFirst);
    if (!first) return std::unexpected(first.error());
    if (count == 1) return sockets;
    DatagramPortOptions same = options;
    same.port = sockets.front()->port;
    while (sockets.size() < count) {
        if (auto joined = add(same, PortSharing::kJoin); !joined) {
            return std::unexpected(joined.error());
        }
    }
    SLUICE_CHECK(steering.bits >= 1 && steering.bits <= 8);
    std::vector<sock_filter> program = program_of(steering, count);
    const sock_fprog attached{static_cast<uint16_t>(program.size()), program.data()};
    setsockopt(sockets.front()->descriptor.get(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached,
               sizeof attached);
    return sockets;
}

}  // namespace sluice::io
