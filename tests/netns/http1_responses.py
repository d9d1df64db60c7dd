"""What a server may send and what a client then has to get, as a table. test_http1_conformance.py runs it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ResponseCase:
    name: str
    section: str
    sent: bytes
    status: int | None  # what the client gets; None: a connection that breaks off
    body: bytes | None = None
    closes: bool = False  # the server does, behind it
    method: str = "GET"
    has: dict = field(default_factory=dict)  # headers that the client gets: name → values
    lacks: tuple[str, ...] = ()
    interim: list = field(default_factory=list)  # informational statuses that the client gets, but for 100
    spoils: bool | None = None  # whether the server's connection must not be used again; None: not asked


def ok(*lines: str | bytes, body: bytes = b"", first: str | bytes = "HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join(line.encode("latin-1") if isinstance(line, str) else line
                        for line in (first, *lines, "", "")) + body


LENGTH = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def passes(section: str, name: str, sent: bytes, body: bytes | None = b"hello", **options) -> ResponseCase:
    return ResponseCase(name, section, sent, options.pop("status", 200), body, **options)


def bad(section: str, name: str, sent: bytes, **options) -> ResponseCase:
    """The client gets 502, and what the server sent gets nowhere."""
    return ResponseCase(name, section, sent, 502, **options)


def breaks(section: str, name: str, sent: bytes, **options) -> ResponseCase:
    """The client has part of it already, and may not take that for the whole."""
    return ResponseCase(name, section, sent, None, **options)


RESPONSES = [
    # The status line.
    passes("RFC 9112 4", "a length", ok(LENGTH, body=b"hello"), spoils=False),
    passes("RFC 9112 4", "no reason", ok(LENGTH, body=b"hello", first="HTTP/1.1 200 ")),
    passes("RFC 9112 4", "no reason and no space", ok(LENGTH, body=b"hello", first="HTTP/1.1 200")),
    passes("RFC 9112 4", "any reason", ok(LENGTH, body=b"hello", first=b"HTTP/1.1 200 All: is\twell \xe4")),
    passes("RFC 9110 15", "a status that nobody knows", ok(LENGTH, body=b"hello", first="HTTP/1.1 599 X"), status=599),
    passes("RFC 9110 15", "418", ok(LENGTH, body=b"hello", first="HTTP/1.1 418 X"), status=418),
    *[bad("RFC 9112 4", f"the status line {line!r}", ok(LENGTH, body=b"hello", first=line)) for line in (
        "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "http/1.1 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/1.1 600 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 OK", "HTTP/1.1",
        "ICY 200 OK", "200 OK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\rK", "HTTP/1.1\t200 OK", " HTTP/1.1 200 OK")],
    bad("RFC 9112 4", "an empty line before it", b"\r\n" + ok(LENGTH, body=b"hello")),
    bad("RFC 9112 4", "noise", b"\x00\x01\x02 noise\r\n\r\n"),
    bad("RFC 9112 4", "a response of HTTP/0.9", b"<html>hello</html>", closes=True),
    bad("RFC 9112 4", "nothing at all", b"", closes=True),
    bad("RFC 9112 4", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le", closes=True),
    # Headers.
    bad("RFC 9112 2.2", "line feeds alone", ok(LENGTH, body=b"hello").replace(b"\r\n", b"\n")),
    *[bad("RFC 9112 5", f"the header {line!r}", ok(LENGTH, line, body=b"hello")) for line in (
        b"X-A : y", b"X A: y", b": y", b"X-A", b"X-A: y\r\n z", b"X-A: \0", b"X-A: y\rz", b"X-A: y\nz", b"X-\xe4: y", b" X-A: y",
        b"X-A: \x1b")],
    bad("RFC 6585 5", "a head without an end", b"HTTP/1.1 200 OK\r\n" + b"X-A: y\r\n" * 50_000),
    bad("RFC 6585 5", "a header of a megabyte", ok("X-A: " + "v" * (1 << 20), LENGTH, body=b"hello")),
    passes("RFC 9110 5.3", "one name on several lines", ok(LENGTH, "Set-Cookie: a=1", "Set-Cookie: b=2", body=b"hello"),
           has={"set-cookie": ["a=1", "b=2"]}),
    passes("RFC 9110 6.6.1", "a date is made where there is none", ok(LENGTH, body=b"hello")),
    passes("RFC 9110 6.6.1", "a date stays as it is", ok(LENGTH, "Date: Thu, 01 Jan 1970 00:00:00 GMT", body=b"hello"),
           has={"date": ["Thu, 01 Jan 1970 00:00:00 GMT"]}),
    passes("RFC 9110 7.6.1", "headers that Connection names", ok(LENGTH, "Connection: X-A", "X-A: 1", "X-B: 2", body=b"hello"),
           has={"x-b": ["2"]}, lacks=("x-a",)),
    passes("RFC 9110 7.6.1", "headers about the connection", ok(LENGTH, "Keep-Alive: timeout=1", "Proxy-Connection: close", "Upgrade: h2c",
                                                              body=b"hello"), lacks=("keep-alive", "proxy-connection", "upgrade")),
    passes("RFC 9112 9.6", "a server that closes", ok(LENGTH, "Connection: close", body=b"hello"), closes=True, spoils=True),
    passes("RFC 9112 9.6", "a server that says so and stays", ok(LENGTH, "Connection: close", body=b"hello"), spoils=True),
    # Where it ends.
    passes("RFC 9112 7.1", "chunks", ok(CHUNKED, body=HELLO), spoils=False),
    passes("RFC 9112 7.1", "chunks and extensions", ok(CHUNKED, body=b'2;a\r\nhe\r\n3;b="c"\r\nllo\r\n0;d\r\n\r\n')),
    passes("RFC 9112 7.1.2", "trailers never become headers", ok(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: y\r\n\r\n"), lacks=("x-a",)),
    passes("RFC 9112 6.3", "the length 0", ok("Content-Length: 0"), b"", has={"content-length": ["0"]}),
    passes("RFC 9112 6.3", "until the end of the connection", ok(body=b"hello"), closes=True),
    passes("RFC 9112 6.3", "until the end of the connection, from HTTP/1.0", ok(body=b"hello", first="HTTP/1.0 200 OK"), closes=True),
    passes("RFC 9112 6.3", "a length from HTTP/1.0", ok(LENGTH, body=b"hello", first="HTTP/1.0 200 OK"), closes=True, spoils=True),
    *[bad("RFC 9112 6.3", f"the framing {' and '.join(lines)}", ok(*lines, body=HELLO)) for lines in (
        (LENGTH, CHUNKED), (CHUNKED, LENGTH), (LENGTH, LENGTH), (LENGTH, "Content-Length: 6"), (CHUNKED, CHUNKED),
        ("Content-Length: 5, 5",), ("Content-Length: +5",), ("Content-Length: -1",), ("Content-Length: 0x5",), ("Content-Length:",),
        ("Content-Length: 99999999999999999999",), ("Transfer-Encoding: gzip",), ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: identity",), ("Transfer-Encoding: chunked, chunked",), ("Transfer-Encoding:",),
        ("Transfer-Encoding: xchunked",), ("Transfer-Encoding : chunked",), ("Content-Length : 5",))],
    bad("RFC 9112 6.1", "a coding in HTTP/1.0", ok(CHUNKED, body=HELLO, first="HTTP/1.0 200 OK")),
    breaks("RFC 9112 8", "less than its length", ok("Content-Length: 500", body=b"hello"), closes=True),
    breaks("RFC 9112 8", "chunks without an end", ok(CHUNKED, body=b"5\r\nhello\r\n"), closes=True),
    breaks("RFC 9112 8", "a chunk without an end", ok(CHUNKED, body=b"50\r\nhello"), closes=True),
    *[breaks("RFC 9112 7.1", f"the chunks {body!r}", ok(CHUNKED, body=b"1\r\nx\r\n" + body)) for body in (
        b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"-1\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff0\r\n", b"\r\n0\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nX : y\r\n\r\n")],
    passes("RFC 9112 6.3", "more than its length", ok(LENGTH, body=b"hello, and more"), spoils=True),
    passes("RFC 9112 6.3", "a second response that nobody asked for", ok(LENGTH, body=b"hello") + ok(LENGTH, body=b"other"), spoils=True),
    passes("RFC 9112 7.1", "something behind the last chunk", ok(CHUNKED, body=HELLO + b"more"), spoils=True),
    # Responses without a body.
    passes("RFC 9110 9.3.2", "HEAD with a length", ok("Content-Length: 50"), b"", method="HEAD", has={"content-length": ["50"]}, spoils=False),
    passes("RFC 9110 9.3.2", "HEAD with chunks announced", ok(CHUNKED), b"", method="HEAD"),
    passes("RFC 9110 9.3.2", "HEAD without a framing", ok(), b"", method="HEAD"),
    passes("RFC 9110 9.3.2", "HEAD with a body that may not be there", ok(LENGTH, body=b"hello"), b"", method="HEAD", spoils=True),
    passes("RFC 9110 15.3.5", "204", ok(first="HTTP/1.1 204 No Content"), b"", status=204, lacks=("content-length", "transfer-encoding"),
           spoils=False),
    passes("RFC 9110 15.3.5", "204 with a length", ok(LENGTH, body=b"hello", first="HTTP/1.1 204 No Content"), b"", status=204,
           lacks=("content-length",), spoils=True),
    passes("RFC 9110 15.3.5", "204 with chunks", ok(CHUNKED, body=HELLO, first="HTTP/1.1 204 No Content"), b"", status=204,
           lacks=("transfer-encoding",), spoils=True),
    passes("RFC 9110 15.4.5", "304 with a length", ok("Content-Length: 50", first="HTTP/1.1 304 Not Modified"), b"", status=304,
           has={"content-length": ["50"]}, spoils=False),
    passes("RFC 9110 15.4.5", "304 with a body that may not be there", ok(LENGTH, body=b"hello", first="HTTP/1.1 304 Not Modified"), b"",
           status=304, spoils=True),
    passes("RFC 9110 15.4.5", "304 without a framing", ok(first="HTTP/1.1 304 Not Modified"), b"", status=304),
    # Informational responses.
    passes("RFC 9110 15.2.1", "100 that nobody asked for", ok(first="HTTP/1.1 100 Continue") + ok(LENGTH, body=b"hello")),
    passes("RFC 8297 2", "103", ok("Link: </a>", first="HTTP/1.1 103 Early Hints") + ok(LENGTH, body=b"hello"), interim=[103]),
    passes("RFC 9110 15.2", "several of them", ok(first="HTTP/1.1 102 Processing") + ok(first="HTTP/1.1 103 Early Hints") + ok(
        LENGTH, body=b"hello"), interim=[102, 103]),
    bad("RFC 9110 15.2.2", "101 that nobody asked for", ok("Upgrade: websocket", "Connection: upgrade",
                                                           first="HTTP/1.1 101 Switching Protocols")),
]
