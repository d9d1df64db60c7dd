// WireGuard's cross-platform configuration protocol, the one that wg(8) speaks over
// /var/run/wireguard/INTERFACE.sock: text in, text out. No socket and no device here.
//
// A `set` is all or nothing: it gives the whole configuration that results, or an errno and nothing
// changes. (Other implementations stop half-way at the first wrong line.)
// Thread: control's. Cost: a `set` is O(n log n) in the interface's allowed IPs, whatever it
// changes. Source: the protocol's page "Cross-platform interface"; behaviour of wg(8) 1.0.20210914.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dataplane/contract/report.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::control::uapi {

// Why a request failed: an errno value as the protocol wants it, and a sentence for the log.
struct Failure {
    int error = 0;  // positive, from <errno.h>
    std::string reason;
};

enum class Operation { kGet, kSet };

// One request: all lines up to and with the empty line that ends it.
struct Request {
    Operation operation = Operation::kGet;
    std::string_view settings;  // of a set: the lines between the first and the empty one
    size_t size = 0;            // bytes of the input that the request took
};

// Finds the first request in what was received so far. Nothing: it is not complete yet.
// Failure: the first line is neither get=1 nor set=1, or a get has lines it may not have.
std::expected<std::optional<Request>, Failure> next_request(std::string_view received);

// The configuration that results from a `set` on `current`. An allowed IP that moves to another
// peer is taken from the first. A peer with the interface's own key is ignored. A peer that the
// request makes is named by its public key in base64.
// `public_key_of` is X25519 with the base point; it is asked when the request changes the private
// key.
using PublicKeyOf = contract::Key (*)(const Secret<32>& private_key);
std::expected<contract::WireguardConfig, Failure> apply_set(
    const contract::WireguardConfig& current, std::string_view settings, PublicKeyOf public_key_of);

// The answer to a `get`, without the final errno line.
std::string format_get(const contract::WireguardConfig& config, uint16_t listen_port,
                       std::span<const contract::PeerReport> reports);

// "errno=0\n\n", or the negative value that other user-space implementations send.
std::string format_errno(int error);

}  // namespace sluice::control::uapi
