#include "control/uapi/protocol.h"

#include <cerrno>
#include <charconv>
#include <map>
#include <set>

namespace sluice::control::uapi {

namespace {

using contract::Key;
using contract::PeerConfig;
using contract::WireguardConfig;

std::unexpected<Failure> refuse(int error, std::string reason) {
    return std::unexpected(Failure{error, std::move(reason)});
}

std::string to_hex(Bytes bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const uint8_t byte : bytes) {
        text.push_back(kDigits[byte >> 4]);
        text.push_back(kDigits[byte & 15]);
    }
    return text;
}

std::optional<Key> key_from_hex(std::string_view text) {
    Key key;
    if (text.size() != key.size() * 2) return {};
    for (size_t i = 0; i < key.size(); ++i) {
        const char* pair = text.data() + i * 2;
        const auto [end, error] = std::from_chars(pair, pair + 2, key[i], 16);
        if (error != std::errc() || end != pair + 2) return {};
    }
    return key;
}

template <typename Int>
std::optional<Int> number_from(std::string_view text) {
    Int value = 0;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, value);
    if (text.empty() || error != std::errc() || end != last) return {};
    return value;
}

std::string base64_of(const Key& key) {
    static constexpr char kDigits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t i = 0; i < key.size(); i += 3) {
        uint32_t group = 0;
        for (size_t j = 0; j < 3; ++j)
            group = group << 8 | (i + j < key.size() ? key[i + j] : 0);
        for (int shift = 18; shift >= 0; shift -= 6)
            text.push_back(kDigits[group >> shift & 63]);
    }
    text.back() = '=';  // 32 bytes leave two in the last group
    return text;
}

// An interface while a request changes it: peers and prefixes by value, so that each line costs a
// look-up and no search.
class Draft {
  public:
    Draft(const WireguardConfig& current, PublicKeyOf public_key_of)
        : config_(current), public_key_of_(public_key_of) {
        for (PeerConfig& peer : config_.peers) {
            const Key key = peer.public_key;
            order_.push_back(key);
            for (const IpPrefix& prefix : peer.allowed_ips) {
                owners_[prefix.masked()] = key;
                prefixes_[key].insert(prefix.masked());
            }
            peers_.emplace(key, std::move(peer));
        }
    }

    std::expected<void, Failure> apply(std::string_view name, std::string_view value) {
        if (name == "public_key") return begin_peer(value);
        return in_peer_ ? apply_to_peer(name, value) : apply_to_interface(name, value);
    }

    WireguardConfig finish() {
        config_.peers.clear();
        for (const Key& key : order_) {
            const auto found = peers_.find(key);
            if (found == peers_.end() || key == config_.public_key) continue;
            PeerConfig& peer = found->second;
            const auto& prefixes = prefixes_[key];
            peer.allowed_ips.assign(prefixes.begin(), prefixes.end());
            config_.peers.push_back(std::move(peer));
            peers_.erase(found);  // a key removed and made again stands in the order twice
        }
        return std::move(config_);
    }

  private:
    std::expected<void, Failure> apply_to_interface(std::string_view name, std::string_view value) {
        if (name == "private_key") {
            const auto key = key_from_hex(value);
            if (!key) return refuse(EINVAL, "private_key is not 64 hex digits");
            config_.private_key = Secret<32>(*key);
            config_.public_key = public_key_of_(config_.private_key);
            return {};
        }
        if (name == "listen_port") {
            const auto port = number_from<uint16_t>(value);
            if (!port) return refuse(EINVAL, "listen_port is not a port");
            config_.listen_port = *port;
            return {};
        }
        if (name == "fwmark") {
            const auto mark = number_from<uint32_t>(value);
            if (!mark) return refuse(EINVAL, "fwmark is not a number");
            config_.fwmark = *mark;
            return {};
        }
        if (name == "replace_peers") {
            if (value != "true") return refuse(EINVAL, "replace_peers can only be true");
            peers_.clear();
            order_.clear();
            owners_.clear();
            prefixes_.clear();
            return {};
        }
        return refuse(EINVAL, "unknown interface key " + std::string(name));
    }

