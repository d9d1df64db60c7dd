// Which headers pass, in both directions, and which ones we add. README.md holds the rules as
// tables.
//
// A message is never passed on as it came: its head is written anew from the parsed one, with the
// framing that body_framing decided.
//
// Thread: any. Memory: none. Source: RFC 9110 sections 7.6 and 6.6.1, RFC 9112 section 9.6.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "dataplane/contract/snapshot.h"
#include "dataplane/http/authority.h"
#include "dataplane/http/body_framing.h"
#include "dataplane/wire/http1_message.h"
#include "dataplane/wire/http1_writer.h"

namespace sluice::http {

// Headers by name, as an auth service answered them.
using NamedValues = std::span<const std::pair<std::string, std::string>>;

// What a server is told besides the client's own headers.
struct ForwardedRequest {
    std::string_view path_prefix = {};  // put before the path; the route's own
    std::string_view path;              // the one that was routed, or what is left of it
    std::string_view query;             // with its '?', or empty
    Authority authority;
    std::string_view host = {};  // instead of the authority, where the server wants its own name
    size_t host_room = 0;        // the Host line is padded to this size, so that it can be changed
    BodyFraming body;
    bool expects_continue = false;
    bool accepts_trailers = false;    // TE: trailers
    bool upgrade = false;             // to WebSocket
    std::string_view client_address;  // "192.0.2.1", "2001:db8::1"
    bool encrypted = true;
    std::string_view peer;                  // empty: not a tunnel peer
    std::string_view node = {};             // X-Forwarded-Server; empty: not said
    std::string_view stripped_prefix = {};  // X-Forwarded-Prefix; empty: not said
    // Of a client certificate that was proved for this request; empty: none.
    std::string_view certificate_pem = {};
    std::string_view certificate_info = {};
    // The route's; null: none.
    const contract::HeaderEdits* edits = nullptr;
    // Names that only an auth service may set, lower case; and what it set.
    std::span<const std::string> reserved = {};
    NamedValues granted = {};
};
void write_request(const wire::Http1RequestHead& head, const ForwardedRequest& forwarded,
                   wire::Http1HeadWriter& writer);

// What a client is told besides the server's own headers.
struct ForwardedResponse {
    ResponseFraming framing;
    bool upgrade = false;                          // to WebSocket: this is the 101
    bool chunked = false;                          // how we frame the body, when it has no length
    bool close = false;                            // no further request on the client's connection
    std::string_view date;                         // for responses that have none
    const contract::HeaderEdits* edits = nullptr;  // the route's; null: none
    // Whole Set-Cookie values of the auth service; they replace the server's of the same names.
    std::span<const std::string> cookies = {};
    std::string_view location = {};  // instead of the server's; empty: as it is
};
// What an auth service is told of a request.
struct AuthQuestion {
    const contract::ForwardAuthConfig& config;
    std::string_view path;   // as routed
    std::string_view query;  // with its '?', or empty
    Authority authority;
    std::string_view client_address;
    bool encrypted = true;
};
// All but the end of the head, so that Content-Length may follow.
void write_question(const wire::Http1RequestHead& head, const AuthQuestion& question,
                    wire::Http1HeadWriter& writer);

// Whether the configuration may set or remove this header: not what frames a message, belongs to a
// connection, or says who is calling.
bool is_editable(std::string_view name);
// Whether an auth service may set it: nor what we say ourselves.
bool is_grantable(std::string_view name);
// Case does not count, and an underscore counts as a hyphen: many servers read both as one name.
bool is_same_name(std::string_view a, std::string_view b);
// "name" of the cookie in a Set-Cookie value.
std::string_view cookie_name(std::string_view set_cookie);

// What a head grows by beyond the lines that every message gets.
size_t added_size(const ForwardedRequest& forwarded);
size_t added_size(const ForwardedResponse& forwarded);

// A 1xx response takes neither framing nor date.
void write_response(const wire::Http1ResponseHead& head, const ForwardedResponse& forwarded,
                    wire::Http1HeadWriter& writer);

}  // namespace sluice::http
