#include "dataplane/http/answer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "dataplane/wire/http1_writer.h"

namespace sluice::http {

namespace {

// Puts text behind text, as long as all of it fits.
class Text {
  public:
    explicit Text(MutableBytes into) : into_(into) {}

    void add(std::initializer_list<std::string_view> pieces) {
        for (const std::string_view piece : pieces) {
            if (piece.size() > into_.size() - size_) {
                fits_ = false;
                return;
            }
            std::memcpy(into_.data() + size_, piece.data(), piece.size());
            size_ += piece.size();
        }
    }
    // So that a name never becomes markup.
    void add_escaped(std::string_view text) {
        for (const char& c : text) {
            switch (c) {
                case '<':
                    add({"&lt;"});
                    break;
                case '>':
                    add({"&gt;"});
                    break;
                case '&':
                    add({"&amp;"});
                    break;
                case '"':
                    add({"&quot;"});
                    break;
                default:
                    add({std::string_view(&c, 1)});
            }
        }
    }
    size_t size() const { return fits_ ? size_ : 0; }

  private:
    MutableBytes into_;
    size_t size_ = 0;
    bool fits_ = true;
};

}  // namespace

std::string_view reason_of(uint16_t status) {
    switch (status) {
        case 200:
            return "OK";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 408:
            return "Request Timeout";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "";
    }
}

size_t write_answer(const Answer& answer, MutableBytes into) {
    wire::Http1HeadWriter writer(into);
    writer.status_line(answer.status, reason_of(answer.status));
    writer.field("Content-Type", answer.content_type);
    writer.field("Content-Length", uint64_t{answer.body.size()});
    // The answer holds for this caller at this moment.
    writer.field("Cache-Control", "no-store");
    writer.field("Date", answer.date);
    if (!answer.location.empty()) writer.field("Location", answer.location);
    if (answer.retry_after_s > 0) writer.field("Retry-After", uint64_t{answer.retry_after_s});
    if (answer.close) writer.field("Connection", "close");
    writer.end();
    if (!writer.ok()) return 0;
    if (answer.head_only) return writer.size();
    if (answer.body.size() > into.size() - writer.size()) return 0;
    std::memcpy(into.data() + writer.size(), answer.body.data(), answer.body.size());
    return writer.size() + answer.body.size();
}

size_t write_refusal_body(uint16_t status, std::string_view sentence, MutableBytes into) {
    char digits[8];
    std::snprintf(digits, sizeof digits, "%u", unsigned{status});
    Text text(into);
    text.add({digits, " ", reason_of(status), ": ", sentence, ".\n"});
    return text.size();
}

size_t write_welcome_body(std::string_view host, std::string_view peer, MutableBytes into) {
    Text text(into);
    text.add(
        {"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
         "<title>Sluice</title><style>"
         "body{font:1.05rem/1.6 system-ui,sans-serif;max-width:34rem;margin:12vh auto;"
         "padding:0 1.2rem;color:#1c2b33;background:#f6f9fa}"
         "h1{font-size:1.7rem;margin:0 0 1rem}code{background:#e3ebee;padding:.1em .35em;"
         "border-radius:.25em}.who{border-left:.25rem solid #2a8f83;padding:.2rem 1rem}"
         "@media(prefers-color-scheme:dark){body{background:#12191d;color:#d9e3e7}"
         "code{background:#24323a}}"
         "</style></head><body><h1>The route works.</h1>\n<p>This is the welcome page of "
         "Sluice, answering for <code>"});
    text.add_escaped(host);
    text.add({"</code>.</p>\n<p class=\"who\">"});
    if (peer.empty()) {
        text.add(
            {"You are <strong>not through the tunnel</strong>: this connection came from "
             "outside of it."});
    } else {
        text.add({"You came through the tunnel, as <strong>"});
        text.add_escaped(peer);
        text.add({"</strong>."});
    }
    text.add(
        {"</p>\n<p>Next: put a server of your own behind this route. In the configuration file, "
         "give the route's backend <code>servers = [ { url = \"http://127.0.0.1:8080\" } ]"
         "</code>, then run <code>sluice check</code> and <code>sluice reload</code>.</p>\n"
         "</body></html>\n"});
    return text.size();
}

std::string_view HttpDate::text(WallTime now) {
    const auto second = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    if (second != second_) {
        second_ = second;
        const std::chrono::sys_seconds time{std::chrono::seconds(second)};
        const auto day = std::chrono::floor<std::chrono::days>(time);
        const std::chrono::year_month_day date(day);
        const std::chrono::hh_mm_ss clock(time - day);
        static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        // A year of four digits, as the format wants; a clock that says otherwise is wrong anyway.
        const int year = std::clamp(static_cast<int>(date.year()), 0, 9999);
        std::snprintf(
            text_, sizeof text_, "%s, %02u %s %04d %02d:%02d:%02d GMT",
            kDays[std::chrono::weekday(day).c_encoding()], static_cast<unsigned>(date.day()) % 100,
            kMonths[(static_cast<unsigned>(date.month()) - 1) % 12], year,
            static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
            static_cast<int>(clock.seconds().count()));
    }
    return {text_, 29};
}

}  // namespace sluice::http
