// The header of the PROXY protocol, versions 1 (a line of text) and 2 (binary), in which a load
// balancer says on whose behalf it opened a connection.
//
// A header is looked at from its beginning each time more of it has come; nothing is kept in
// between. What follows it belongs to the protocol behind it and is not looked at, and a reader
// that never asks for more than `wanted` bytes takes none of it.
//
// Strict where the specification leaves room, because a header is believed: version 2 must hold
// exactly the TLVs that its length promises, and a CRC32C among them must be right. What a LOCAL
// connection or one of an unspecified family carries is passed over unseen, as the specification
// asks (section 2.2). Datagrams and Unix sockets have no address that means anything here, so their
// connections keep the real one.
//
// Pure functions. Thread: any. Memory: none.
// Source: "The PROXY protocol, versions 1 & 2" (HAProxy, doc/proxy-protocol.txt), sections 2.1 and
// 2.2; RFC 9260 appendix A (CRC32c).
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"

namespace sluice::wire {

// With the line's end; the specification's own bound.
inline constexpr size_t kProxyLineMax = 107;
inline constexpr size_t kProxyBinaryPrefix = 16;
// Of version 2, behind its first 16 bytes. What load balancers add (names, ALPN, an identifier, the
// cipher) stays below 1 KiB; a client's whole certificate is 1 to 3 KiB. The format allows 64 KiB,
// which would be set aside for connections that have said nothing else.
inline constexpr size_t kProxyBinaryRestMax = 4096;
inline constexpr size_t kProxyHeaderMax = kProxyBinaryPrefix + kProxyBinaryRestMax;

struct ProxyHeader {
    enum class Outcome : uint8_t {
        kMore,       // a part of a header, so far
        kComplete,   // the header is `size` bytes long
        kMissing,    // this begins no header of either version
        kMalformed,  // it begins one, and is none
    };

    Outcome outcome = Outcome::kMore;
    size_t size = 0;    // kComplete
    size_t wanted = 0;  // kMore: at least so many bytes more belong to the header; never 0
    // kComplete. Both unset: the connection speaks for itself, or for nobody who has an address,
    // and keeps its own.
    Endpoint client;
    Endpoint server;  // where the client's connection went
};

// `bytes`: all that has come so far, from the first byte of the connection on. Once an outcome
// other than kMore is reached, more bytes do not change it.
ProxyHeader parse_proxy_header(Bytes bytes);

}  // namespace sluice::wire
