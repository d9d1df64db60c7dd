// The cookie by which a client keeps its server.
//
// Its value is a keyed hash of where the server is: the same on all workers and on all nodes that
// have the same configuration, and after every reload, and it does not spell the address out. It is
// no secret and opens nothing: who guesses an address can verify the guess, no more. A value that
// names no server is as good as none.
//
// Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/contract/snapshot.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

// 16 hexadecimal digits: among a backend's servers no two are alike by chance.
std::string sticky_token(std::string_view backend, std::string_view server);

// The value of the cookie with this name in the request's Cookie headers; empty: there is none. The
// first one counts (RFC 6265 section 5.4 puts the most specific first).
std::string_view cookie_value(const wire::Http1RequestHead& head, std::string_view name);

// The value of a Set-Cookie header.
std::string sticky_cookie(const contract::StickyCookie& cookie, std::string_view token);

}  // namespace sluice::http
