// Who may leave HTTP behind: WebSocket alone, asked for and granted without a doubt. Any other
// protocol in an Upgrade header is ignored, h2c above all: behind it a client could ask a server
// things that we never see.
//
// Thread: any. Memory: none. Source: RFC 9110 section 7.8, RFC 6455 sections 4.1 and 4.2.
#pragma once

#include "dataplane/http/body_framing.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

// GET of HTTP/1.1 without a body, with "upgrade" in Connection and nothing but "websocket" in one
// Upgrade header. What else a handshake needs is between client and server.
bool asks_for_websocket(const wire::Http1RequestHead& head, const BodyFraming& body);

// A 101 with the same two headers.
bool grants_websocket(const wire::Http1ResponseHead& head);

}  // namespace sluice::http
