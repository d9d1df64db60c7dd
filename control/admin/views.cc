#include "control/admin/views.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <map>
#include <set>
#include <utility>

#include "control/admin/views_json.h"
#include "control/config/text_forms.h"

namespace sluice::admin {

std::string text_of(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

int64_t seconds_of(Duration duration) {
    return std::chrono::floor<std::chrono::seconds>(duration).count();
}

Json time_json(WallTime time) {
    if (time == WallTime{}) return nullptr;
    const time_t seconds = seconds_of(time.time_since_epoch());
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

namespace {

template <typename Member>
uint64_t sum(const std::vector<contract::WorkerReport>& reports, Member member) {
    uint64_t total = 0;
    for (const contract::WorkerReport& report : reports)
        total += report.*member;
    return total;
}

Json drops_json(const std::vector<contract::WorkerReport>& reports) {
    Json drops = Json::object();
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        uint64_t total = 0;
        for (const contract::WorkerReport& report : reports)
            total += report.drops[i];
        if (total > 0) drops[std::string(kDropReasonTexts[i].name)] = total;
    }
    return drops;
}

Json offload_json(const contract::OffloadReport& offload) {
    Json json{{"name", offload.name}, {"state", offload.state}, {"uses", offload.uses}};
    if (!offload.reason.empty()) json["reason"] = offload.reason;
    return json;
}

Json offloads_json(const Picture& picture, const std::vector<contract::OffloadReport>& own) {
    std::vector<contract::OffloadReport> merged = own;
    for (const contract::WorkerReport& report : picture.reports) {
        for (const contract::OffloadReport& offload : report.offloads) {
            const auto same = std::find_if(merged.begin(), merged.end(), [&](const auto& known) {
                return known.name == offload.name;
            });
            if (same == merged.end()) {
                merged.push_back(offload);
                continue;
            }
            same->uses += offload.uses;
            if (same->state == offload.state) continue;
            // Workers share a machine and should agree; where they do not, the reason says it.
            same->state = "mixed";
            if (same->reason.empty()) same->reason = offload.reason;
        }
    }
    Json json = Json::array();
    for (const contract::OffloadReport& offload : merged)
        json.push_back(offload_json(offload));
    return json;
}

std::string engine_of(const std::vector<contract::WorkerReport>& reports) {
    std::set<std::string> engines;
    for (const contract::WorkerReport& report : reports)
        engines.insert(report.engine);
    if (engines.empty()) return "unknown";
    return engines.size() == 1 ? *engines.begin() : "mixed";
}

Json wireguard_json(const Picture& picture) {
    if (!picture.snapshot.wireguard) return nullptr;
    const contract::WireguardConfig& wireguard = *picture.snapshot.wireguard;
    Json addresses = Json::array();
    for (const IpPrefix& address : wireguard.addresses)
        addresses.push_back(address.text());
    using Report = contract::WorkerReport;
    return {
        {"interface", wireguard.interface},
        {"public_key", config::key_text(wireguard.public_key)},
        {"listen_port", wireguard.listen_port},
        {"addresses", addresses},
        {"mtu", wireguard.mtu},
        {"peers", wireguard.peers.size()},
        {"handshakes", sum(picture.reports, &Report::wireguard_handshakes)},
        {"datagrams_received", sum(picture.reports, &Report::datagrams_received)},
        {"datagrams_sent", sum(picture.reports, &Report::datagrams_sent)},
    };
}

Json last_reload_json(const LastReloadView& reload) {
    return {
        {"result", reload.result},
        {"error", reload.error.empty() ? Json(nullptr) : Json(reload.error)},
        {"time", time_json(reload.time)},
    };
}

Json access_log_json(const AccessLogView& log) {
    return {
        {"target", log.target},
        {"lines", log.lines},
        {"dropped", log.dropped},
        {"error", log.error.empty() ? Json(nullptr) : Json(log.error)},
    };
}

// One peer's numbers over all workers: whoever heard of it last knows where it is.
std::map<contract::Key, contract::PeerReport> merge_peers(
    const std::vector<contract::WorkerReport>& reports) {
    std::map<contract::Key, contract::PeerReport> merged;
    for (const contract::WorkerReport& report : reports) {
        for (const contract::PeerReport& peer : report.peers) {
            const auto [known, fresh] = merged.emplace(peer.public_key, peer);
            if (fresh) continue;
            known->second.received_bytes += peer.received_bytes;
            known->second.sent_bytes += peer.sent_bytes;
            if (peer.last_handshake <= known->second.last_handshake) continue;
            known->second.last_handshake = peer.last_handshake;
            known->second.endpoint = peer.endpoint;
        }
    }
    return merged;
}

}  // namespace

std::string status_json(const Picture& picture, const NodeView& node) {
    using Report = contract::WorkerReport;
    return text_of({
        {"generation", picture.snapshot.generation},
        {"version", node.version},
        {"state", node.state},
        {"uptime_seconds", seconds_of(node.uptime)},
        {"node",
         {{"name", picture.snapshot.node_name}, {"ip", node.ip.empty() ? Json() : Json(node.ip)}}},
        {"workers", node.workers},
        {"silent_workers", picture.silent},
        {"engine", engine_of(picture.reports)},
        {"wireguard", wireguard_json(picture)},
        {"connections",
         {{"open", sum(picture.reports, &Report::connections_open)},
          {"accepted", sum(picture.reports, &Report::connections_accepted)},
          {"tls_handshakes", sum(picture.reports, &Report::tls_handshakes)},
          {"tls_resumptions", sum(picture.reports, &Report::tls_resumptions)}}},
        {"requests", sum(picture.reports, &Report::requests)},
        {"offloads", offloads_json(picture, node.offloads)},
        {"drops", drops_json(picture.reports)},
        {"access_log", access_log_json(node.access_log)},
        {"last_reload", last_reload_json(node.last_reload)},
    });
}

std::string peers_json(const Picture& picture) {
    Json peers = Json::array();
    const auto merged = merge_peers(picture.reports);
    static const std::vector<contract::PeerConfig> kNone;
    const auto& wireguard = picture.snapshot.wireguard;
    for (const contract::PeerConfig& peer : wireguard ? wireguard->peers : kNone) {
        const auto found = merged.find(peer.public_key);
        const contract::PeerReport report =
            found == merged.end() ? contract::PeerReport{} : found->second;
        Json allowed = Json::array();
        for (const IpPrefix& prefix : peer.allowed_ips)
            allowed.push_back(prefix.text());
        const bool known = report.last_handshake != WallTime{};
        peers.push_back({
            {"name", peer.name},
            {"public_key", config::key_text(peer.public_key)},
            {"endpoint", report.endpoint.is_set() ? Json(report.endpoint.text()) : Json()},
            {"allowed_ips", allowed},
            {"last_handshake", time_json(report.last_handshake)},
            {"last_handshake_seconds_ago",
             known ? Json(std::max<int64_t>(0, seconds_of(picture.now - report.last_handshake)))
                   : Json()},
            {"received_bytes", report.received_bytes},
            {"sent_bytes", report.sent_bytes},
        });
    }
    return text_of({{"peers", peers}});
}

std::string workers_json(const Picture& picture) {
    Json workers = Json::array();
    for (const contract::WorkerReport& report : picture.reports) {
        workers.push_back({
            {"worker", report.worker},
            {"generation", report.generation},
            {"engine", report.engine},
            {"connections_open", report.connections_open},
            {"connections_accepted", report.connections_accepted},
            {"tls_handshakes", report.tls_handshakes},
            {"tls_resumptions", report.tls_resumptions},
            {"requests", report.requests},
            {"datagrams_received", report.datagrams_received},
            {"datagrams_sent", report.datagrams_sent},
            {"inner_errors_sent", report.inner_errors_sent},
            {"packets_handed_over", report.packets_handed_over},
            {"wireguard_handshakes", report.wireguard_handshakes},
            {"drops", drops_json({report})},
        });
    }
    return text_of({{"workers", workers}, {"silent_workers", picture.silent}});
}

std::string reload_json(const ReloadView& reload) {
    Json json;
    if (!reload.errors.empty()) json["error"] = reload.errors.front();
    json["generation"] = reload.generation;
    json["changed"] = reload.changed;
    json["errors"] = reload.errors;
    json["warnings"] = reload.warnings;
    json["worker_errors"] = reload.worker_errors;
    return text_of(json);
}

std::string state_json(std::string_view state) {
    return text_of({{"state", state}});
}

}  // namespace sluice::admin
