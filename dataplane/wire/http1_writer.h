// Writes the heads of HTTP/1 messages into memory that the caller has.
//
// A line that does not fit is not written, and neither is one whose content could end it early:
// that would be a second header, or a second message, made by us. What comes from outside was
// checked when it was parsed; this is the second lock on the same door. After either, ok() is false
// and nothing more is written: the head must not be sent.
//
// Thread: any, no shared state. Source: RFC 9112 sections 2 to 5.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"

namespace sluice::wire {

class Http1HeadWriter {
  public:
    explicit Http1HeadWriter(MutableBytes into) : into_(into) {}

    // The target in pieces: the path is often ours, and before it may stand the route's prefix; the
    // query is the client's.
    void request_line(std::string_view method, std::string_view path, std::string_view query) {
        request_line(method, {}, path, query);
    }
    void request_line(std::string_view method, std::string_view prefix, std::string_view path,
                      std::string_view query) {
        add({method, " ", prefix, path, query, " HTTP/1.1\r\n"});
    }
    void status_line(uint16_t status, std::string_view reason) {
        char digits[5];
        add({"HTTP/1.1 ", number(status, digits), " ", reason, "\r\n"});
    }
    void field(std::string_view name, std::string_view value) { add({name, ": ", value, "\r\n"}); }
    void field(std::string_view name, std::string_view value, std::string_view more) {
        add({name, ": ", value, more, "\r\n"});
    }
    void field(std::string_view name, uint64_t value) {
        char digits[20];
        field(name, number(value, digits));
    }
    void end() { add({"\r\n"}); }

    bool ok() const { return ok_; }
    size_t size() const { return size_; }

  private:
    template <size_t kSize>
    static std::string_view number(uint64_t value, char (&digits)[kSize]) {
        const auto result = std::to_chars(digits, digits + kSize, value);
        SLUICE_CHECK(result.ec == std::errc());
        return {digits, static_cast<size_t>(result.ptr - digits)};
    }

    void add(std::initializer_list<std::string_view> pieces) {
        size_t size = 0;
        for (const std::string_view piece : pieces)
            size += piece.size();
        if (!ok_ || size > into_.size() - size_) {
            ok_ = false;
            return;
        }
        uint8_t* const line = into_.data() + size_;
        uint8_t* to = line;
        for (const std::string_view piece : pieces) {
            if (!piece.empty()) std::memcpy(to, piece.data(), piece.size());
            to += piece.size();
        }
        // Exactly one line: the only CR and the only LF are the two at its end.
        ok_ = std::memchr(line, '\n', size) == to - 1 && std::memchr(line, '\r', size) == to - 2;
        if (ok_) size_ += size;
    }

    MutableBytes into_;
    size_t size_ = 0;
    bool ok_ = true;
};

}  // namespace sluice::wire