    std::expected<void, Failure> begin_peer(std::string_view value) {
        const auto key = key_from_hex(value);
        if (!key) return refuse(EINVAL, "public_key is not 64 hex digits");
        in_peer_ = true;
        current_ = *key;
        created_ = !peers_.contains(current_);
        // Made at once: update_only, which takes it back, comes after the key if it comes at all.
        if (created_) {
            PeerConfig peer;
            peer.name = base64_of(current_);
            peer.public_key = current_;
            peers_.emplace(current_, std::move(peer));
            order_.push_back(current_);
        }
        return {};
    }

    std::expected<void, Failure> apply_to_peer(std::string_view name, std::string_view value) {
        const auto found = peers_.find(current_);
        // Removed, or not there and only to be updated: the rest of its lines is checked no
        // further.
        if (found == peers_.end()) return {};
        PeerConfig& peer = found->second;
        if (name == "remove") {
            if (value != "true") return refuse(EINVAL, "remove can only be true");
            remove_current();
            return {};
        }
        if (name == "update_only") {
            if (value != "true") return refuse(EINVAL, "update_only can only be true");
            if (created_) remove_current();
            return {};
        }
        if (name == "preshared_key") {
            const auto key = key_from_hex(value);
            if (!key) return refuse(EINVAL, "preshared_key is not 64 hex digits");
            peer.preshared_key = Secret<32>(*key);
            return {};
        }
        if (name == "endpoint") {
            const auto endpoint = Endpoint::parse(value);
            if (!endpoint) return refuse(EINVAL, "endpoint is not ADDRESS:PORT");
            peer.endpoint = *endpoint;
            return {};
        }
        if (name == "persistent_keepalive_interval") {
            const auto seconds = number_from<uint16_t>(value);
            if (!seconds) return refuse(EINVAL, "persistent_keepalive_interval is out of range");
            peer.persistent_keepalive_s = *seconds;
            return {};
        }
        if (name == "replace_allowed_ips") {
            if (value != "true") return refuse(EINVAL, "replace_allowed_ips can only be true");
            drop_prefixes(current_);
            return {};
        }
        if (name == "allowed_ip") return apply_allowed_ip(value);
        if (name == "protocol_version") {
            if (value != "1") return refuse(EINVAL, "protocol_version can only be 1");
            return {};
        }
        return refuse(EINVAL, "unknown peer key " + std::string(name));
    }

    std::expected<void, Failure> apply_allowed_ip(std::string_view value) {
        const bool removes = value.starts_with('-');
        const bool adds = value.starts_with('+');
        const auto prefix = IpPrefix::parse(value.substr(removes || adds ? 1 : 0));
        if (!prefix) return refuse(EINVAL, "allowed_ip is not ADDRESS/LENGTH");
        const IpPrefix masked = prefix->masked();
        const auto owner = owners_.find(masked);
        if (removes) {
            if (owner == owners_.end() || owner->second != current_) return {};
            prefixes_[current_].erase(masked);
            owners_.erase(owner);
            return {};
        }
        if (owner != owners_.end()) prefixes_[owner->second].erase(masked);
        owners_[masked] = current_;
        prefixes_[current_].insert(masked);
        return {};
    }

    void drop_prefixes(const Key& key) {
        for (const IpPrefix& prefix : prefixes_[key])
            owners_.erase(prefix);
        prefixes_[key].clear();
    }

    void remove_current() {
        drop_prefixes(current_);
        peers_.erase(current_);
    }

    WireguardConfig config_;
    PublicKeyOf public_key_of_;
    std::vector<Key> order_;  // peers keep their places, new ones come last
    std::map<Key, PeerConfig> peers_;
    std::map<Key, std::set<IpPrefix>> prefixes_;
    std::map<IpPrefix, Key> owners_;
    bool in_peer_ = false;
    bool created_ = false;
    Key current_{};
};

// The lines of a block, each "name=value"; an empty value is allowed, a missing '=' is not.
template <typename Visit>
std::expected<void, Failure> for_each_line(std::string_view block, Visit visit) {
    while (!block.empty()) {
        const size_t end = std::min(block.find('\n'), block.size());
        const std::string_view line = block.substr(0, end);
        block.remove_prefix(std::min(end + 1, block.size()));
        const size_t equals = line.find('=');
        if (equals == std::string_view::npos) return refuse(EPROTO, "a line without '='");
        if (auto applied = visit(line.substr(0, equals), line.substr(equals + 1)); !applied) {
            return applied;
        }
    }
    return {};
}

