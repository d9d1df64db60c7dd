"""What an HTTP/2 client may send, frame by frame, and what has to happen, as a table. test_http2_conformance.py
runs it, each case behind the preface and an empty SETTINGS frame unless it brings its own."""

import struct
from dataclasses import dataclass, field

from harness.http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
                           PRIORITY, PRIORITY_FLAG, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
                           integer, settings, text)

HOST = "outside.sluice.test"
FINE = "answered with 200"
CONNECTION = "the connection ends with an error"
STREAM = "the stream ends with an error, or the connection does, or the request is refused"
# libnghttp2 passes over some frames for which the RFC wants the connection's end; what counts is that they do nothing.
UNSEEN = "nothing reaches the server, whether or not the connection goes on"
EITHER = "answered or refused, as long as what reaches the server is in order"


@dataclass(frozen=True)
class Case:
    name: str
    section: str
    sent: bytes
    outcome: str
    raw: bool = False  # it brings its own preface
    has: dict = field(default_factory=dict)  # headers that the server sees: name → values
    lacks: tuple[str, ...] = ()
    body: bytes | None = None
    pings: tuple[bytes, ...] = ()  # that have to be answered


def fields(*more: tuple, method: str | None = "GET", scheme: str | None = "https", authority: str | None = HOST,
           path: str | None = "/case") -> list[tuple]:
    pseudo = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    return [pair for pair in pseudo if pair[1] is not None] + list(more)


def headers(stream: int, *more: tuple, end: bool = True, **pseudo) -> bytes:
    return raw_headers(stream, block(*fields(*more, **pseudo)), end)


def raw_headers(stream: int, payload: bytes, end: bool = True, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, payload)


def get(*more: tuple, **pseudo) -> bytes:
    return headers(1, *more, **pseudo)


def post(*more: tuple, body: bytes = b"hello") -> bytes:
    return headers(1, *more, end=False, method="POST") + frame(DATA, END_STREAM, 1, body)


GET = get()
OPEN = headers(1, end=False, method="POST")
FOUR = struct.Struct(">I").pack


