// A second reading of HTTP/1, to hold the first one against: written with other means, straight
// from RFC 9112, slow, and for well-formed messages only. Whatever it cannot read is an error.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sluice::http::testing {

struct NaiveMessage {
    std::string first_line;
    std::multimap<std::string, std::string> fields;  // names in lower case
    std::string body;
    std::multimap<std::string, std::string> trailers;
    bool complete = false;

    size_t count(const std::string& name) const { return fields.count(name); }
    std::string value(const std::string& name) const {
        const auto found = fields.find(name);
        return found == fields.end() ? "" : found->second;
    }
};

class NaiveReader {
  public:
    explicit NaiveReader(std::string bytes) : bytes_(std::move(bytes)) {}

    bool at_end() const { return at_ == bytes_.size(); }
    const std::string& error() const { return error_; }

    // The next message; nothing if there is none or an error. The last one may be incomplete.
    std::optional<NaiveMessage> next_request() { return next(true, false); }
    std::optional<NaiveMessage> next_response(bool to_head) { return next(false, to_head); }

  private:
    std::optional<std::string> line() {
        const size_t end = bytes_.find("\r\n", at_);
        if (end == std::string::npos) return std::nullopt;
        std::string text = bytes_.substr(at_, end - at_);
        at_ = end + 2;
        return text;
    }
    std::nullopt_t fail(std::string what) {
        error_ = std::move(what);
        return std::nullopt;
    }
    bool take_field(const std::string& text, std::multimap<std::string, std::string>& fields) {
        const size_t colon = text.find(": ");
        std::string name = text.substr(0, colon);
        for (char& c : name)
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        if (colon == std::string::npos || colon == 0 ||
            name.find_first_of(" \t\r\n") != std::string::npos) {
            fail("field: " + text);
            return false;
        }
        const std::string value = text.substr(colon + 2);
        if (value.find_first_of(std::string("\r\n\0", 3)) != std::string::npos) {
            fail("value: " + value);
            return false;
        }
        fields.emplace(name, value);
        return true;
    }
    // What is left, as a message that has not come to its end.
    NaiveMessage cut(NaiveMessage message) {
        at_ = bytes_.size();
        return message;
    }

    std::optional<NaiveMessage> next(bool request, bool to_head) {
        if (at_end() || !error_.empty()) return std::nullopt;
        NaiveMessage message;
        const size_t head_end = bytes_.find("\r\n\r\n", at_);
        if (head_end == std::string::npos) return cut(message);
        message.first_line = *line();
        for (std::string text = *line(); !text.empty(); text = *line())
            if (!take_field(text, message.fields)) return std::nullopt;
        if (message.count("content-length") + message.count("transfer-encoding") > 1)
            return fail("two framings");
        if (!request && has_no_body(message.first_line, to_head)) {
            message.complete = true;
            return message;
        }
        if (message.count("transfer-encoding") == 1) return chunked(message);
        if (message.count("content-length") == 1) {
            const size_t size = std::stoul(message.value("content-length"));
            message.body = bytes_.substr(at_, size);
            message.complete = message.body.size() == size;
            at_ += message.body.size();
            return message;
        }
        if (request) {
            message.complete = true;
            return message;
        }
        message.body = bytes_.substr(at_);  // until close: whether complete is not to be seen here
        return cut(message);
    }

    static bool has_no_body(const std::string& status_line, bool to_head) {
        const std::string status = status_line.substr(9, 3);
        return to_head || status[0] == '1' || status == "204" || status == "304";
    }

    std::optional<NaiveMessage> chunked(NaiveMessage message) {
        for (;;) {
            const auto size_line = line();
            if (!size_line) return cut(message);
            size_t digits = 0;
            size_t size = 0;
            try {
                size = std::stoul(*size_line, &digits, 16);
            } catch (const std::exception&) {
                return fail("chunk size: " + *size_line);
            }
            if (digits != size_line->size()) return fail("chunk size: " + *size_line);
            if (size == 0) {
                auto last = line();
                for (; last && !last->empty(); last = line())
                    if (!take_field(*last, message.trailers)) return std::nullopt;
                if (!last) return cut(message);
                message.complete = true;
                return message;
            }
            message.body += bytes_.substr(at_, size);
            if (bytes_.size() - at_ < size + 2) return cut(message);
            if (bytes_.substr(at_ + size, 2) != "\r\n") return fail("chunk end");
            at_ += size + 2;
        }
    }

    std::string bytes_;
    size_t at_ = 0;
    std::string error_;
};

}  // namespace sluice::http::testing
