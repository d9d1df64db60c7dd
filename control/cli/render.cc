#include "control/cli/render.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "control/cli/table.h"

namespace sluice::cli {

namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

// The library throws when a key is missing or of another type; render() catches that, and nothing
// leaves this file.

std::string joined(const Json& list, std::string_view between) {
    std::string text;
    for (const Json& item : list) {
        if (!text.empty()) text += between;
        text += item.get<std::string>();
    }
    return text;
}

std::string text_or(const Json& value, std::string_view otherwise) {
    return value.is_string() ? value.get<std::string>() : std::string(otherwise);
}

std::string ago(const Json& seconds) {
    return seconds.is_number() ? duration_text(seconds.get<int64_t>()) + " ago" : "never";
}

std::string number(const Json& value) {
    return std::to_string(value.get<uint64_t>());
}

// A table, or a sentence when there is nothing to show.
std::string shown(const std::vector<Column>& columns, const Rows& rows, std::string_view none) {
    return rows.empty() ? std::string(none) + "\n" : table_text(columns, rows);
}

int64_t seconds_since(const std::string& rfc3339, WallTime now) {
    std::tm parts{};
    if (strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr) return 0;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
    return seconds - timegm(&parts);
}

// Lines under the first one stand below its text, not below its label.
void add_line(std::string& out, std::string_view label, const std::string& text) {
    static constexpr size_t kLabelWidth = 13;
    std::string line = "  " + std::string(label);
    line.resize(2 + kLabelWidth, ' ');
    const std::string indent(2 + kLabelWidth, ' ');
    for (const char c : text) {
        line += c;
        if (c == '\n') line += indent;
    }
    out += line + "\n";
}

std::string offloads_text(const Json& offloads) {
    std::string text;
    for (const Json& offload : offloads) {
        if (!text.empty()) text += "\n";
        text +=
            offload.at("name").get<std::string>() + " " + offload.at("state").get<std::string>();
        const uint64_t uses = offload.at("uses").get<uint64_t>();
        if (uses > 0) text += ", used " + std::to_string(uses) + " times";
        if (offload.contains("reason")) text += ": " + offload.at("reason").get<std::string>();
    }
    return text;
}

std::string access_log_text(const Json& log) {
    std::string text =
        log.at("target").get<std::string>() + ", " + count_text(log.at("lines"), "line");
    const uint64_t dropped = log.at("dropped");
    if (dropped > 0) text += ", " + std::to_string(dropped) + " dropped";
    if (log.at("error").is_string()) text += "\n" + log.at("error").get<std::string>();
    return text;
}

std::string last_reload_text(const Json& reload, WallTime now) {
    std::string text = reload.at("result").get<std::string>();
    if (reload.at("time").is_string()) {
        text += ", " + duration_text(seconds_since(reload.at("time"), now)) + " ago";
    }
    if (reload.at("error").is_string()) text += "\n" + reload.at("error").get<std::string>();
    return text;
}

std::string render_status(const Json& status, WallTime now) {
    const std::string name = status.at("node").at("name");
    std::string out = name + " is " + status.at("state").get<std::string>() + ", generation " +
                      number(status.at("generation")) + "\n";
    add_line(out, "version",
             status.at("version").get<std::string>() + ", up " +
                 duration_text(status.at("uptime_seconds")));
    add_line(out, "workers",
             number(status.at("workers")) + ", engine " + status.at("engine").get<std::string>());
    if (!status.at("silent_workers").empty()) {
        add_line(out, "silent",
                 "workers that do not answer: " + status.at("silent_workers").dump());
    }
    const Json& wireguard = status.at("wireguard");
    if (wireguard.is_object()) {
        add_line(out, "tunnel",
                 wireguard.at("interface").get<std::string>() + ", UDP port " +
                     number(wireguard.at("listen_port")) + ", " +
                     count_text(wireguard.at("peers"), "peer"));
        add_line(out, "public key", wireguard.at("public_key"));
    } else {
        add_line(out, "tunnel", "none");
    }
    const Json& connections = status.at("connections");
    add_line(out, "connections",
             number(connections.at("open")) + " open, " + number(connections.at("accepted")) +
                 " accepted");
    add_line(out, "requests", number(status.at("requests")));
    const std::string offloads = offloads_text(status.at("offloads"));
    if (!offloads.empty()) add_line(out, "offloads", offloads);
    std::string drops;
    for (const auto& [reason, count] : status.at("drops").items()) {
        drops += (drops.empty() ? "" : "\n") + reason + " " + number(count);
    }
    add_line(out, "drops", drops.empty() ? "none" : drops);
    const Json& access = status.at("access_log");
    if (access.at("target") != "off") {
        add_line(out, "access log", access_log_text(access));
    }
    const Json& reload = status.at("last_reload");
    if (reload.at("result") != "none") {
        add_line(out, "last reload", last_reload_text(reload, now));
    }
    return out;
}

std::string render_peers(const Json& answer) {
    Rows rows;
    for (const Json& peer : answer.at("peers")) {
        rows.push_back({peer.at("name"), text_or(peer.at("endpoint"), "-"),
                        joined(peer.at("allowed_ips"), "\n"),
                        ago(peer.at("last_handshake_seconds_ago")),
                        bytes_text(peer.at("received_bytes")), bytes_text(peer.at("sent_bytes"))});
    }
    return shown({{"PEER"},
                  {"ENDPOINT"},
                  {"ALLOWED IPS"},
                  {"LAST HANDSHAKE"},
                  {"RECEIVED", Align::kRight},
                  {"SENT", Align::kRight}},
                 rows, "no peers; add [[wireguard.peers]] to the configuration");
}

// The path, and under it what else must hold.
std::string matched_text(const Json& route) {
    std::string text = route.at("path").is_string() ? "= " + route.at("path").get<std::string>()
                                                    : route.at("path_prefix").get<std::string>();
    for (const Json& condition : route.at("conditions"))
        text += "\n" + condition.get<std::string>();
    const int64_t priority = route.at("priority");
    if (priority != 0) text += "\npriority " + std::to_string(priority);
    return text;
}

std::string auth_text(const Json& route) {
    std::string text = route.at("auth");
    if (route.at("forward_auth").is_string()) {
        text += "\nor " + route.at("forward_auth").get<std::string>();
    }
    if (route.at("closed_because").is_string()) text += "\nCLOSED: see certs";
    return text;
}

std::string render_routes(const Json& answer) {
    Rows rows;
    for (const Json& route : answer.at("routes")) {
        rows.push_back({route.at("name"), joined(route.at("hosts"), "\n"), matched_text(route),
                        auth_text(route), text_or(route.at("backend"), "redirect"),
                        number(route.at("requests"))});
    }
    return shown(
        {{"ROUTE"}, {"HOSTS"}, {"PATH"}, {"AUTH"}, {"BACKEND"}, {"REQUESTS", Align::kRight}}, rows,
        "no routes; add [[routes]] to the configuration");
}

// What the node thinks of a server, and why if it is not well.
std::string server_state_text(const Json& server) {
    static constexpr size_t kReasonWidth = 30;
    std::string text = text_or(server.at("state"), "-");
    if (text == "serving" || !server.at("reason").is_string()) return text;
    std::string reason = server.at("reason");
    for (; reason.size() > kReasonWidth; reason.erase(0, kReasonWidth))
        text += "\n" + reason.substr(0, kReasonWidth);
    return text + "\n" + reason;
}

std::string render_backends(const Json& answer) {
    Rows rows;
    for (const Json& backend : answer.at("backends")) {
        std::string name = backend.at("name");
        for (const Json& server : backend.at("servers")) {
            rows.push_back({name, server.at("url"), server_state_text(server),
                            number(server.at("weight")), number(server.at("requests")),
                            number(server.at("failures"))});
            name.clear();  // once for all of its servers
        }
    }
    return shown({{"BACKEND"},
                  {"SERVER"},
                  {"STATE"},
                  {"WEIGHT", Align::kRight},
                  {"REQUESTS", Align::kRight},
                  {"FAILURES", Align::kRight}},
                 rows, "no backends; add [[backends]] to the configuration");
}

std::string staple_text(const Json& staple) {
    if (!staple.is_object()) return "-";
    if (!staple.at("usable").get<bool>()) return text_or(staple.at("reason"), "not usable");
    return "sent " + number(staple.at("sent")) + " times";
}

// The CAs of client certificates, and how much each is used.
std::string render_client_cas(const Json& cas) {
    Rows rows;
    for (const Json& ca : cas) {
        const std::string name = ca.at("name");
        if (ca.at("fault").is_string()) {
            rows.push_back({name, "CLOSED: " + ca.at("fault").get<std::string>(), "", ""});
        }
        for (const Json& anchor : ca.at("anchors")) {
            rows.push_back({name, anchor.at("subject"),
                            text_or(anchor.at("not_after"), "-").substr(0, 10),
                            number(anchor.at("proofs"))});
        }
    }
    if (rows.empty()) return {};
    return "\n" +
           table_text({{"CLIENT CA"}, {"SUBJECT"}, {"NOT AFTER"}, {"PROOFS", Align::kRight}}, rows);
}

std::string render_certs(const Json& answer) {
    Rows rows;
    for (const Json& certificate : answer.at("certificates")) {
        const int64_t left = certificate.at("seconds_left");
        const std::string end =
            left < 0 ? "expired " + duration_text(-left) + " ago" : "in " + duration_text(left);
        rows.push_back({joined(certificate.at("hosts"), "\n"),
                        text_or(certificate.at("not_after"), "-").substr(0, 10), end,
                        staple_text(certificate.at("ocsp"))});
    }
    return shown({{"HOSTS"}, {"NOT AFTER"}, {"EXPIRES"}, {"OCSP"}}, rows,
                 "no certificates; add [[certificates]] to the configuration") +
           render_client_cas(answer.at("client_cas"));
}

std::string render_workers(const Json& answer) {
    Rows rows;
    for (const Json& worker : answer.at("workers")) {
        uint64_t drops = 0;
        for (const auto& [reason, count] : worker.at("drops").items())
            drops += uint64_t{count};
        rows.push_back({number(worker.at("worker")), worker.at("engine"),
                        number(worker.at("generation")), number(worker.at("connections_open")),
                        number(worker.at("requests")), number(worker.at("datagrams_received")),
                        number(worker.at("datagrams_sent")), std::to_string(drops)});
    }
    for (const Json& worker : answer.at("silent_workers")) {
        rows.push_back({number(worker), "does not answer", "", "", "", "", "", ""});
    }
    return shown({{"WORKER", Align::kRight},
                  {"ENGINE"},
                  {"GENERATION", Align::kRight},
                  {"OPEN", Align::kRight},
                  {"REQUESTS", Align::kRight},
                  {"DATAGRAMS IN", Align::kRight},
                  {"OUT", Align::kRight},
                  {"DROPS", Align::kRight}},
                 rows, "no workers");
}

std::vector<std::string> strings(const Json& list) {
    std::vector<std::string> result;
    for (const Json& item : list)
        result.push_back(item);
    return result;
}

}  // namespace

Result<std::string> render(std::string_view command, const std::string& json, WallTime now) {
    try {
        const Json answer = Json::parse(json);
        if (command == "status") return render_status(answer, now);
        if (command == "peers") return render_peers(answer);
        if (command == "routes") return render_routes(answer);
        if (command == "backends") return render_backends(answer);
        if (command == "certs") return render_certs(answer);
        if (command == "workers") return render_workers(answer);
    } catch (const Json::exception&) {
        // Told below.
    }
    return fail("the node's answer is not understood; is it of another version? --json shows it");
}

std::string error_of(const std::string& json) {
    const Json answer = Json::parse(json, nullptr, false);
    if (!answer.is_object() || !answer.contains("error") || !answer["error"].is_string()) {
        return json;
    }
    return answer["error"];
}

Result<ReloadAnswer> parse_reload(const std::string& json) {
    try {
        const Json answer = Json::parse(json);
        return ReloadAnswer{answer.at("changed"), answer.at("generation"),
                            strings(answer.at("errors")), strings(answer.at("warnings")),
                            strings(answer.at("worker_errors"))};
    } catch (const Json::exception&) {
        return fail(error_of(json));
    }
}

}  // namespace sluice::cli