def _connection() -> list[Case]:
    preface = "RFC 9113 3.4"
    cases = [
        Case("the preface of HTTP/1.1", preface, PREFACE.replace(b"2.0", b"1.1") + settings() + GET, CONNECTION, raw=True),
        Case("a preface that ends otherwise", preface, PREFACE[:-3] + b"X\r\n" + settings() + GET, CONNECTION, raw=True),
        Case("a request of HTTP/1.1", preface, f"GET /case HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() + b"\0" * 20, CONNECTION, raw=True),
        Case("noise", preface, bytes(range(1, 101)), CONNECTION, raw=True),
        Case("no SETTINGS behind the preface", preface, PREFACE + GET, CONNECTION, raw=True),
        Case("PING before SETTINGS", preface, PREFACE + frame(PING, 0, 0, bytes(8)) + settings() + GET, CONNECTION, raw=True),
        Case("a request", "RFC 9113 8.1", GET, FINE),
        Case("a request with a body", "RFC 9113 8.1", post(), FINE, body=b"hello"),
        Case("an unknown kind of frame", "RFC 9113 4.1", frame(0x42, 0xff, 0, b"x") + GET, FINE),
        Case("an unknown kind of frame on a stream", "RFC 9113 4.1", OPEN + frame(0x42, 0, 1, b"x") + frame(DATA, END_STREAM, 1), FINE, body=b""),
        Case("unknown flags", "RFC 9113 4.1", frame(PING, 0xfe, 0, bytes(8)) + GET, FINE),
        Case("the reserved bit of the stream's number", "RFC 9113 4.1", frame(PING, 0, 0x80000000, b"reserved") + GET, FINE, pings=(b"reserved",)),
    ]
    for name, kind, stream in (("DATA", DATA, 1), ("HEADERS", HEADERS, 1), ("SETTINGS", SETTINGS, 0), ("PING", PING, 0), ("GOAWAY", GOAWAY, 0),
                               ("an unknown frame", 0x42, 0)):
        cases.append(Case(f"{name} of more than 16,384 bytes", "RFC 9113 4.2", (OPEN if kind == DATA else b"") + frame(
            kind, END_HEADERS if kind == HEADERS else 0, stream, bytes(16386)), STREAM if kind == DATA else CONNECTION))
    return cases


def _frames() -> list[Case]:
    trailers = block(("x-a", "y"))
    cases = [
        Case("DATA on stream 0", "RFC 9113 6.1", frame(DATA, 0, 0, b"x"), CONNECTION),
        Case("DATA on a stream that is not open", "RFC 9113 5.1", frame(DATA, 0, 5, b"x"), CONNECTION),
        Case("DATA behind the end of its stream", "RFC 9113 5.1", OPEN + frame(DATA, END_STREAM, 1) + frame(DATA, END_STREAM, 1, b"x"), EITHER),
        Case("DATA padded", "RFC 9113 6.1", OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x03hello\0\0\0"), FINE, body=b"hello"),
        Case("DATA of padding only", "RFC 9113 6.1", OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x03\0\0\0"), FINE, body=b""),
        Case("DATA with more padding than there is", "RFC 9113 6.1", OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x06hello"), CONNECTION),
        Case("DATA padded with its own length", "RFC 9113 6.1", OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x05\0\0\0\0"), CONNECTION),
        Case("DATA padded without a length", "RFC 9113 6.1", OPEN + frame(DATA, PADDED | END_STREAM, 1), CONNECTION),
        Case("HEADERS on stream 0", "RFC 9113 6.2", headers(0), CONNECTION),
        Case("HEADERS on an even stream", "RFC 9113 5.1.1", headers(2), CONNECTION),
        Case("HEADERS on a lower stream", "RFC 9113 5.1.1", headers(5, path="/marker") + GET, UNSEEN),
        Case("HEADERS padded", "RFC 9113 6.2", raw_headers(1, b"\x02" + block(*fields()) + b"\0\0", flags=END_HEADERS | PADDED), FINE),
        Case("HEADERS with more padding than there is", "RFC 9113 6.2", raw_headers(
            1, b"\xff" + block(*fields()), flags=END_HEADERS | PADDED), CONNECTION),
        Case("HEADERS with a priority", "RFC 9113 6.2", raw_headers(
            1, FOUR(0) + b"\x10" + block(*fields()), flags=END_HEADERS | PRIORITY_FLAG), FINE),
        Case("HEADERS with half a priority", "RFC 9113 6.2", raw_headers(1, b"\0\0\0", flags=END_HEADERS | PRIORITY_FLAG), CONNECTION),
        Case("HEADERS behind the end of their stream", "RFC 9113 5.1", GET + GET, EITHER),
        Case("PRIORITY on stream 0", "RFC 9113 6.3", frame(PRIORITY, 0, 0, bytes(5)), UNSEEN),
        Case("PRIORITY of four bytes", "RFC 9113 6.3", frame(PRIORITY, 0, 1, bytes(4)), STREAM),
        Case("PRIORITY before its stream", "RFC 9113 6.3", frame(PRIORITY, 0, 1, bytes(5)) + GET, FINE),
        Case("RST_STREAM on stream 0", "RFC 9113 6.4", frame(RST_STREAM, 0, 0, FOUR(8)), CONNECTION),
        Case("RST_STREAM on a stream that is not open", "RFC 9113 6.4", frame(RST_STREAM, 0, 1, FOUR(8)), CONNECTION),
        Case("RST_STREAM of three bytes", "RFC 9113 6.4", OPEN + frame(RST_STREAM, 0, 1, bytes(3)), CONNECTION),
        Case("RST_STREAM of five bytes", "RFC 9113 6.4", OPEN + frame(RST_STREAM, 0, 1, bytes(5)), CONNECTION),
        Case("PUSH_PROMISE from a client", "RFC 9113 8.4", OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, FOUR(2) + block(*fields())), CONNECTION),
        Case("PING", "RFC 9113 6.7", frame(PING, 0, 0, b"12345678") + GET, FINE, pings=(b"12345678",)),
        Case("PING that answers nothing", "RFC 9113 6.7", frame(PING, ACK, 0, b"12345678") + GET, FINE),
        Case("PING on a stream", "RFC 9113 6.7", frame(PING, 0, 1, bytes(8)), CONNECTION),
        Case("PING of seven bytes", "RFC 9113 6.7", frame(PING, 0, 0, bytes(7)), CONNECTION),
        Case("PING of nine bytes", "RFC 9113 6.7", frame(PING, 0, 0, bytes(9)), CONNECTION),
        Case("GOAWAY on a stream", "RFC 9113 6.8", frame(GOAWAY, 0, 1, bytes(8)), CONNECTION),
        Case("GOAWAY of seven bytes", "RFC 9113 6.8", frame(GOAWAY, 0, 0, bytes(7)), CONNECTION),
        Case("WINDOW_UPDATE", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, FOUR(1000)) + GET, FINE),
        Case("WINDOW_UPDATE of nothing", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, FOUR(0)), CONNECTION),
        Case("WINDOW_UPDATE of nothing on a stream", "RFC 9113 6.9", OPEN + frame(WINDOW_UPDATE, 0, 1, FOUR(0)), STREAM),
        Case("WINDOW_UPDATE on a stream that is not open", "RFC 9113 5.1", frame(WINDOW_UPDATE, 0, 1, FOUR(1)), CONNECTION),
        Case("WINDOW_UPDATE of three bytes", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, bytes(3)), CONNECTION),
        Case("WINDOW_UPDATE of five bytes", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, bytes(5)), CONNECTION),
        Case("WINDOW_UPDATE beyond the largest window", "RFC 9113 6.9.1", frame(WINDOW_UPDATE, 0, 0, FOUR(0x7fffffff)), CONNECTION),
        Case("WINDOW_UPDATE beyond a stream's largest window", "RFC 9113 6.9.1", OPEN + frame(WINDOW_UPDATE, 0, 1, FOUR(0x7fffffff)), STREAM),
        Case("CONTINUATION behind nothing", "RFC 9113 6.10", frame(CONTINUATION, END_HEADERS, 1, block(*fields())), CONNECTION),
        Case("CONTINUATION on stream 0", "RFC 9113 6.10", frame(CONTINUATION, END_HEADERS, 0, block(*fields())), CONNECTION),
        Case("CONTINUATION behind the end of the headers", "RFC 9113 6.10", OPEN + frame(CONTINUATION, END_HEADERS, 1, trailers), CONNECTION),
        Case("CONTINUATION of another stream", "RFC 9113 6.10", raw_headers(1, block(*fields()), flags=0) + frame(
            CONTINUATION, END_HEADERS, 3, trailers), CONNECTION),
        Case("PING between HEADERS and CONTINUATION", "RFC 9113 6.10", raw_headers(1, block(*fields()), flags=0) + frame(
            PING, 0, 0, bytes(8)), CONNECTION),
        Case("HEADERS between HEADERS and CONTINUATION", "RFC 9113 6.10", raw_headers(1, block(*fields()), flags=0) + headers(3), CONNECTION),
        Case("an unknown frame between HEADERS and CONTINUATION", "RFC 9113 6.10", raw_headers(
            1, block(*fields()), flags=0) + frame(0x42, 0, 0), CONNECTION),
        Case("headers in three frames", "RFC 9113 6.10", raw_headers(1, block(*fields())[:9], flags=0) + frame(
            CONTINUATION, 0, 1, block(*fields())[9:20])
            + frame(CONTINUATION, END_HEADERS, 1, block(*fields())[20:]), FINE),
        Case("CONTINUATION without an end", "RFC 9113 10.5.1", raw_headers(1, block(*fields()), flags=0) + b"".join(
            frame(CONTINUATION, 0, 1, block(("x", "v" * 1000))) for _ in range(1000)), CONNECTION),
        Case("CONTINUATION of nothing without an end", "RFC 9113 10.5.1", raw_headers(1, block(*fields()), flags=0) + frame(
            CONTINUATION, 0, 1) * 20_000, CONNECTION),
        Case("trailers", "RFC 9113 8.1", OPEN + frame(DATA, 0, 1, b"hello") + raw_headers(1, trailers), FINE, body=b"hello", lacks=("x-a",)),
        Case("trailers without an end", "RFC 9113 8.1", OPEN + frame(DATA, 0, 1, b"hello") + raw_headers(1, trailers, end=False), STREAM),
        Case("trailers with a pseudo-header", "RFC 9113 8.1", OPEN + raw_headers(1, block((":path", "/evil"))), STREAM),
        Case("trailers with a length", "RFC 9110 6.5.1", OPEN + raw_headers(1, block(("content-length", "5"))), STREAM),
        Case("trailers with a line end", "RFC 9113 8.2.1", OPEN + raw_headers(1, block(("x-a", "y\r\nx-b: z"))), STREAM),
    ]
    return cases