void append_peer(std::string& out, const PeerConfig& peer, const contract::PeerReport* report) {
    out += "public_key=" + to_hex(peer.public_key) + "\n";
    out += "preshared_key=" + to_hex(peer.preshared_key.span()) + "\nprotocol_version=1\n";
    // Where the peer is now, if it was heard of; else where it was said to be.
    if (report != nullptr && report->endpoint.is_set()) {
        out += "endpoint=" + report->endpoint.text() + "\n";
    } else if (peer.endpoint) {
        out += "endpoint=" + peer.endpoint->text() + "\n";
    }
    const int64_t handshake_ns =
        report != nullptr ? report->last_handshake.time_since_epoch().count() : 0;
    out += "last_handshake_time_sec=" + std::to_string(handshake_ns / 1'000'000'000) + "\n";
    out += "last_handshake_time_nsec=" + std::to_string(handshake_ns % 1'000'000'000) + "\n";
    out += "tx_bytes=" + std::to_string(report != nullptr ? report->sent_bytes : 0) + "\n";
    out += "rx_bytes=" + std::to_string(report != nullptr ? report->received_bytes : 0) + "\n";
    out += "persistent_keepalive_interval=" + std::to_string(peer.persistent_keepalive_s) + "\n";
    for (const IpPrefix& prefix : peer.allowed_ips) {
        out += "allowed_ip=" + prefix.masked().text() + "\n";
    }
}

}  // namespace

std::expected<std::optional<Request>, Failure> next_request(std::string_view received) {
    const size_t first_end = received.find('\n');
    const std::string_view first = received.substr(0, first_end);
    // No operation is longer than this, so that garbage without a line end is refused at once.
    if (first.size() > 5) return refuse(EPROTO, "the first line is neither get=1 nor set=1");
    if (first_end == std::string_view::npos) return std::nullopt;
    if (first != "get=1" && first != "set=1") {
        return refuse(EPROTO, "the first line is neither get=1 nor set=1");
    }
    Request request{.operation = first == "get=1" ? Operation::kGet : Operation::kSet,
                    .settings = {},
                    .size = 0};
    const size_t begin = first_end + 1;
    if (received.substr(begin).starts_with('\n')) {
        request.size = begin + 1;
        return request;
    }
    const size_t end = received.find("\n\n", begin);
    if (request.operation == Operation::kGet && begin < received.size()) {
        return refuse(EPROTO, "get=1 has no further lines");
    }
    if (end == std::string_view::npos) return std::nullopt;
    request.settings = received.substr(begin, end + 1 - begin);
    request.size = end + 2;
    return request;
}

std::expected<WireguardConfig, Failure> apply_set(const WireguardConfig& current,
                                                  std::string_view settings,
                                                  PublicKeyOf public_key_of) {
    Draft draft(current, public_key_of);
    const auto applied =
        for_each_line(settings, [&draft](std::string_view name, std::string_view value) {
            return draft.apply(name, value);
        });
    if (!applied) return std::unexpected(applied.error());
    return draft.finish();
}

std::string format_get(const WireguardConfig& config, uint16_t listen_port,
                       std::span<const contract::PeerReport> reports) {
    std::map<Key, const contract::PeerReport*> by_key;
    for (const contract::PeerReport& report : reports)
        by_key[report.public_key] = &report;
    std::string out;
    if (!config.private_key.is_zero()) {
        out += "private_key=" + to_hex(config.private_key.span()) + "\n";
    }
    out += "listen_port=" + std::to_string(listen_port) + "\n";
    if (config.fwmark != 0) out += "fwmark=" + std::to_string(config.fwmark) + "\n";
    for (const PeerConfig& peer : config.peers) {
        const auto report = by_key.find(peer.public_key);
        append_peer(out, peer, report == by_key.end() ? nullptr : report->second);
    }
    return out;
}

std::string format_errno(int error) {
    return "errno=" + std::to_string(-error) + "\n\n";
}
}  // namespace sluice::control::uapi
