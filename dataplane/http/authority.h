// The host that a request is for, in the one spelling that is compared and passed on.
// Thread: any. Memory: the caller's. Source: RFC 9110 section 7.2, RFC 3986 section 3.2.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string_view>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

// A host name has at most 253 characters (RFC 1035 section 2.3.4), a trailing dot and a port may
// follow.
inline constexpr size_t kHostMax = 253;
using AuthorityStorage = std::array<char, kHostMax + 1 + 6>;

struct Authority {
    std::string_view host;  // lower case, no trailing dot; IPv6 in its brackets
    uint16_t port = 0;      // 0: not given
    std::string_view text;  // host, and ":port" if it was given: what servers get as Host
};

// Takes a Host header or the authority of an absolute target. No user name, no empty host, nothing
// that a host name or an address cannot have.
std::expected<Authority, wire::Http1Fault> parse_authority(std::string_view text,
                                                           AuthorityStorage& storage);

}  // namespace sluice::http
