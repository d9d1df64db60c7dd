"""What is sent to make two servers disagree about where a request ends or what it asks for. The host in it
stands for each server's. test_smuggling.py sends each through the node to several real servers.

Request smuggling has names by which of two servers believes what: CL (Content-Length), TE (Transfer-Encoding),
0 (neither). Sources: RFC 9112 section 11.2, RFC 9110 section 17, and what was reported for real servers since 2019.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Smuggling:
    name: str
    sent: bytes
    waits: bool = False  # it promises more than it sends, so there is no answer to wait for


EVIL = b"GET /evil HTTP/1.1\r\nHost: servers.wild.sluice.test\r\n\r\n"
SECOND = EVIL.replace(b"evil", b"second")  # where a second request is what everybody has to read
HALF_EVIL = b"GET /evil HTTP/1.1\r\nX: "


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Host: servers.wild.sluice.test", *lines, b"", b""]) + body


def get(*lines: bytes, target: bytes = b"/a") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: servers.wild.sluice.test", *lines, b"", b""])


END = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def length(of: bytes) -> bytes:
    return b"Content-Length: %d" % len(of)


def _both_framings() -> list[Smuggling]:
    cases = [
        Smuggling("CL.TE", post(length(END + EVIL), CHUNKED, body=END + EVIL)),
        Smuggling("CL.TE, the other way round", post(CHUNKED, length(END + EVIL), body=END + EVIL)),
        Smuggling("TE.CL", post(b"Content-Length: 4", CHUNKED, body=b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END)),
        Smuggling("TE.CL with GET", get(b"Content-Length: 4", CHUNKED) + b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END),
        Smuggling("CL.TE with half a request", post(length(END + HALF_EVIL), CHUNKED, body=END + HALF_EVIL)),
        Smuggling("CL.TE with the length 0", post(b"Content-Length: 0", CHUNKED, body=b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END)),
        Smuggling("CL.TE in HTTP/1.0", post(length(END + EVIL), CHUNKED, body=END + EVIL).replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    ]
    for name, coding in {
            "a space before the colon": b"Transfer-Encoding : chunked", "a tab before the colon": b"Transfer-Encoding\t: chunked",
            "a folded line": b"Transfer-Encoding:\r\n chunked", "a vertical tab": b"Transfer-Encoding: \x0bchunked",
            "an x before it": b"Transfer-Encoding: xchunked", "an x behind it": b"Transfer-Encoding: chunkedx",
            "a list": b"Transfer-Encoding: identity, chunked", "a list, the other way round": b"Transfer-Encoding: chunked, identity",
            "a comma": b"Transfer-Encoding: chunked,", "quotes": b'Transfer-Encoding: "chunked"', "a parameter": b"Transfer-Encoding: chunked;a",
            "two headers": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "two headers, the other way round":
            b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "an empty one first": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
            "an underscore": b"Transfer_Encoding: chunked", "no hyphen": b"TransferEncoding: chunked", "a space before the name":
            b" Transfer-Encoding: chunked", "NUL behind it": b"Transfer-Encoding: chunked\0", "a carriage return before it":
            b"X: y\rTransfer-Encoding: chunked", "a line feed before it": b"X: y\nTransfer-Encoding: chunked", "a carriage return within":
            b"Transfer-Encoding: chunked\rx", "capitals": b"TRANSFER-ENCODING: CHUNKED", "white space around it":
            b"Transfer-Encoding: \t chunked \t", "Unicode": b"Transfer-Encoding: \xe2\x84\xaahunked", "a dot": b"Transfer-Encoding: chunked.",
            "Content-Encoding": b"Content-Encoding: chunked", "a name in an extended form": b"Transfer-Encoding*: chunked"}.items():
        cases.append(Smuggling(f"TE.TE by {name}", post(coding, body=b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END)))
        cases.append(Smuggling(f"CL.TE by {name}", post(length(END + EVIL), coding, body=END + EVIL)))
    return cases


def _lengths() -> list[Smuggling]:
    cases = [
        Smuggling("0.CL: GET with a body", get(length(EVIL)) + EVIL),
        Smuggling("0.CL: HEAD with a body", get(length(EVIL)).replace(b"GET", b"HEAD", 1) + EVIL),
        Smuggling("0.CL: DELETE with a body", get(length(EVIL)).replace(b"GET", b"DELETE", 1) + EVIL),
        Smuggling("0.CL: OPTIONS with a body", get(length(EVIL)).replace(b"GET", b"OPTIONS", 1) + EVIL),
        Smuggling("CL.0: POST with a body to anything", post(length(EVIL), body=EVIL)),
        Smuggling("CL.0: less than promised", post(b"Content-Length: 1000", body=EVIL), waits=True),
        Smuggling("0.TE: GET with chunks", get(CHUNKED) + b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END),
        Smuggling("TE.0: OPTIONS with chunks", get(CHUNKED).replace(b"GET", b"OPTIONS", 1) + b"%x\r\n" % len(EVIL) + EVIL + b"\r\n" + END),
        Smuggling("TE.0: a chunk whose size overflows 32 bits", post(CHUNKED, body=b"100000005\r\nhello\r\n" + END + EVIL), waits=True),
        Smuggling("TE.0: chunks without an end", post(CHUNKED, body=b"5\r\nhello\r\n"), waits=True),
        Smuggling("the length 0 and a request behind it", post(b"Content-Length: 0", body=SECOND)),
        Smuggling("a length by an underscore in the name, which is none", post(b"Content_Length: %d" % len(SECOND), body=SECOND)),
        Smuggling("a length hidden by Connection", post(b"Connection: content-length", length(EVIL), body=EVIL)),
        Smuggling("a length with leading zeros", post(b"Content-Length: 0005", body=b"hello")),
        Smuggling("a length that is octal to some", post(b"Content-Length: 010", body=b"0123456789")),
    ]
    for name, lines in {"twice the same": (b"Content-Length: 5", b"Content-Length: 5"), "two": (b"Content-Length: 5", b"Content-Length: 0"),
                        "two, the other way round": (b"Content-Length: 0", b"Content-Length: 5"), "a list": (b"Content-Length: 5, 5",),
                        "a list of two": (b"Content-Length: 0, 5",), "a plus": (b"Content-Length: +5",), "a minus": (b"Content-Length: -5",),
                        "a base": (b"Content-Length: 0x5",), "an underscore in it": (b"Content-Length: 0_5",), "an exponent": (
                            b"Content-Length: 5e0",), "a space before the colon": (b"Content-Length : 5",), "a folded line": (
                            b"Content-Length:\r\n 5",), "nothing": (b"Content-Length:",), "an overflow": (b"Content-Length: 18446744073709551621",),
                        "a letter": (b"Content-Length: 5x",), "NUL": (
                            b"Content-Length: 5\0",), "a carriage return": (b"X: y\rContent-Length: 5",), "a line feed": (
                            b"X: y\nContent-Length: 5",),
                        "a vertical tab": (b"Content-Length: \x0b5",), "a dot": (b"Content-Length: 5.0",), "a semicolon": (
                            b"Content-Length: 5;",), "digits of another script": (b"Content-Length: \xd9\xa5",)}.items():
        cases.append(Smuggling(f"a length by {name}", post(*lines, body=b"hello" + EVIL)))
    return cases


def _chunks() -> list[Smuggling]:
    cases = []
    for name, body in {
            "a line feed ends the extension (TERM.EXT)": b"2;\nxx\r\n" + b"%x\r\n" % len(EVIL) + EVIL + END,
            "a line feed in the extension (EXT.TERM)": b"5;a\nhello\r\n" + END,
            "a carriage return ends the extension": b"5;a\rhello\r\n" + END, "a line feed ends the size": b"5\nhello\r\n" + END,
            "a carriage return ends the size": b"5\rhello\r\n" + END, "a line feed ends the data": b"5\r\nhello\n" + END,
            "anything ends the data (TERM.SPILL)": b"5\r\nhelloAB" + END, "nothing ends the data": b"5\r\nhello" + END,
            "a size in 0x": b"0x5\r\nhello\r\n" + END, "a size with a plus": b"+5\r\nhello\r\n" + END, "a size that is negative":
            b"-5\r\nhello\r\n" + END, "a size behind a space": b" 5\r\nhello\r\n" + END, "a size before a space": b"5 \r\nhello\r\n" + END,
            "a size before a tab": b"5\t\r\nhello\r\n" + END, "a size with an underscore": b"0_5\r\nhello\r\n" + END,
            "a size that overflows": b"10000000000000005\r\nhello\r\n" + END,
            "a size with letters behind it": b"5xx\r\nhello\r\n" + END, "no size": b"\r\nhello\r\n" + END, "NUL behind the size":
            b"5\0\r\nhello\r\n" + END, "an extension of NUL": b"5;\0\r\nhello\r\n" + END, "an extension in quotes": b'5;a="b;c"\r\nhello\r\n' + END,
            "an extension in open quotes": b'5;a="\r\nhello\r\n' + END, "an extension with CRLF in quotes": b'5;a="\r\n0\r\n\r\n"\r\nhello\r\n' + END,
            "white space before an extension": b"5 ;a\r\nhello\r\n" + END, "an ordinary extension": b"5;a=b\r\nhello\r\n" + END,
            "a last chunk of many zeros": b"5\r\nhello\r\n0000000000\r\n\r\n", "a last chunk that ends in a line feed": b"5\r\nhello\r\n0\n\n",
            "no empty line behind the last chunk": b"5\r\nhello\r\n0\r\nX", "a length in the trailers": b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
            "a coding in the trailers": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "a host in the trailers":
            b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n", "a request in the trailers": b"5\r\nhello\r\n0\r\n" + EVIL,
            "an ordinary trailer": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "a folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
            "a trailer behind a line feed": b"5\r\nhello\r\n0\r\nX: y\nZ: w\r\n\r\n", "a body that looks like chunks":
            b"5\r\n0\r\n\r\n\r\n" + END}.items():
        cases.append(Smuggling(f"chunks: {name}", post(CHUNKED, body=body)))
    return cases


def _expectations() -> list[Smuggling]:
    return [
        Smuggling("Expect: GET with a body", get(b"Expect: 100-continue", length(EVIL)) + EVIL),
        Smuggling("Expect: 0.CL", post(b"Expect: 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: with a space before its colon", post(b"Expect : 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: with a letter before it", post(b"Expect: y 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: a list", post(b"Expect: 100-continue, 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: on a folded line", post(b"Expect:\r\n 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: twice", post(b"Expect: 100-continue", b"Expect: 100-continue", length(EVIL), body=EVIL)),
        Smuggling("Expect: without a body", get(b"Expect: 100-continue") + SECOND),
        Smuggling("Expect: with chunks", post(b"Expect: 100-continue", CHUNKED, body=b"5\r\nhello\r\n" + END)),
        Smuggling("Expect: a body that never comes", post(b"Expect: 100-continue", b"Content-Length: 1000"), waits=True),
    ]


def _lines() -> list[Smuggling]:
    return [
        Smuggling("line feeds alone everywhere", get().replace(b"\r\n", b"\n")),
        Smuggling("a line feed ends the request line", get().replace(b"\r\n", b"\n", 1)),
        Smuggling("a line feed ends the head", get()[:-2] + b"\n"),
        Smuggling("a line feed before the end of the head", get(b"X: y")[:-4] + b"\n\r\n"),
        Smuggling("a carriage return ends a header", get(b"X: y\rZ: w")),
        Smuggling("a request behind a carriage return", get(b"X: y\r\r" + EVIL)),
        Smuggling("a request behind a line feed", get(b"X: y\n\n" + EVIL)),
        Smuggling("a request behind NUL", get(b"X: y\0" + EVIL)),
        Smuggling("an encoded line end in the path", get(target=b"/a%0d%0aX:%20y")),
        Smuggling("an encoded line end in the query", get(target=b"/a?b=%0d%0aX:%20y")),
        Smuggling("a request in the query", get(target=b"/a?GET%20/other%20HTTP/1.1%0d%0a%0d%0a")),
        Smuggling("a space in the target", get(target=b"/a /b")),
        Smuggling("a version in the target", get(target=b"/a HTTP/1.1 /b")),
        Smuggling("a tab behind the target", get(target=b"/a\t")),
        Smuggling("an empty line before it", b"\r\n" + get()),
        Smuggling("two empty lines before it", b"\r\n\r\n" + get()),
        Smuggling("a request behind a request", get() + SECOND),
        Smuggling("no version", b"GET /a\r\n\r\n"),
        Smuggling("HTTP/0.9 by its version", get().replace(b"HTTP/1.1", b"HTTP/0.9")),
        Smuggling("HTTP/1.2", get().replace(b"HTTP/1.1", b"HTTP/1.2")),
        Smuggling("HTTP/1.1 with a zero more", get().replace(b"HTTP/1.1", b"HTTP/1.10")),
        Smuggling("white space before the first header", b"GET /a HTTP/1.1\r\n X: y\r\nHost: servers.wild.sluice.test\r\n\r\n"),
        Smuggling("a folded header", get(b"X: y\r\n Z: w")),
        Smuggling("a header without a colon", get(b"X")),
        Smuggling("a header without a name", get(b": y")),
        Smuggling("a header of bytes above 0x7f", get(b"\xff: y")),
        Smuggling("a method that hides another", get(b"X-HTTP-Method-Override: POST")),
        Smuggling("an offer of h2c", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")),
        Smuggling("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Smuggling("an Upgrade to TLS", get(b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
    ]


def _hosts_and_paths() -> list[Smuggling]:
    cases = [
        Smuggling("a target and a Host that disagree", get(target=b"http://evil.sluice.test/a")),
        Smuggling("a target that agrees with the Host", get(target=b"http://servers.wild.sluice.test/a")),
        Smuggling("a target with a user name", get(target=b"http://servers.wild.sluice.test@evil.sluice.test/a")),
        Smuggling("two hosts", get(b"Host: evil.sluice.test")),
        Smuggling("two hosts, one of them behind a space", get(b" Host: evil.sluice.test")),
        Smuggling("two hosts, one of them with a space behind it", get(b"Host : evil.sluice.test")),
        Smuggling("two hosts in one", b"GET /a HTTP/1.1\r\nHost: servers.wild.sluice.test, evil.sluice.test\r\n\r\n"),
        Smuggling("a host with a path", b"GET /a HTTP/1.1\r\nHost: servers.wild.sluice.test/evil\r\n\r\n"),
        Smuggling("a host with another one as its port", b"GET /a HTTP/1.1\r\nHost: servers.wild.sluice.test:evil.sluice.test\r\n\r\n"),
        Smuggling("X-Forwarded-Host", get(b"X-Forwarded-Host: evil.sluice.test")),
        Smuggling("X-Original-URL and X-Rewrite-URL", get(b"X-Original-URL: /evil", b"X-Rewrite-URL: /evil")),
        Smuggling("the host hidden by Connection", get(b"Connection: host")),
    ]
    for target in (b"/a/../b", b"/a/%2e%2e/b", b"/a/..%2fb", b"/a%2f..%2fb", b"/a%2fb", b"//a", b"///a//b", b"/a;x=y/b", b"/a/..;/b", b"/%61",
                   b"/%2561", b"/a%00", b"/a\\b", b"/a%5cb", b"/a#b", b"/a%23b", b"/a?b?c", b"/a%3fb", b"/./a", b"/a/.", b"/a/..", b"/..",
                   b"/%c3%a9", b"/\xc3\xa9", b"/a%u0062", b"/a%", b"a", b"?a", b"/a+b", b"/a%20b", b"/a:b@c"):
        cases.append(Smuggling(f"the path {target!r}", get(target=target)))
    return cases


CASES = [*_both_framings(), *_lengths(), *_chunks(), *_expectations(), *_lines(), *_hosts_and_paths()]
