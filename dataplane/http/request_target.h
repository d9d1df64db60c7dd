// Which host and which path a request is for: its target and its Host header, taken together.
// Thread: any. Memory: the caller's. Source: RFC 9112 section 3.2, RFC 9110 section 7.2.
#pragma once

#include <expected>
#include <string_view>
#include <vector>

#include "dataplane/http/authority.h"
#include "dataplane/http/path.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

struct RequestTarget {
    Authority authority;     // empty: a request of HTTP/1.0 that names no host
    NormalPath path;         // what is routed
    std::string_view sent;   // what is passed on as the path: the same, or "*"
    std::string_view query;  // as sent by the client, with its '?'; or empty
};

// What the views of a RequestTarget may point into.
struct TargetStorage {
    explicit TargetStorage(size_t target_bytes_max)
        : path(target_bytes_max), generous_path(target_bytes_max) {}

    std::vector<char> path;
    std::vector<char> generous_path;
    AuthorityStorage host;
    AuthorityStorage target_host;
};

// Of the four forms of a target, origin-form, absolute-form (http or https) and, for OPTIONS,
// asterisk-form are taken; the host of an absolute target must be the one of the Host header.
std::expected<RequestTarget, wire::Http1Fault> read_target(const wire::Http1RequestHead& head,
                                                           TargetStorage& storage);

}  // namespace sluice::http
