// Any bytes on WireGuard's socket: a request is found the same whatever the split, a set never
// leaves an allowed IP with two peers, and what get says makes, when set on nothing, the same
// again.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "control/uapi/protocol.h"

namespace {

using namespace sluice;
using namespace sluice::control;

contract::Key own_key(const Secret<32>& private_key) {
    contract::Key key{};
    std::copy_n(private_key.data(), key.size(), key.begin());
    key[31] ^= 1;
    return key;
}

void require(bool condition) {
    if (!condition) std::abort();
}

// The lines of a get that are also lines of a set.
std::string settable(const std::string& get) {
    std::string out;
    size_t begin = 0;
    while (begin < get.size()) {
        const size_t end = get.find('\n', begin) + 1;
        const std::string line = get.substr(begin, end - begin);
        const bool read_only = line.starts_with("last_handshake") || line.starts_with("tx_") ||
                               line.starts_with("rx_");
        if (!read_only) out += line;
        begin = end;
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    contract::WireguardConfig config;
    for (;;) {
        const auto request = uapi::next_request(rest);
        if (!request || !*request) break;
        for (size_t part = 0; part < (*request)->size; ++part) {
            const auto earlier = uapi::next_request(rest.substr(0, part));
            require(earlier && !*earlier);
        }
        const auto set = uapi::apply_set(config, (*request)->settings, own_key);
        if (set) config = *set;
        rest.remove_prefix((*request)->size);
        std::set<IpPrefix> seen;
        for (const contract::PeerConfig& peer : config.peers) {
            for (const IpPrefix& prefix : peer.allowed_ips)
                require(seen.insert(prefix).second);
        }
        const std::string text = uapi::format_get(config, config.listen_port, {});
        const auto again = uapi::apply_set({}, settable(text), own_key);
        require(again.has_value());
        require(uapi::format_get(*again, again->listen_port, {}) == text);
    }
    return 0;
}
