#include "dataplane/http/http2_request_head.h"

#include <algorithm>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

namespace {

// What a field costs beyond its bytes: RFC 9113 section 6.5.2.
constexpr size_t kFieldCost = 32;

bool is_visible(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

// Methods whose request is expected to have a body: without one, its length is said to be 0 (RFC
// 9110 section 8.6).
bool expects_body(std::string_view method) {
    return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

void Http2RequestHead::begin(size_t size_max, size_t count_max) {
    for (std::string* text :
         {&method_, &scheme_, &authority_, &path_, &protocol_, &host_, &cookie_, &lines_})
        text->clear();
    size_left_ = size_max;
    count_left_ = count_max;
    too_large_ = has_host_ = hosts_differ_ = has_length_ = false;
}

bool Http2RequestHead::add(std::string_view name, std::string_view value) {
    if (too_large_) return true;
    const size_t cost = name.size() + value.size() + kFieldCost;
    if (cost > size_left_) {
        too_large_ = true;
        return true;
    }
    size_left_ -= cost;
    if (name.starts_with(':')) return add_pseudo(name, value);
    if (!wire::is_http1_token(name) || !wire::is_http1_field_value(value)) return false;

    if (name == "cookie") {
        // RFC 9113 section 8.2.3: it may come in pieces, and HTTP/1.1 knows one line only.
        if (!cookie_.empty()) {
            cookie_ += "; ";
            cookie_ += value;
            return true;
        }
        cookie_ = value;
    } else if (name == "host") {
        // A second one is written as it came, and refused as it is in HTTP/1.1.
        if (!has_host_) {
            has_host_ = true;
            host_ = value;
            return true;
        }
        hosts_differ_ = true;
    }
    if (count_left_ == 0) {
        too_large_ = true;
        return true;
    }
    --count_left_;
    if (name == "cookie") return true;
    has_length_ = has_length_ || name == "content-length";
    lines_ += name;
    lines_ += ": ";
    lines_ += value;
    lines_ += "\r\n";
    return true;
}

bool Http2RequestHead::add_pseudo(std::string_view name, std::string_view value) {
    if (!is_visible(value)) return false;
    if (name == ":method") {
        method_ = value;
        return wire::is_http1_token(value);
    }
    if (name == ":scheme") {
        scheme_ = value;
    } else if (name == ":authority") {
        authority_ = value;
    } else if (name == ":path") {
        path_ = value;
    } else if (name == ":protocol") {
        protocol_ = value;
    } else {
        return false;
    }
    return true;
}

void Http2RequestHead::write(bool ended, std::string_view key, std::string& out) const {
    const bool upgrade = upgrades();
    const bool tunnel = method_ == "CONNECT" && !upgrade;
    out += upgrade ? std::string_view("GET") : std::string_view(method_);
    out += ' ';
    const bool usual_scheme = scheme_ == "https" || scheme_ == "http";
    const bool conflict =
        has_host_ && !authority_.empty() && !wire::equals_ignoring_case(host_, authority_);
    if (tunnel) {
        out += authority_.empty() ? std::string_view("*") : std::string_view(authority_);
    } else {
        // Two names of the host, or a scheme that is none of ours: all of it goes into the target,
        // and is judged as the same in HTTP/1.1 would be.
        if (conflict || hosts_differ_ || !usual_scheme) {
            out += scheme_;
            out += "://";
            out += authority_.empty() ? host_ : authority_;
            out += path_ == "*" ? std::string_view() : std::string_view(path_);
        } else {
            out += path_;
        }
    }
    out += " HTTP/1.1\r\nhost: ";
    out += has_host_ && (conflict || authority_.empty()) ? host_ : authority_;
    out += "\r\n";
    out += lines_;
    if (!cookie_.empty()) {
        out += "cookie: ";
        out += cookie_;
        out += "\r\n";
    }
    if (upgrade) {
        out += "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ";
        out += key;
        out += "\r\n";
    } else if (!ended) {
        if (!has_length_) out += "transfer-encoding: chunked\r\n";
    } else if (!has_length_ && expects_body(method_)) {
        out += "content-length: 0\r\n";
    }
    out += "\r\n";
}

}  // namespace sluice::http
