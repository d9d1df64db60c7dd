// The headers that mean something to a proxy, recognised once per header.
// Thread: any. Memory: none. Source: RFC 9110, RFC 9112; the forged ones: README.md.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::http {

enum class HeaderName : uint8_t {
    kOther,  // passed on as it is
    kHost,
    kContentLength,
    kTransferEncoding,
    kConnection,
    kExpect,
    kDate,
    kTrailer,  // names what follows a chunked body, so it passes only with one
    // About one connection only, never passed on (RFC 9110 section 7.6.1), or about an exchange
    // with a proxy, which ended here.
    kHopByHop,
    // Who is calling, from where, and for which path: only we say that to servers.
    kIdentity,
};

// `name` is a token. An underscore counts as a hyphen when `disguised` reports it: many servers
// make one variable of "X-Forwarded-For" and "X_Forwarded_For", so the second one is as good a
// forgery as the first.
struct NamedHeader {
    HeaderName name = HeaderName::kOther;
    bool disguised = false;  // not kOther, and written with an underscore
};
NamedHeader recognise(std::string_view name);

}  // namespace sluice::http
