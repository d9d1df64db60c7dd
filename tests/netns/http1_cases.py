"""What an HTTP/1 client may send and what has to happen, as a table. test_http1_conformance.py runs it.

Each case names the section that it comes from. Where that leaves a choice, the case says what this product
chose: to refuse what two implementations could read in two ways.
"""

from dataclasses import dataclass, field

HOST = "outside.sluice.test"
GUARDED = "/guarded"  # below it nobody passes: what reaches a server from there is a hole
HOST_LINE = f"Host: {HOST}".encode()

NOT_FORGED = object()  # in Case.has: one value, and not the client's
AWAIT_CONTINUE = object()  # in Case.sent: wait for 100 (Continue) here


@dataclass(frozen=True)
class Case:
    name: str
    section: str
    sent: tuple  # pieces of bytes, and AWAIT_CONTINUE
    statuses: tuple[tuple[int, ...], ...]  # of the responses, one after the other; what is allowed for each
    goes_on: bool  # whether the connection does; None: as it likes
    methods: tuple[str, ...] = ("GET",)  # of the requests, for reading the responses
    reaches: tuple = ()  # of each request that a server sees: (method, target, body)
    has: dict = field(default_factory=dict)  # headers that the server sees last: name → values
    lacks: tuple[str, ...] = ()  # and those that it must not see


def head(first: str | bytes, *lines: str | bytes, host: str | bytes | None = HOST_LINE) -> bytes:
    """A request's head out of lines."""
    all_lines = [first, *([host] if host is not None else []), *lines, "", ""]
    return b"\r\n".join(line.encode("latin-1") if isinstance(line, str) else line for line in all_lines)


def get(*lines: str | bytes, target: str = "/case", host: str | bytes | None = HOST_LINE) -> bytes:
    return head(f"GET {target} HTTP/1.1", *lines, host=host)


def post(*lines: str | bytes, body: bytes = b"") -> bytes:
    return head("POST /case HTTP/1.1", *lines) + body


CHUNKED = "Transfer-Encoding: chunked"


def refused(section: str, name: str, sent: bytes, *statuses: int) -> Case:
    """Answered with an error, closed, and never seen by a server as a request."""
    return Case(name, section, (sent,), (statuses or (400,),), goes_on=False)


def passed(section: str, name: str, sent: bytes | tuple, *, method: str = "GET", target: str = "/case",
           body: bytes = b"", goes_on: bool | None = True, has: dict | None = None,
           lacks: tuple[str, ...] = ()) -> Case:
    """Seen by a server as this one request, and answered with 200."""
    return Case(name, section, sent if isinstance(sent, tuple) else (sent,), ((200,),), goes_on, (method,),
                ((method, target, body),), has or {}, lacks)


def answered(section: str, name: str, sent: bytes, *statuses: int, goes_on: bool | None = True,
             method: str = "GET") -> Case:
    """Answered by the node itself, in good order."""
    return Case(name, section, (sent,), (statuses,), goes_on, (method,))


