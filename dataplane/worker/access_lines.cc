#include "dataplane/worker/access_lines.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

namespace sluice::worker {

namespace {

// Of one text, before escaping: a path that is longer tells nobody more, and a client could fill
// the disk with it.
constexpr size_t kTextBytesMax = 1024;
// Six characters for each byte of ten texts, which is the worst, and the rest.
constexpr size_t kLineBytesMax = 64 * 1024;

void append_number(std::string& line, uint64_t number, size_t digits_min = 1) {
    std::array<char, 20> digits{};
    const auto [end, error] = std::to_chars(digits.begin(), digits.end(), number);
    const auto count = static_cast<size_t>(end - digits.data());
    if (count < digits_min) line.append(digits_min - count, '0');
    line.append(digits.data(), count);
}

void append_escaped(std::string& line, std::string_view text) {
    static constexpr std::string_view kHex = "0123456789abcdef";
    for (const char c : text) {
        const auto byte = static_cast<uint8_t>(c);
        if (c == '"' || c == '\\') {
            line += '\\';
            line += c;
        } else if (byte >= 0x20 && byte < 0x7f) {
            line += c;
        } else {
            line += "\\u00";
            line += kHex[byte >> 4];
            line += kHex[byte & 15];
        }
    }
}

}  // namespace

AccessLines::AccessLines(LineRing& ring, uint32_t worker) : ring_(ring), worker_(worker) {
    line_.reserve(kLineBytesMax);
}

void AccessLines::add_key(std::string_view key) {
    if (line_.size() > 1) line_ += ',';
    line_ += '"';
    line_ += key;
    line_ += "\":";
}

void AccessLines::add_text(std::string_view key, std::string_view text) {
    if (text.empty()) return;
    add_key(key);
    line_ += '"';
    append_escaped(line_, text.substr(0, kTextBytesMax));
    line_ += '"';
}

void AccessLines::add_number(std::string_view key, uint64_t number) {
    add_key(key);
    append_number(line_, number);
}

// With three decimals: microseconds.
void AccessLines::add_milliseconds(std::string_view key, Duration duration) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    const auto count = static_cast<uint64_t>(std::max<int64_t>(us, 0));
    add_key(key);
    append_number(line_, count / 1000);
    line_ += '.';
    append_number(line_, count % 1000, 3);
}

// RFC 3339 in UTC, with milliseconds.
void AccessLines::add_time(std::string_view key, WallTime time) {
    const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
    const std::chrono::sys_time<std::chrono::milliseconds> point{since};
    const auto day = std::chrono::floor<std::chrono::days>(point);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{point - day};
    const auto part = [this](auto value, size_t digits, char behind) {
        append_number(line_, static_cast<uint64_t>(value), digits);
        line_ += behind;
    };
    add_key(key);
    line_ += '"';
    part(static_cast<int>(date.year()), 4, '-');
    part(static_cast<unsigned>(date.month()), 2, '-');
    part(static_cast<unsigned>(date.day()), 2, 'T');
    part(clock.hours().count(), 2, ':');
    part(clock.minutes().count(), 2, ':');
    part(clock.seconds().count(), 2, '.');
    part(clock.subseconds().count(), 3, 'Z');
    line_ += '"';
}

void AccessLines::add_tls(const TlsFacts& tls) {
    add_text("tls_version", tls.version);
    add_text("tls_cipher", tls.cipher);
    add_text("tls_sni", tls.server_name);
    add_key("tls_resumed");
    line_ += tls.resumed ? "true" : "false";
    add_key("ktls");
    line_ += tls.ktls_transmit ? "true" : "false";
}

std::string_view AccessLines::line_of(const http::AccessRecord& record) {
    line_.assign(1, '{');
    add_time("time", record.begun);
    add_text("client", record.client.address.text());
    add_number("client_port", record.client.port);
    add_text("peer", record.peer);
    add_text("user", record.user);
    add_text("method", record.method);
    add_text("host", record.host);
    add_text("path", record.path);
    add_key("protocol");
    line_ += "\"HTTP/";
    append_number(line_, record.http_major);
    if (record.http_major < 2) {
        line_ += '.';
        append_number(line_, record.http_minor);
    }
    line_ += '"';
    add_number("status", record.status);
    if (record.cut_off) {
        add_key("cut_off");
        line_ += "true";
    }
    if (record.upgraded) {
        add_key("upgraded");
        line_ += "true";
    }
    add_text("route", record.route);
    add_text("backend", record.backend);
    add_text("server", record.server);
    add_number("tries", record.tries);
    add_milliseconds("response_ms", record.until_response);
    add_milliseconds("total_ms", record.total);
    add_number("bytes_received", record.bytes_received);
    add_number("bytes_sent", record.bytes_sent);
    if (record.tls != nullptr && record.tls->done) add_tls(*record.tls);
    add_text("certificate_subject", record.certificate_subject);
    add_text("certificate_serial", record.certificate_serial);
    add_number("worker", worker_);
    line_ += "}\n";
    return line_;
}

void AccessLines::record(const http::AccessRecord& record) {
    ring_.push(line_of(record));
}

}  // namespace sluice::worker
