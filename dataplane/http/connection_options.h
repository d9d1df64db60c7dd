// The members of a Connection header, one after the other.
// Thread: any. Memory: none; options are views of the value. Source: RFC 9110 section 7.6.1.
#pragma once

#include <optional>
#include <string_view>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

class ConnectionOptions {
  public:
    explicit ConnectionOptions(std::string_view value) : rest_(value) {}

    // Nothing: the list is over, or malformed(). Empty members are passed over (RFC 9110 section
    // 5.6.1.2).
    std::optional<std::string_view> next() {
        while (!rest_.empty() && !malformed_) {
            const size_t comma = rest_.find(',');
            std::string_view option = rest_.substr(0, comma);
            rest_ = comma == std::string_view::npos ? std::string_view() : rest_.substr(comma + 1);
            while (!option.empty() && (option.front() == ' ' || option.front() == '\t'))
                option.remove_prefix(1);
            while (!option.empty() && (option.back() == ' ' || option.back() == '\t'))
                option.remove_suffix(1);
            if (option.empty()) continue;
            if (wire::is_http1_token(option)) return option;
            malformed_ = true;
        }
        return std::nullopt;
    }
    bool malformed() const { return malformed_; }

  private:
    std::string_view rest_;
    bool malformed_ = false;
};

}  // namespace sluice::http
