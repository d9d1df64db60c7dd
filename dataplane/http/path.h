// The path of a request in the one spelling that is routed and passed on.
//
// The spelling: dot segments are removed (RFC 3986 section 5.2.4), percent-encodings of unreserved
// characters are decoded and the others written in upper case (section 6.2.2), slashes at the
// beginning become one. Everything else stays as the client wrote it, encoded slashes and empty
// segments included, because servers give them a meaning (package names, object keys, addresses
// inside addresses).
//
// That leaves paths that servers read in different ways: some decode "%2f", some cut ";x" off, some
// join "//". For those there is a second reading, what the most generous server would make of it. A
// request passes only if both readings lead to the same route; README.md tells the rules.
//
// Thread: any. Memory: the caller's. Source: RFC 3986.
#pragma once

#include <expected>
#include <span>
#include <string_view>

#include "dataplane/wire/http1_message.h"

namespace sluice::http {

struct NormalPath {
    std::string_view path;  // begins with '/'; what is routed and passed on
    // The most generous server's reading of `path`; the same text where there is only one reading.
    // Only ever compared with routes.
    std::string_view generous;
};

// `raw`: the path of a target, without its query; visible ASCII, as the parser leaves it. Both
// storages have room for raw.size() bytes; the views are of them or of `raw`.
std::expected<NormalPath, wire::Http1Fault> normalise_path(std::string_view raw,
                                                           std::span<char> storage,
                                                           std::span<char> generous_storage);

// The most generous reading of a path that is in the normal spelling. Error: it leads above the
// root, or cannot be told.
std::expected<std::string_view, wire::Http1Fault> read_generously(std::string_view normal,
                                                                  std::span<char> storage);

// Whether `path` is `prefix` or lies below it; by whole segments, both in the normal spelling, the
// prefix without a slash at its end.
bool is_below(std::string_view path, std::string_view prefix);

}  // namespace sluice::http
