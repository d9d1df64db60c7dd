// [offloads] and [limits].
#include <array>

#include "control/config/read_parts.h"

namespace sluice::config {

void read_offloads(const Table* section, Diagnostics& diagnostics, Offloads& offloads) {
    static constexpr auto kLibraries = std::to_array<Choice<contract::AeadLibrary>>({
        {"auto", contract::AeadLibrary::kAuto},
        {"ipsec-mb", contract::AeadLibrary::kIpsecMb},
        {"openssl", contract::AeadLibrary::kOpenssl},
    });
    TableReader table(section, diagnostics);
    table.wanted("udp_gso", offloads.udp_gso);
    table.wanted("udp_gro", offloads.udp_gro);
    table.wanted("tun_tso", offloads.tun_tso);
    table.wanted("tun_uso", offloads.tun_uso);
    table.wanted("tcp_coalescing", offloads.tcp_coalescing);
    table.wanted("udp_coalescing", offloads.udp_coalescing);
    table.choice<contract::AeadLibrary>("aead", kLibraries, offloads.aead);
}

void read_limits(const Table* section, Diagnostics& diagnostics, contract::HttpLimits& limits) {
    TableReader table(section, diagnostics);
    // 1 KiB: a browser's request with a few cookies does not fit below. 1 MiB: every connection
    // may hold that much.
    table.integer("head_bytes", 1024, 1024 * 1024, limits.head_bytes_max);
    table.integer("headers", 8, 1000, limits.header_count_max);
    // 1,000,000: the kernel's own limit of open files (fs.nr_open) is 1,048,576.
    table.integer("connections", 1, 1000000, limits.connections_max);
    table.integer("connections_per_client", 0, 1000000, limits.connections_per_client);
    table.integer("handshakes_per_client", 0, 1000000, limits.handshakes_per_client);
    // 1000: ten times what RFC 9113 section 6.5.2 thinks is enough for anybody; each costs memory.
    table.integer("streams", 1, 1000, limits.streams_max);
    table.duration("head_timeout", limits.head_timeout);
    table.duration("idle_timeout", limits.idle_timeout);
    table.duration("progress_timeout", limits.progress_timeout);
    table.duration("handshake_timeout", limits.handshake_timeout);
}

}  // namespace sluice::config