def _request_line() -> list[Case]:
    section = "RFC 9112 3"
    lines = {
        "no version": b"GET /case", "no target": b"GET HTTP/1.1", "only a method": b"GET", "two spaces before the target":
        b"GET  /case HTTP/1.1", "two spaces before the version": b"GET /case  HTTP/1.1", "a space before the method":
        b" GET /case HTTP/1.1", "a space after the version": b"GET /case HTTP/1.1 ", "a tab after the method":
        b"GET\t/case HTTP/1.1", "a tab before the version": b"GET /case\tHTTP/1.1", "a space in the target":
        b"GET /ca se HTTP/1.1", "a tab in the target": b"GET /ca\tse HTTP/1.1", "NUL in the target":
        b"GET /ca\0se HTTP/1.1", "DEL in the target": b"GET /ca\x7fse HTTP/1.1", "a byte above 0x7f in the target":
        b"GET /ca\xe4se HTTP/1.1", "UTF-8 in the target": "GET /caße HTTP/1.1".encode(), "a carriage return in the target":
        b"GET /ca\rse HTTP/1.1", "a line feed alone at its end": b"GET /case HTTP/1.1\nX: y",
        "two carriage returns at its end": b"GET /case HTTP/1.1\r",
        "a vertical tab between its parts": b"GET\x0b/case HTTP/1.1", "a form feed between its parts": b"GET\x0c/case HTTP/1.1",
        "something after the version": b"GET /case HTTP/1.1 x",
    }
    cases = [refused(section, name, head(line)) for name, line in lines.items()]
    for name, method in {"in parentheses": b"(GET)", "with a colon": b"GET:", "with a comma": b"GE,T", "quoted": b'"GET"',
                         "with a slash": b"GE/T", "with NUL": b"GE\0T", "with a byte above 0x7f": b"GE\xe4T",
                         "with a brace": b"{GET}", "with an at sign": b"G@T"}.items():
        cases.append(refused("RFC 9110 9.1", f"a method {name}", head(method + b" /case HTTP/1.1")))
    for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"):
        cases.append(refused("RFC 9110 15.6.6", f"the version {version}", head(f"GET /case {version}"), 505))
    for version in ("http/1.1", "Http/1.1", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/01.1", "HTTP/1.10", "HTTP/1.01", "HTTP/1,1",
                    "HTTP/11", "HTTP/1.1x", "HTTPS/1.1", "ICY/1.1", "HTTP/-1.1", "HTTP/+1.1", "HTTP/1.-1", "HTTP", "HTTP/",
                    "HTTP/x.y", "HTTP\\1.1"):
        cases.append(refused("RFC 9112 2.3", f"the version {version}", head(f"GET /case {version}")))
    cases += [
        refused("RFC 9113 3.4", "the preface of HTTP/2 where HTTP/1.1 was agreed",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505),
        passed("RFC 9112 2.2", "one empty line before it", b"\r\n" + get()),
        refused("RFC 9112 2.2", "two empty lines before it", b"\r\n\r\n" + get()),
        refused("RFC 9112 2.2", "a line feed before it", b"\n" + get()),
        refused("RFC 9112 2.2", "line feeds alone everywhere", get().replace(b"\r\n", b"\n")),
        refused("RFC 9112 2.2", "carriage returns alone everywhere, then an end", get().replace(b"\r\n", b"\r") + b"\r\n\r\n"),
        refused("RFC 9112 2.2", "bytes that are no text", bytes(range(256)) + b"\r\n\r\n"),
        refused("RFC 9112 2.2", "a second ClientHello", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n"),
        passed("RFC 9110 9.1", "a method that nobody knows", head("BREW /case HTTP/1.1"), method="BREW"),
        passed("RFC 9110 9.1", "a method of all token bytes", head("!#$%&'*+-.^_`|~aZ09 /case HTTP/1.1"),
               method="!#$%&'*+-.^_`|~aZ09"),
        passed("RFC 9110 9.1", "methods keep their case", head("get /case HTTP/1.1"), method="get"),
        passed("RFC 9110 9.3.3", "POST without a body", post(), method="POST"),
        passed("RFC 9110 9.3.4", "PUT", head("PUT /case HTTP/1.1", "Content-Length: 1") + b"x", method="PUT", body=b"x"),
        passed("RFC 9110 9.3.5", "DELETE with a body", head("DELETE /case HTTP/1.1", "Content-Length: 1") + b"x",
               method="DELETE", body=b"x"),
        passed("RFC 5789 2", "PATCH", head("PATCH /case HTTP/1.1", "Content-Length: 1") + b"x", method="PATCH", body=b"x"),
        refused("RFC 9110 9.3.6", "CONNECT", head(f"CONNECT {HOST}:443 HTTP/1.1"), 400, 501),
        Case("TRACE", "RFC 9110 9.3.8", (head("TRACE /case HTTP/1.1"),), ((400, 405, 501),), None, ("TRACE",)),
        passed("RFC 9112 3", "a request line of 8000 bytes",
               get(target="/" + "a" * (8000 - 15)), target="/" + "a" * (8000 - 15)),
        refused("RFC 9112 3", "a request line of 9000 bytes", get(target="/" + "a" * 9000), 414),
        refused("RFC 9112 3", "a request line of a megabyte", get(target="/" + "a" * (1 << 20)), 414),
        refused("RFC 9112 3", "a method of 9000 bytes", head("A" * 9000 + " /case HTTP/1.1"), 400, 414, 501),
    ]
    return cases


def _target() -> list[Case]:
    absolute = "RFC 9112 3.2.2"
    cases = [
        passed("RFC 9112 3.2.1", "origin form with a query", get(target="/case?a=b&c"), target="/case?a=b&c"),
        passed("RFC 9112 3.2.1", "an empty query", get(target="/case?"), target="/case?"),
        passed("RFC 3986 3.4", "slashes, dots and question marks in a query", get(target="/case?/../a?b//"),
               target="/case?/../a?b//"),
        passed(absolute, "absolute form", get(target=f"http://{HOST}/case")),
        passed(absolute, "absolute form with https", get(target=f"https://{HOST}/case")),
        passed(absolute, "the scheme in capitals", get(target=f"HTTP://{HOST}/case")),
        passed(absolute, "the host in capitals", get(target=f"http://{HOST.upper()}/case"), has={"host": [HOST]}),
        passed(absolute, "an empty path", get(target=f"http://{HOST}"), target="/"),
        passed(absolute, "an empty path and a query", get(target=f"http://{HOST}?q"), target="/?q"),
        passed(absolute, "dots behind a host", get(target=f"http://{HOST}/a/../case")),
        refused(absolute, "another host than the Host header's", get(target="http://inside.sluice.test/case")),
        refused(absolute, "another port than the Host header's", get(target=f"http://{HOST}:8443/case")),
        refused(absolute, "no Host header", get(target=f"http://{HOST}/case", host=None)),
        refused("RFC 9110 4.2.4", "a user name", get(target=f"http://user@{HOST}/case")),
        refused("RFC 9110 4.2.4", "a user name and a password", get(target=f"http://user:pw@{HOST}/case")),
        refused("RFC 9110 4.2.4", "a user name that looks like a host", get(target=f"http://{HOST}@inside.sluice.test/")),
        refused("RFC 9110 4.2.1", "an empty host", get(target="http:///case")),
        refused("RFC 9110 4.2.1", "an empty host with a port", get(target="http://:80/case")),
        refused(absolute, "another scheme", get(target=f"ftp://{HOST}/case")),
        refused(absolute, "no scheme", get(target=f"://{HOST}/case")),
        refused(absolute, "one slash", get(target=f"http:/{HOST}/case")),
        refused(absolute, "a backslash behind the host", get(target=f"http://{HOST}\\case")),
        refused(absolute, "javascript", get(target="javascript:alert(1)")),
        refused("RFC 9112 3.2.3", "authority form with GET", get(target=f"{HOST}:443")),
        refused("RFC 9112 3.2.4", "asterisk form with GET", get(target="*")),
        refused("RFC 9112 3.2.4", "two asterisks", head("OPTIONS ** HTTP/1.1")),
        passed("RFC 9112 3.2.4", "asterisk form", head("OPTIONS * HTTP/1.1"), method="OPTIONS", target="*"),
        passed("RFC 9110 9.3.7", "OPTIONS of a path", head("OPTIONS /case HTTP/1.1"), method="OPTIONS"),
        refused("RFC 9112 3.2", "no slash at the beginning", get(target="case")),
        refused("RFC 9112 3.2", "only a query", get(target="?case")),
        refused("RFC 9112 3.2", "dots without a slash", get(target="../case")),
        refused("RFC 3986 3.5", "a fragment", get(target="/case#there")),
        refused("RFC 3986 3.5", "a fragment within the query", get(target="/case?a#b")),
    ]
    section = "RFC 3986 6.2.2"
    for sent, normal in {"/./case": "/case", "/a/../case": "/case", "/a/./b/../case": "/a/case", "/case/.": "/case/",
                         "/case/..": "/", "/%2e/case": "/case", "/a/%2e%2e/case": "/case", "/a/%2E./case": "/case",
                         "/a/.%2e/case": "/case", "//case": "/case", "///case": "/case", "/%63ase": "/case",
                         "/%7euser": "/~user", "/%c3%a9": "/%C3%A9", "/a%2fb": "/a%2Fb", "/a%20b": "/a%20b", "/a+b": "/a+b",
                         "/a//b": "/a//b", "/...": "/...", "/..a": "/..a", "/a..": "/a..", "/.a/b.": "/.a/b.",
                         "/a;v=1": "/a;v=1", "/a@b:c!$&'()*,=": "/a@b:c!$&'()*,=", "/%25%32%65": "/%252e"}.items():
        cases.append(passed(section, f"the path {sent}", get(target=sent), target=normal))
    for sent in ("/..", "/../case", "/a/../..", "/%2e%2e/case", "/.%2e/case", "/a/../../case", "/%", "/%4", "/%zz", "/a%2",
                 "/%00", "/a%0ab", "/a%0d%0ab", "/%1f", "/%7f", "/a\\b", "/..\\case", "/..;/case", "/.;/case", "/a/..;x/b",
                 "/%u002e", "/%c"):
        cases.append(refused(section, f"the path {sent}", get(target=sent)))
    for sent in (GUARDED, f"{GUARDED}/x", f"/.{GUARDED}", f"/{GUARDED}", f"/a/..{GUARDED}", "/%67uarded", "/g%75arded/x",
                 f"http://{HOST}{GUARDED}", f"{GUARDED}?x", f"{GUARDED}/", f"{GUARDED}/../guarded", f"{GUARDED};x",
                 f"/a/..%2f{GUARDED[1:]}", f"/a%2f..{GUARDED}", f"/a%2f..%2f{GUARDED[1:]}", f"/%2f{GUARDED[1:]}",
                 f"/a;x/..{GUARDED}", f"/a//../..{GUARDED}", f"{GUARDED}%2fx", f"{GUARDED}%3bx", f"/a/..%5c{GUARDED[1:]}",
                 "/;/guarded", f"/a/%2e%2e%2f{GUARDED[1:]}", f"/case/..%2F{GUARDED[1:]}/x"):
        cases.append(Case(f"into the guarded path by {sent}", section, (get(target=sent),), ((400, 403),), None))
    return cases


def _host() -> list[Case]:
    section = "RFC 9112 3.2"
    good = {"in capitals": HOST.upper(), "with a trailing dot": HOST + ".", "with a port": HOST + ":3443",
            "with an empty port": HOST + ":"}
    cases = [passed("RFC 9110 7.2", f"a host {name}", get(host=f"Host: {value}")) for name, value in good.items()]
    cases += [passed(section, "a host after other headers", get("X: y", "hOsT: " + HOST, host=None)),
              passed(section, "white space around the host", get(host=f"Host: \t {HOST} \t")),
              answered("RFC 9110 7.4", "a host that is not served", get(host="Host: nobody.sluice.test"), 404, 421),
              answered("RFC 9110 7.4", "an IPv6 host", get(host="Host: [::1]"), 404, 421),
              answered("RFC 9110 7.4", "an IPv4 host", get(host="Host: 127.0.0.1"), 404, 421),
              answered(section, "no host in HTTP/1.0", head("GET /case HTTP/1.0", host=None), 400, 404, 421, goes_on=False),
              refused(section, "no host in HTTP/1.1", get(host=None)),
              refused(section, "two hosts", get("Host: inside.sluice.test")),
              refused(section, "two equal hosts", get(HOST_LINE)),
              refused(section, "two hosts in HTTP/1.0", head("GET /case HTTP/1.0", HOST_LINE)),
              refused(section, "a host with a space before its colon", get(host=f"Host : {HOST}")),
              refused(section, "a host on a folded line", get(host=f"Host:\r\n {HOST}"))]
    for name, value in {"that is empty": "", "that is white space": " \t", "that is a list": f"{HOST}, inside.sluice.test",
                        "with a path": HOST + "/case", "with a scheme": "http://" + HOST, "with a user name": "me@" + HOST,
                        "with a query": HOST + "?x", "with a fragment": HOST + "#x", "with a space": HOST + " x",
                        "with a semicolon": HOST + ";x", "with a backslash": HOST + "\\x", "with a percent sign": "%6f" + HOST[1:],
                        "with two trailing dots": HOST + "..", "with a leading dot": "." + HOST, "with an empty label":
                        "outside..sluice.test", "with the port 0": HOST + ":0", "with the port 65536": HOST + ":65536",
                        "with the port 080443": HOST + ":080443", "with the port 443x": HOST + ":443x", "with the port +443":
                        HOST + ":+443", "with two ports": HOST + ":443:443", "with bytes above 0x7f": "\xf6utside.sluice.test",
                        "of 300 bytes": "a." * 150 + "test", "with an open bracket": "[::1", "with a bad IPv6 address": "[::g]",
                        "with a zone": "[fe80::1%25eth0]", "with brackets around a name": f"[{HOST}]", "with something behind a bracket":
                        "[::1]x", "of a lone dot": ".", "with NUL": HOST + "\0", "of a star": "*.sluice.test",
                        "with a comma behind it": HOST + ","}.items():
        cases.append(refused("RFC 3986 3.2.2", f"a host {name}", get(host=f"Host: {value}")))
    return cases


def _fields() -> list[Case]:
    section = "RFC 9112 5"
    cases = []
    for name, line in {"no colon": b"X-A y", "an empty name": b": y", "only a colon": b":", "white space before the colon": b"X-A : y",
                       "a tab before the colon": b"X-A\t: y", "a space in the name": b"X A: y", "a byte above 0x7f in the name":
                       b"X-\xe4: y", "NUL in the name": b"X-\0A: y", "a parenthesis in the name": b"X(A): y", "a quote in the name":
                       b'X"A": y', "a slash in the name": b"X/A: y", "an at sign in the name": b"X@A: y", "a bracket in the name":
                       b"X[A]: y", "a brace in the name": b"X{A}: y", "a comma in the name": b"X,A: y", "a semicolon in the name":
                       b"X;A: y", "an equals sign in the name": b"X=A: y", "a backslash in the name": b"X\\A: y",
                       "a question mark in the name": b"X?A: y", "a tab in the name": b"X\tA: y"}.items():
        cases.append(refused(section + ".1", name, get(line)))
    for name, line in {"a line folded with a space": b"X-A: y\r\n z: w", "a line folded with a tab": b"X-A: y\r\n\tz: w",
                       "an empty folded line": b"X-A: y\r\n ", "a first header behind a space": b"X-A: y\r\n  X-B: z"}.items():
        cases.append(refused(section + ".2", name, get(line)))
    cases.append(refused(section + ".2", "white space before the first header", get(host=b" X: y\r\n" + HOST_LINE)))
    for name, line in {"NUL in a value": b"X-A: y\0z", "a bare carriage return in a value": b"X-A: y\rz",
                       "a bare line feed in a value": b"X-A: y\nz", "a bare carriage return at a value's end": b"X-A: y\r",
                       "an escape in a value": b"X-A: y\x1bz", "a bell in a value": b"X-A: \x07", "DEL in a value": b"X-A: y\x7fz",
                       "a vertical tab in a value": b"X-A: y\x0bz", "a form feed in a value": b"X-A: y\x0cz",
                       "a hidden header behind a carriage return": b"X-A: y\rX-B: z",
                       "a hidden header behind a line feed": b"X-A: y\nX-B: z"}.items():
        cases.append(refused("RFC 9110 5.5", name, get(line)))
    cases += [
        refused("RFC 9112 2.2", "a head that ends in a line feed alone", get()[:-2] + b"\n"),
        refused("RFC 9112 2.2", "a head whose lines end in line feeds alone", get("X-A: y").replace(b"y\r\n", b"y\n")),
        passed("RFC 9110 5.5", "bytes above 0x7f in a value", get(b"X-A: \xe4\xff"), has={"x-a": ["\xe4\xff"]}),
        passed("RFC 9110 5.5", "an empty value", get("X-A:"), has={"x-a": [""]}),
        passed("RFC 9112 5.1", "white space around a value", get("X-A: \t y \t"), has={"x-a": ["y"]}),
        passed("RFC 9110 5.5", "a tab within a value", get("X-A: y\tz"), has={"x-a": ["y\tz"]}),
        passed("RFC 9112 5.1", "no white space before a value", get("X-A:y"), has={"x-a": ["y"]}),
        passed("RFC 9110 5.6.2", "a name of all token bytes", get("!#$%&'*+-.^`|~aZ09: y"), has={"!#$%&'*+-.^`|~aZ09": ["y"]}),
        passed("RFC 9110 5.3", "one name on several lines", get("X-A: 1", "X-B: 2", "x-a: 3"), has={"x-a": ["1", "3"], "x-b": ["2"]}),
        passed("RFC 9110 5.6.1", "lists stay as they are", get("X-A: 1,,2 , 3"), has={"x-a": ["1,,2 , 3"]}),
        passed("RFC 9110 5.5", "colons in a value", get("X-A: a:b: c"), has={"x-a": ["a:b: c"]}),
        passed("RFC 9110 5.4", "a name of 1000 bytes", get("a" * 1000 + ": y"), has={"a" * 1000: ["y"]}),
        passed("RFC 9110 5.4", "a value of 30,000 bytes", get("X-A: " + "v" * 30_000), has={"x-a": ["v" * 30_000]}),
        passed("RFC 9110 5.4", "99 headers beside the host", get(*[f"X-{i}: y" for i in range(99)]), has={"x-98": ["y"]}),
        refused("RFC 6585 5", "101 headers", get(*[f"X-{i}: y" for i in range(100)]), 431),
        refused("RFC 6585 5", "100,000 headers", get(*["a:"] * 100_000), 431),
        refused("RFC 6585 5", "headers of 70,000 bytes", get("X-A: " + "v" * 70_000), 431),
        refused("RFC 6585 5", "headers of a megabyte without an end", get("X-A: " + "v" * (1 << 20))[:-4], 431),
        passed("RFC 9110 7.6.3", "Via", get("Via: 1.0 fred"), has={"via": ["1.0 fred"]}),
    ]
    return cases


def _lengths() -> list[Case]:
    section = "RFC 9112 6.3"
    cases = []
    for value in ("+5", "-5", "-0", "5a", "a", "0x5", "5 5", "5,5", "5, 5", "5,6", "5;", "5.0", "1e1", "5_0", '"5"', "", " ", ",5", "5,",
                  "\xb2", "9223372036854775808", "18446744073709551616", "18446744073709551621", "9" * 30, "5 \x0b", "#5", "5=5"):
        cases.append(refused(section, f"Content-Length: {value!r}", post(f"Content-Length: {value}", body=b"hello")))
    for name, lines in {"the same length twice": ("Content-Length: 5", "Content-Length: 5"),
                        "two lengths": ("Content-Length: 5", "Content-Length: 6"),
                        "a length and an empty one": ("Content-Length: 5", "Content-Length:"),
                        "lengths in two cases": ("Content-Length: 5", "content-length: 0"),
                        "a length on a folded line": ("Content-Length:\r\n 5",),
                        "white space before the length's colon": ("Content-Length : 5",),
                        "a tab before the length's colon": ("Content-Length\t: 5",),
                        "NUL before the length": ("\0Content-Length: 5",),
                        "a length behind a carriage return": ("X: y\rContent-Length: 5",),
                        "a length behind a line feed": ("X: y\nContent-Length: 5",)}.items():
        cases.append(refused(section, name, post(*lines, body=b"hello")))
    cases += [
        passed("RFC 9110 8.6", "a body of a length", post("Content-Length: 5", body=b"hello"), method="POST", body=b"hello",
               has={"content-length": ["5"]}, lacks=("transfer-encoding",)),
        passed("RFC 9110 8.6", "a length in small letters", post("content-length:5", body=b"hello"), method="POST", body=b"hello"),
        passed("RFC 9110 8.6", "leading zeros are digits", post("Content-Length: 0005", body=b"hello"), method="POST", body=b"hello",
               has={"content-length": ["5"]}),
        passed("RFC 9110 8.6", "white space around a length", post("Content-Length: \t5 ", body=b"hello"), method="POST", body=b"hello"),
        passed("RFC 9110 8.6", "the length 0", post("Content-Length: 0"), method="POST", has={"content-length": ["0"]}),
        passed("RFC 9110 9.3.1", "GET with a body", get("Content-Length: 5") + b"hello", body=b"hello"),
        passed("RFC 9112 6.3", "a body that looks like a request", post("Content-Length: 26", body=b"GET /evil HTTP/1.1\r\nX: y\r\n"),
               method="POST", body=b"GET /evil HTTP/1.1\r\nX: y\r\n"),
        passed("RFC 9110 5.1", "an underscore makes another name, which does not pass", post(
            "Content-Length: 5", "Content_Length: 9", body=b"hello"), method="POST", body=b"hello", lacks=("content_length",)),
        passed("RFC 9112 6.3", "Content-Encoding frames nothing", post("Content-Length: 5", "Content-Encoding: chunked", body=b"hello"),
               method="POST", body=b"hello", has={"content-encoding": ["chunked"]}),
    ]
    return cases


def _codings() -> list[Case]:
    section, hello = "RFC 9112 6.1", b"5\r\nhello\r\n0\r\n\r\n"
    cases = []
    for value in ("gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,chunked", "chunked,", ",chunked", "chunked, identity",
                  '"chunked"', "chunked;q=1", "chunked; x", "\x0bchunked", "chunked\x0b", "chu nked", "", " ", "chunked\x00",
                  "chunked\x7f", "\xa0chunked", "chunked\x0c", "identity, chunked", "chunked x"):
        cases.append(refused(section, f"Transfer-Encoding: {value!r}", post(f"Transfer-Encoding: {value}", body=hello)))
    for value in ("xchunked", "chunkedx", "identity", "gzip", "deflate", "cow", "chunked0", "x-chunked"):
        cases.append(refused(section, f"Transfer-Encoding: {value}", post(f"Transfer-Encoding: {value}", body=hello), 400, 501))
    for name, lines in {"chunked twice": (CHUNKED, CHUNKED), "chunked and identity": (CHUNKED, "Transfer-Encoding: identity"),
                        "identity and chunked": ("Transfer-Encoding: identity", CHUNKED),
                        "chunked and nothing": (CHUNKED, "Transfer-Encoding:"),
                        "white space before the coding's colon": ("Transfer-Encoding : chunked",),
                        "a tab before the coding's colon": ("Transfer-Encoding\t: chunked",),
                        "a coding on a folded line": ("Transfer-Encoding:\r\n chunked",),
                        "a coding folded with a tab": ("Transfer-Encoding:\r\n\tchunked",),
                        "a coding behind a folded line": ("X: y\r\n Transfer-Encoding: chunked",),
                        "a coding behind a carriage return": ("X: y\rTransfer-Encoding: chunked",),
                        "a coding behind a line feed": ("X: y\nTransfer-Encoding: chunked",),
                        "NUL within the coding's name": ("Transfer\0-Encoding: chunked",),
                        "a colon before the coding": (": Transfer-Encoding: chunked",)}.items():
        cases.append(refused(section, name, post(*lines, body=hello), 400, 501))
    for name, lines in {"a length, then a coding": ("Content-Length: 5", CHUNKED), "a coding, then a length": (CHUNKED, "Content-Length: 5"),
                        "the length 0 and a coding": ("Content-Length: 0", CHUNKED),
                        "a length and a coding that is not known": ("Content-Length: 5", "Transfer-Encoding: x")}.items():
        cases.append(refused("RFC 9112 6.3", name, post(*lines, body=hello), 400, 501))
    cases += [
        refused(section, "a coding in HTTP/1.0", head("POST /case HTTP/1.0", CHUNKED) + hello),
        refused(section, "a coding and a length in HTTP/1.0", head("POST /case HTTP/1.0", CHUNKED, "Content-Length: 15") + hello),
        passed(section, "chunked", post(CHUNKED, body=hello), method="POST", body=b"hello", lacks=("content-length",)),
        passed(section, "chunked in capitals", post("Transfer-Encoding: CHUNKED", body=hello), method="POST", body=b"hello"),
        passed(section, "white space around chunked", post("Transfer-Encoding: \tchunked ", body=hello), method="POST", body=b"hello"),
        passed(section, "GET with a chunked body", get(CHUNKED) + hello, body=b"hello"),
        passed(section, "an underscore makes another name, which does not pass", post(
            "Transfer_Encoding: chunked", "Content-Length: 5", body=b"hello"), method="POST", body=b"hello",
            lacks=("transfer_encoding", "transfer-encoding")),
        passed(section, "other names that look alike frame nothing", post(
            "TransferEncoding: chunked", "X-Transfer-Encoding: chunked", "Content-Length: 5", body=b"hello"), method="POST", body=b"hello"),
    ]
    return cases


def _chunks() -> list[Case]:
    section = "RFC 9112 7.1"
    cases = []
    for name, body, expected in (
            ("no chunk but the last", b"0\r\n\r\n", b""), ("several chunks", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
            ("capital digits", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            ("small digits", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"), ("leading zeros", b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
            ("CRLF in the data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"), ("a chunk that looks like the end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
                                                                              b"0\r\n\r\n")):
        cases.append(passed(section, name, post(CHUNKED, body=body), method="POST", body=expected))
    for name, extension in {"a name": b";a", "a name and a value": b";a=b", "a quoted value": b';a="b;c"', "an escaped quote": b';a="\\""',
                            "several": b";a=b;c;d=e"}.items():
        cases.append(passed(section + ".1", f"an extension: {name}", post(CHUNKED, body=b"5" + extension + b"\r\nhello\r\n0\r\n\r\n"),
                            method="POST", body=b"hello"))
    for name, size in {"in 0x": b"0x5", "with a plus": b"+5", "with a minus": b"-5", "behind a space": b" 5", "before a space": b"5 ",
                       "before a tab": b"5\t", "that is missing": b"", "that is no number": b"g", "of which only an extension is there": b";a",
                       "with an underscore": b"5_0", "with a dot": b"5.0", "of seventeen digits": b"1" * 17, "of sixteen f": b"f" * 16,
                       "that overflows 32 bits and 64": b"100000000000000005", "with NUL": b"5\0", "behind NUL": b"\x005",
                       "with bytes above 0x7f": b"\xb2", "of minus zero": b"-0", "before a carriage return": b"5\r",
                       "in quotes": b'"5"', "with a comma": b"5,5", "before a vertical tab": b"5\x0b"}.items():
        cases.append(refused(section, f"a chunk size {name}", post(CHUNKED, body=size + b"\r\nhello\r\n0\r\n\r\n")))
    for name, body in {"a line feed alone behind a size": b"5\nhello\r\n0\r\n\r\n", "a carriage return alone behind a size":
                       b"5\rhello\r\n0\r\n\r\n", "no end behind the data": b"5\r\nhello0\r\n\r\n", "data longer than its size":
                       b"5\r\nhello!\r\n0\r\n\r\n", "a line feed alone behind the data": b"5\r\nhello\n0\r\n\r\n",
                       "a carriage return alone behind the data": b"5\r\nhello\r0\r\n\r\n",
                       "two bytes that are no line end behind the data": b"5\r\nhelloXX0\r\n\r\n",
                       "a line feed alone behind the last chunk": b"0\n\r\n", "a line feed alone at the end": b"0\r\n\n",
                       "two carriage returns at the end": b"0\r\n\r\r\n", "a space before a chunk's size": b"5\r\nhello\r\n 0\r\n\r\n"}.items():
        cases.append(refused(section, name, post(CHUNKED, body=body)))
    for name, extension in {"a line feed": b";a\nb", "a carriage return": b";a\rb", "NUL": b";a=\0", "nothing": b";", "no name": b";=b",
                            "no value": b";a=", "white space before it": b" ;a", "white space within": b"; a", "an open quote": b';a="b',
                            "a line feed in quotes": b';a="\n"', "a carriage return in quotes": b';a="\r"', "5000 bytes": b";a=" + b"b" * 5000,
                            "something behind the quotes": b';a="b"c', "a byte above 0x7f": b";\xe4=b", "two values": b";a=b=c"}.items():
        cases.append(refused(section + ".1", f"an extension with {name}",
                             post(CHUNKED, body=b"5" + extension + b"\r\nhello\r\n0\r\n\r\n")))
    cases.append(refused(section + ".1", "extensions without end", post(
        CHUNKED, body=b"".join(b"1;" + b"a" * 200 + b"\r\nx\r\n" for _ in range(2000)) + b"0\r\n\r\n"), 400, 431))
    trailers = section + ".2"
    cases += [
        passed(trailers, "a trailer", post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), method="POST", body=b"hello"),
        passed(trailers, "a trailer that was announced", post(CHUNKED, "Trailer: X-Sum", body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
               method="POST", body=b"hello", lacks=("x-sum",)),
        passed(trailers, "trailers never become headers", post(CHUNKED, body=b"0\r\nX-Role: admin\r\n\r\n"), method="POST",
               lacks=("x-role",)),
    ]
    for name, line in {"a length": b"Content-Length: 5", "a coding": b"Transfer-Encoding: chunked", "a host": b"Host: inside.sluice.test"}.items():
        cases.append(refused("RFC 9110 6.5.1", f"{name} in the trailers", post(CHUNKED, body=b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")))
    for name, line in {"no colon": b"X-A", "white space before its colon": b"X-A : y", "a folded line": b"X-A: y\r\n z", "NUL": b"X-A: \0",
                       "a line feed alone": b"X-A: y\nX-B: z", "an empty name": b": y", "a byte above 0x7f in its name": b"\xe4: y",
                       "a bare carriage return": b"X-A: y\rz"}.items():
        cases.append(refused(trailers, f"a trailer with {name}", post(CHUNKED, body=b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")))
    cases.append(refused("RFC 6585 5", "trailers of 100,000 bytes", post(
        CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: " + b"v" * 100_000 + b"\r\n\r\n"), 400, 431))
    return cases


def _expectations() -> list[Case]:
    section = "RFC 9110 10.1.1"
    head_only = post("Content-Length: 5", "Expect: 100-continue")
    return [
        passed(section, "a client that waits for 100 (Continue)", (head_only, AWAIT_CONTINUE, b"hello"), method="POST", body=b"hello"),
        passed(section, "a client that waits, with chunks", (post(CHUNKED, "Expect: 100-continue"), AWAIT_CONTINUE, b"5\r\nhello\r\n0\r\n\r\n"),
               method="POST", body=b"hello"),
        passed(section, "a client that does not wait", post("Content-Length: 5", "Expect: 100-continue", body=b"hello"), method="POST",
               body=b"hello"),
        passed(section, "the expectation in capitals", (post("Content-Length: 5", "Expect: 100-CONTINUE"), AWAIT_CONTINUE, b"hello"),
               method="POST", body=b"hello"),
        passed(section, "an expectation without a body", get("Expect: 100-continue")),
        passed(section, "an expectation in HTTP/1.0 means nothing", head(
            "POST /case HTTP/1.0", "Content-Length: 5", "Expect: 100-continue") + b"hello", method="POST", body=b"hello", goes_on=False,
            lacks=("expect",)),
        refused(section, "an expectation that nobody knows", post("Content-Length: 5", "Expect: the-unexpected", body=b"hello"), 417),
        refused(section, "two expectations in a list", post("Content-Length: 5", "Expect: 100-continue, x", body=b"hello"), 417),
        refused(section, "an expectation that is almost right", post("Content-Length: 5", "Expect: 100-continue x", body=b"hello"), 417),
        refused(section, "an expectation with two framings", post("Content-Length: 5", CHUNKED, "Expect: 100-continue", body=b"hello")),
    ]


def _connections() -> list[Case]:
    section, ok = "RFC 9112 9.3", (200,)
    cases = [
        passed(section, "HTTP/1.1 goes on", get()),
        passed(section, "keep-alive goes on", get("Connection: keep-alive"), lacks=("keep-alive",)),
        passed("RFC 9112 9.6", "close", get("Connection: close"), goes_on=False),
        passed("RFC 9112 9.6", "CLOSE", get("Connection: CLOSE"), goes_on=False),
        passed("RFC 9112 9.6", "close in a list", get("Connection: X-A , close,"), goes_on=False),
        passed("RFC 9112 9.6", "close in a second header", get("Connection: X-A", "Connection: close"), goes_on=False),
        passed("RFC 9112 9.6", "keep-alive and close", get("Connection: keep-alive, close"), goes_on=False),
        passed(section, "close within a word is no close", get("Connection: closed")),
        passed(section, "HTTP/1.0 ends", head("GET /case HTTP/1.0"), goes_on=False, has={}),
        passed(section, "HTTP/1.0 with keep-alive ends", head("GET /case HTTP/1.0", "Connection: keep-alive"), goes_on=False),
        passed("RFC 9112 C.2.2", "Proxy-Connection means nothing and does not pass", get("Proxy-Connection: close"),
               lacks=("proxy-connection",)),
        passed("RFC 9112 9.6", "after a refused host the connection goes on", get()),
        refused("RFC 9110 7.6.1", "options that are no tokens", get("Connection: a b")),
        refused("RFC 9110 7.6.1", "more options than anybody has", get("Connection: " + ",".join(f"x{i}" for i in range(17)))),
        Case("three requests at once", "RFC 9112 9.3.2", (get(target="/1") + get(target="/2") + get(target="/3"),), (ok,) * 3, True,
             ("GET",) * 3, tuple(("GET", f"/{i}", b"") for i in (1, 2, 3))),
        Case("a request behind a body of a length", "RFC 9112 9.3.2", (post("Content-Length: 5", body=b"hello") + get(),), (ok,) * 2, True,
             ("POST", "GET"), (("POST", "/case", b"hello"), ("GET", "/case", b""))),
        Case("a request behind chunks", "RFC 9112 9.3.2", (post(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n") + get(),), (ok,) * 2, True,
             ("POST", "GET"), (("POST", "/case", b"hello"), ("GET", "/case", b""))),
        Case("a request behind trailers", "RFC 9112 9.3.2", (post(CHUNKED, body=b"0\r\nX: y\r\n\r\n") + get(),), (ok,) * 2, True,
             ("POST", "GET"), (("POST", "/case", b""), ("GET", "/case", b""))),
        Case("an empty line between two requests", "RFC 9112 2.2", (get() + b"\r\n" + get(),), (ok,) * 2, True, ("GET",) * 2,
             (("GET", "/case", b""),) * 2),
        Case("a good request, then a bad one", "RFC 9112 9.3.2", (get() + b"GET\r\n\r\n",), (ok, (400,)), False, ("GET",) * 2,
             (("GET", "/case", b""),)),
        Case("a bad request, then a good one", "RFC 9112 9.3.2", (b"GET\r\n\r\n" + get(),), ((400,),), False),
        Case("a last request, then another one", "RFC 9112 9.6", (get("Connection: close") + get(target="/evil"),), (ok,), False, ("GET",),
             (("GET", "/case", b""),)),
        Case("a request of HTTP/1.0, then another one", "RFC 9112 9.3", (head("GET /case HTTP/1.0") + get(target="/evil"),), (ok,), False,
             ("GET",), (("GET", "/case", b""),)),
        Case("a refused request with a body, then another one", "RFC 9112 9.6", (
            head(f"POST {GUARDED} HTTP/1.1", "Content-Length: 5") + b"hello" + get(target="/evil"),), ((403,),), False, ("POST",)),
        Case("HEAD between two GETs", "RFC 9112 6.3", (get() + head("HEAD /case HTTP/1.1") + get(),), (ok,) * 3, True,
             ("GET", "HEAD", "GET"), (("GET", "/case", b""), ("HEAD", "/case", b""), ("GET", "/case", b""))),
    ]
    return cases


def _hop_by_hop() -> list[Case]:
    section = "RFC 9110 7.6.1"
    cases = [
        passed(section, "headers that Connection names", get("Connection: X-A, x-b", "X-A: 1", "X-B: 2", "X-C: 3"), has={"x-c": ["3"]},
               lacks=("x-a", "x-b")),
        passed(section, "Connection cannot take the host away", get("Connection: host"), has={"host": [HOST]}),
        passed(section, "Connection cannot take the length away", post("Connection: content-length", "Content-Length: 5", body=b"hello"),
               method="POST", body=b"hello"),
        passed(section, "Connection cannot take the coding away", post("Connection: transfer-encoding", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
               method="POST", body=b"hello"),
        passed(section, "Connection cannot take our own headers away", get("Connection: x-forwarded-for, x-forwarded-proto"),
               has={"x-forwarded-proto": ["https"]}),
        passed("RFC 9110 7.8", "an offer of h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
               lacks=("upgrade", "http2-settings")),
        passed("RFC 9110 7.8", "an Upgrade that Connection does not name", get("Upgrade: websocket"), lacks=("upgrade",)),
        passed("RFC 9110 7.8", "an Upgrade to something unknown", get("Connection: upgrade", "Upgrade: irc/6.9"), goes_on=None),
        passed("RFC 9110 7.8", "an Upgrade in HTTP/1.0", head("GET /case HTTP/1.0", "Connection: upgrade", "Upgrade: websocket"), goes_on=False,
               lacks=("upgrade",)),
        passed("RFC 6455 4.1", "a WebSocket handshake with POST", post("Connection: upgrade", "Upgrade: websocket", "Content-Length: 2",
                                                                       body=b"hi"), method="POST", body=b"hi", lacks=("upgrade",)),
    ]
    for line in ("Keep-Alive: timeout=5", "TE: gzip", "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "Upgrade: h2c",
                 "HTTP2-Settings: AA", "Proxy-Authenticate: Basic"):
        name = line.partition(":")[0]
        cases.append(passed(section, f"{name} does not pass", get(line), lacks=(name.lower(),)))
    for name in ("X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Prefix",
                 "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Real-Ip", "X_Real_Ip", "Forwarded",
                 "X-Sluice-Peer", "X_Sluice-Peer", "Tailscale-User-Login", "Tailscale_User_Login", "Ssl-Client-Verify", "X-Ssl-Client-Dn",
                 "X-Original-Url", "X-Rewrite-Url", "Proxy", "X-Scheme"):
        ours = {"x-forwarded-for": NOT_FORGED, "x-real-ip": NOT_FORGED, "x-forwarded-server": NOT_FORGED, "x-forwarded-proto": ["https"],
                "x-forwarded-host": [HOST]}
        has = {name.lower(): ours[name.lower()]} if name.lower() in ours else {}
        cases.append(passed("RFC 9110 17.13", f"a forged {name}", get(f"{name}: forged"), has=has,
                            lacks=() if has else (name.lower(),)))
    return cases


CASES = [*_request_line(), *_target(), *_host(), *_fields(), *_lengths(), *_codings(), *_chunks(),
         *_expectations(), *_connections(),
         *_hop_by_hop()]
