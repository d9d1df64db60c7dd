// Which headers pass, in both directions, and which ones we add. README.md holds the rules as
// tables.
//
// A message is never passed on as it came: its head is written anew from the parsed one, with the
// framing that body_framing decided.
//
// Thread: any. Memory: none. Source: RFC 9110 sections 7.6 and 6.6.1, RFC 9112 section 9.6.
#pragma once

#include <cstdint>
#include <string_view>

#include "dataplane/http/authority.h"
#include "dataplane/http/body_framing.h"
#include "dataplane/wire/http1_message.h"
#include "dataplane/wire/http1_writer.h"

namespace sluice::http {

// What a server is told besides the client's own headers.
struct ForwardedRequest {
    std::string_view path;   // the one that was routed
    std::string_view query;  // with its '?', or empty
    Authority authority;
    BodyFraming body;
    bool expects_continue = false;
    bool accepts_trailers = false;  // TE: trailers
    bool upgrade = false;           // to WebSocket
    std::string_view client_address;  // "192.0.2.1", "2001:db8::1"
    bool encrypted = true;
    std::string_view peer;  // empty: not a tunnel peer
};
void write_request(const wire::Http1RequestHead& head, const ForwardedRequest& forwarded,
                   wire::Http1HeadWriter& writer);

// What a client is told besides the server's own headers.
struct ForwardedResponse {
    ResponseFraming framing;
    bool chunked = false;   // how we frame the body, when it has no length
    bool close = false;     // no further request on the client's connection
    bool upgrade = false;   // to WebSocket: this is the 101
    std::string_view date;  // for responses that have none
};
// A 1xx response takes neither framing nor date.
void write_response(const wire::Http1ResponseHead& head, const ForwardedResponse& forwarded,
                    wire::Http1HeadWriter& writer);

}  // namespace sluice::http