def _settings() -> list[Case]:
    section = "RFC 9113 6.5"
    cases = [
        Case("SETTINGS on a stream", section, frame(SETTINGS, 0, 1), CONNECTION),
        Case("an acknowledgement with a payload", section, frame(SETTINGS, ACK, 0, bytes(6)), CONNECTION),
        Case("SETTINGS of five bytes", section, frame(SETTINGS, 0, 0, bytes(5)), CONNECTION),
        Case("SETTINGS of seven bytes", section, frame(SETTINGS, 0, 0, bytes(7)), CONNECTION),
        Case("SETTINGS twice", section, settings() + settings() + GET, FINE),
    ]
    for name, key, value in (("push that is neither on nor off", 2, 2), ("a window that is too large", 4, 0x80000000),
                             ("frames that are too small", 5, 16383), ("frames that are too large", 5, 1 << 24),
                             ("extended CONNECT that is neither on nor off", 8, 2)):
        cases.append(Case(name, section + ".2", settings((key, value)), EITHER if key == 8 else CONNECTION))
    for name, key, value in (("an unknown setting", 0x99, 1), ("no table", 1, 0), ("the largest table", 1, 0xffffffff), ("no push", 2, 0),
                             ("no streams", 3, 0), ("the largest window", 4, 0x7fffffff), ("the largest frames", 5, (1 << 24) - 1)):
        cases.append(Case(name, section + ".2", settings((key, value)) + GET, FINE))
    cases.append(Case("a window that shrinks below zero and grows again", "RFC 9113 6.9.2", settings((4, 0)) + GET + frame(
        WINDOW_UPDATE, 0, 1, FOUR(1000)) + settings((4, 65535)), FINE))
    return cases


def _requests() -> list[Case]:
    malformed = "RFC 9113 8.1.1"
    cases = []
    for name, pair in {"in capitals": ("X-A", "y"), "with a space": ("x a", "y"), "with a colon": ("x:a", "y"), "that is empty": ("", "y"),
                       "with NUL": ("x\0a", "y"), "with a line end": ("x\r\nb", "y"), "with a byte above 0x7f": ("x\xe4", "y"),
                       "with DEL": ("x\x7f", "y")}.items():
        cases.append(Case(f"a name {name}", "RFC 9113 8.2.1", get(pair), STREAM))
    for name, value in {"a carriage return and a line feed": "y\r\nx-b: z", "a line feed": "y\nx-b: z", "a carriage return": "y\rx-b: z",
                        "NUL": "y\0z", "a request": "y\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"}.items():
        cases.append(Case(f"a value with {name}", "RFC 9113 8.2.1", get(("x-a", value)), STREAM))
    for value in (" y", "y ", "\ty"):
        cases.append(Case(f"the value {value!r}", "RFC 9113 8.2.1", get(("x-a", value)), EITHER))
    for name, value in (("connection", "close"), ("connection", "x-a"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"),
                        ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"), ("te", "trailers, gzip")):
        cases.append(Case(f"{name}: {value}", "RFC 9113 8.2.2", get((name, value)), STREAM))
    cases.append(Case("te: trailers", "RFC 9113 8.2.2", get(("te", "trailers")), FINE))
    for name in (":method", ":scheme", ":path"):
        cases.append(Case(f"no {name}", "RFC 9113 8.3.1", get(**{name[1:]: None}), STREAM))
        cases.append(Case(f"two of {name}", "RFC 9113 8.3.1", raw_headers(1, block(*fields()[:1], *fields()[1:], *[
            pair for pair in fields() if pair[0] == name])), STREAM))
        cases.append(Case(f"an empty {name}", "RFC 9113 8.3.1", get(**{name[1:]: ""}), STREAM))
    cases += [
        Case("two of :authority", "RFC 9113 8.3.1", raw_headers(1, block(*fields(), (":authority", "evil.sluice.test"))), STREAM),
        Case("an unknown pseudo-header", "RFC 9113 8.3", raw_headers(1, block((":evil", "x"), *fields())), STREAM),
        Case("a pseudo-header of responses", "RFC 9113 8.3", raw_headers(1, block((":status", "200"), *fields())), STREAM),
        Case("a pseudo-header behind others", "RFC 9113 8.3", raw_headers(1, block(*fields()[:3], ("x-a", "y"), *fields()[3:])), STREAM),
        Case(":protocol without CONNECT", "RFC 8441 4", raw_headers(1, block(*fields(), (":protocol", "websocket"))), STREAM),
        Case("CONNECT", "RFC 9113 8.5", headers(1, method="CONNECT", scheme=None, path=None, end=False), STREAM),
        Case("CONNECT with a path", "RFC 9113 8.5", headers(1, method="CONNECT", end=False), STREAM),
        Case("extended CONNECT to nothing known", "RFC 8441 4", headers(1, (":protocol", "evil"), method="CONNECT", end=False), STREAM),
        Case("a method with a space", "RFC 9110 9.1", get(method="GET /evil"), STREAM),
        Case("a method with a line end", "RFC 9113 8.2.1", get(method="GET /evil HTTP/1.1\r\nx: y\r\n\r\nGET"), STREAM),
        Case("a path with a line end", "RFC 9113 8.2.1", get(path="/evil HTTP/1.1\r\nx: y\r\n\r\n"), STREAM),
        Case("a path with a space", "RFC 9113 8.3.1", get(path="/case /evil"), STREAM),
        Case("a path with a version", "RFC 9113 8.3.1", get(path="/case HTTP/1.1"), STREAM),
        Case("a path with a fragment", "RFC 9113 8.3.1", get(path="/case#x"), STREAM),
        Case("a path without a slash", "RFC 9113 8.3.1", get(path="case"), STREAM),
        Case("a path that is a URL", "RFC 9113 8.3.1", get(path=f"http://{HOST}/case"), EITHER),
        Case("a path above the root", "RFC 3986 5.2.4", get(path="/../case"), STREAM),
        Case("a path with NUL", "RFC 9113 8.2.1", get(path="/ca\0se"), STREAM),
        Case("a path with encoded NUL", "RFC 3986 2.1", get(path="/ca%00se"), STREAM),
        Case("an asterisk with GET", "RFC 9113 8.3.1", get(path="*"), STREAM),
        Case("a host with a line end", "RFC 9113 8.2.1", get(authority=HOST + "\r\nx: y"), STREAM),
        Case("a host with a user name", "RFC 9113 8.3.1", get(authority="user@" + HOST), STREAM),
        Case("a host with a path", "RFC 9113 8.3.1", get(authority=HOST + "/evil"), STREAM),
        Case("a host that disagrees with :authority", "RFC 9113 8.3.1", get(("host", "evil.sluice.test")), STREAM),
        Case("a host that agrees with :authority", "RFC 9113 8.3.1", get(("host", HOST)), FINE, has={"host": [HOST]}),
        Case("a host instead of :authority", "RFC 9113 8.3.1", get(("host", HOST), authority=None), FINE, has={"host": [HOST]}),
        Case("two hosts", "RFC 9113 8.3.1", get(("host", HOST), ("host", "evil.sluice.test"), authority=None), STREAM),
        Case("no host at all", "RFC 9113 8.3.1", get(authority=None), STREAM),
        Case("an empty host", "RFC 9113 8.3.1", get(authority=""), STREAM),
        Case("a host that is not served", "RFC 9110 7.4", get(authority="nobody.sluice.test"), STREAM),
        Case("a scheme with a host in it", "RFC 9113 8.3.1", get(scheme="https://evil.sluice.test/?"), EITHER),
        Case("a scheme with a line end", "RFC 9113 8.2.1", get(scheme="https\r\nx: y"), STREAM),
        Case("the guarded path", "RFC 9110 15.5.4", get(path="/guarded/case"), STREAM),
        Case("the guarded path, encoded", "RFC 3986 6.2.2", get(path="/a/%2e%2e/%67uarded/case"), STREAM),
        Case("a length and its body", malformed, post(("content-length", "5")), FINE, body=b"hello"),
        Case("less than its length", malformed, post(("content-length", "6")), STREAM),
        Case("more than its length", malformed, post(("content-length", "4")), STREAM),
        Case("a length without a body", malformed, get(("content-length", "5")), STREAM),
        Case("two lengths", malformed, post(("content-length", "5"), ("content-length", "6")), STREAM),
        Case("the same length twice", malformed, post(("content-length", "5"), ("content-length", "5")), EITHER),
        Case("a list of lengths", malformed, post(("content-length", "5, 5")), STREAM),
        Case("a length with a plus", malformed, post(("content-length", "+5")), STREAM),
        Case("a length that overflows", malformed, post(("content-length", "18446744073709551621")), STREAM),
        Case("cookies in crumbs", "RFC 9113 8.2.3", get(("cookie", "a=1"), ("cookie", "b=2")), FINE, has={"cookie": ["a=1; b=2"]}),
        Case("bytes above 0x7f in a value", "RFC 9110 5.5", get(("x-a", "\xe4")), FINE, has={"x-a": ["\xe4"]}),
        Case("one name on several lines", "RFC 9110 5.3", get(("x-a", "1"), ("x-a", "2")), FINE, has={"x-a": ["1", "2"]}),
        Case("a forged peer", "RFC 9110 17.13", get(("x-sluice-peer", "x"), ("x_sluice_peer", "x"), ("tailscale-user-login", "x"), (
            "x_real_ip", "x")), FINE, lacks=("x-sluice-peer", "x_sluice_peer", "tailscale-user-login", "x_real_ip")),
        Case("a framing in disguise", "RFC 9112 6.1", post(("transfer_encoding", "chunked"), ("content_length", "9")), FINE, body=b"hello",
             lacks=("transfer_encoding", "content_length")),
        Case("an expectation that nobody knows", "RFC 9110 10.1.1", post(("expect", "x")), STREAM),
        Case("chunks are data", "RFC 9113 8.1", post(body=b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"), FINE,
             body=b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"),
        Case("200 headers", "RFC 6585 5", get(*[(f"x-{i}", "y") for i in range(200)]), STREAM),
    ]
    return cases


def _compression() -> list[Case]:
    good = block(*fields())
    cases = []
    for name, section, payload in (
            ("the index 0", "6.1", good + b"\x80"), ("an index that is not there", "2.3.3", good + integer(100, 7, 0x80)),
            ("a name's index that is not there", "2.3.3", good + integer(100, 4, 0) + text("y")),
            ("an index that overflows", "5.1", good + b"\xff" + b"\xff" * 10 + b"\x0f"),
            ("an index without an end", "5.1", good + b"\xff\x80\x80\x80"),
            ("a string longer than its block", "5.2", good + b"\0" + b"\x05ab"),
            ("a string's length that overflows", "5.2", good + b"\0\x7f" + b"\xff" * 10 + b"\x0f"),
            ("a name without a value", "6.2", good + b"\0" + text("x")),
            ("a table larger than agreed", "6.3", integer(1 << 20, 5, 0x20) + good),
            ("a table's size behind headers", "4.2", good + integer(0, 5, 0x20)),
            ("the end of a string within Huffman's code", "5.2", good + b"\0" + text("x") + b"\x84\xff\xff\xff\xff"),
            ("Huffman's code padded with zeros", "5.2", good + b"\0" + text("x") + b"\x81\x18"),
            ("Huffman's code padded with a byte", "5.2", good + b"\0" + text("x") + b"\x82\x1f\xff")):
        cases.append(Case(name, f"RFC 7541 {section}", raw_headers(1, payload), CONNECTION))
    cases += [
        Case("a table's size of zero at the beginning", "RFC 7541 6.3", raw_headers(1, integer(0, 5, 0x20) + good), FINE),
        Case("Huffman's code", "RFC 7541 5.2", raw_headers(1, good + b"\0" + text("x-a") + b"\x81\x1f"), FINE, has={"x-a": ["a"]}),
        Case("a header that is never indexed", "RFC 7541 6.2.3", raw_headers(1, good + b"\x10" + text("x-a") + text("y")), FINE, has={"x-a": ["y"]}),
        Case("a header that is indexed and used again", "RFC 7541 6.2.1", raw_headers(
            1, good + b"\x40" + text("x-a") + text("y") + b"\xbe"), FINE, has={"x-a": ["y", "y"]}),
        Case("a bomb: 4000 bytes, sixteen thousand times", "RFC 7541 7.3", raw_headers(
            1, good + b"\x40" + text("x") + text("v" * 4000) + b"\xbe" * 12_000), STREAM),
        Case("headers of 100,000 bytes", "RFC 9113 10.5.1", raw_headers(1, good, flags=0) + b"".join(
            frame(CONTINUATION, 0, 1, block(("x", "v" * 10_000))) for _ in range(10)) + frame(CONTINUATION, END_HEADERS, 1), STREAM),
    ]
    return cases


CASES = [*_connection(), *_frames(), *_settings(), *_requests(), *_compression()]
